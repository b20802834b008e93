# SPDX-License-Identifier: Apache-2.0
"""A policy and a critic of one layer, hand-made rows, and updates whose programs are compiled once for all tests."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import Mesh

from ntl_jax.config import AlgorithmSection, ClippedSection, NTLSection, RolloutSection, RunConfig
from ntl_jax.models import Critic, Decoder, ModelConfig, batch_sharding, make_mesh, shardings
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Batch, Experience, Rows, TokenOutputs, Values
from ntl_jax.rows.packing import sequence_lengths
from ntl_jax.rows.padding import RowShape, pad_rows, share_rows
from ntl_jax.update.state import TrainState, init_model_state, init_train_state
from ntl_jax.update.step import Learner, Updated, make_step
from ntl_jax.update.terms import PPOTerms
from ntl_jax.update.token_weights import policy_weights

MODEL = ModelConfig(vocab_size=24, num_layers=1, width=16, num_heads=2, num_kv_heads=1, head_dim=8, feed_forward=16)
TABLE = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=24)
CONFIG = RunConfig(
    algorithm=AlgorithmSection(advantage="gae", critic="shared", clipped=ClippedSection(clip_low=0.5)),
    ntl=NTLSection(method="mse", weight=0.1),
    rollout=RolloutSection(temperature=0.7),
)
SGD = optax.sgd(1.0)  # the update is minus the gradient
LEARNERS = {"policy": Learner(SGD, "actor"), "critic": Learner(SGD, "critic")}
Shape = tuple[int, int, int]
Step = tuple[Mesh, Callable[[TrainState, Batch], Updated]]


class Result(NamedTuple):
    """An update on the host: parameters by model, before and after, its metrics and what was said about each token."""

    before: dict[str, Any]
    after: dict[str, Any]
    metrics: dict[str, float]
    tokens: TokenOutputs | None


@dataclasses.dataclass(frozen=True, eq=False)
class Small:
    """The models of all tests here; parameters are numpy arrays, from which each update makes its own."""

    policy: nnx.GraphDef
    critic: nnx.GraphDef
    params: Mapping[str, Any]
    steps: dict[tuple, Step] = dataclasses.field(default_factory=dict)

    def terms(self, *, ntl: NTLSection = CONFIG.ntl, **algorithm: Any) -> PPOTerms:
        """What PPO teaches, under other settings of the algorithm."""
        config = dataclasses.replace(CONFIG, ntl=ntl, algorithm=dataclasses.replace(CONFIG.algorithm, **algorithm))
        critic = self.critic if config.algorithm.advantage == "gae" else None
        return PPOTerms(config, TABLE, self.policy, critic)

    def models(self, terms: PPOTerms) -> dict[str, Any]:
        """Parameters of the models that the terms name: a critic on the policy's trunk has its head alone."""
        if terms.critic is None:
            return {"policy": self.params["policy"]}
        if terms.config.algorithm.critic == "own":
            return dict(self.params)
        head = nnx.State({"value_head": self.params["critic"]["value_head"]})
        return {"policy": self.params["policy"], "critic": head}

    def state(self, terms: PPOTerms, mesh: Mesh, optimizer: optax.GradientTransformation = SGD) -> TrainState:
        """A state of its own at step 0, since updates take the memory of theirs."""
        models = {}
        for name, params in self.models(terms).items():
            placed = jax.device_put(params, shardings(params, mesh), may_alias=False)
            models[name] = init_model_state(placed, optimizer, mesh)
        return init_train_state(models, mesh)

    def update(self, batch: Batch[Experience], **how: Any) -> Result:
        """One update of the default terms from the first parameters; ``how`` as in `step`."""
        mesh, step = self.step(**how)
        state = self.state(self.terms(), mesh)
        before = jax.device_get(state.params)
        state, metrics, tokens = step(state, jax.device_put(batch, batch_sharding(mesh)))
        return Result(before, jax.device_get(state.params), metrics.to_dict(), jax.device_get(tokens))

    def step(self, *, mesh_shape: Shape = (1, 1, 1), max_tokens: int = 10_000, per_token: bool = False) -> Step:
        """The mesh and the step of the default terms; programs are kept."""
        how = mesh_shape, max_tokens, per_token
        if how not in self.steps:
            mesh, terms = make_mesh(mesh_shape), self.terms()
            placement = shardings(self.state(terms, mesh), mesh)
            rest = LEARNERS, max_tokens, placement
            self.steps[how] = mesh, make_step(terms.of_update(), *rest, per_token=per_token)
        return self.steps[how]


@pytest.fixture(scope="session")
def small() -> Small:
    """Drawn with numpy, which compiles nothing. The critic's trunk is the policy's, its head is not 0."""
    rng = np.random.default_rng(7)
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Critic(MODEL, rngs=nnx.Rngs(0))), nnx.Param)
    policy = nnx.split(nnx.eval_shape(lambda: Decoder(MODEL, rngs=nnx.Rngs(0))), nnx.Param)[0]
    critic = jax.tree.map(lambda x: rng.normal(0.0, 0.3, x.shape).astype(x.dtype), shapes)
    return Small(policy, graph, {"policy": critic["trunk"], "critic": critic})


@pytest.fixture(scope="session")
def batch() -> Batch[Experience]:
    """Eight rows of one update, two for each prompt; a third of the tokens have a true number."""
    rng = np.random.default_rng(0)
    prompts, responses = ([rng.integers(0, 24, n) for n in lengths] for lengths in rng.integers(2, 9, (2, 8)))
    prompts[1::2] = prompts[::2]
    numbers = [np.where(rng.uniform(size=len(r)) < 0.3, rng.integers(0, 10, len(r)), np.nan) for r in responses]
    rows, targets = pad_rows(prompts, responses, RowShape(16, 8), numbers=numbers)
    advantages, returns = rng.normal(size=(2, *targets.mask.shape)).astype(np.float32)
    old = rng.normal(-3, 0.3, targets.mask.shape).astype(np.float32)
    experience = Experience(targets, old, advantages, values=Values(np.zeros_like(old), returns))
    return Batch(rows, experience, policy_weights(experience, scale=8))


def sharing(batch: Batch[Experience], samples_per_row: int) -> Batch[Experience]:
    """The same batch with prompts shared by their samples."""
    rows, ids = batch.rows, batch.tokens.targets.ids
    assert isinstance(rows, Rows)
    prompts = [tokens[: first + 1] for tokens, first in zip(rows.tokens, rows.predictors[:, 0], strict=True)]
    responses = [row[:length] for row, length in zip(ids, sequence_lengths(rows)[1], strict=True)]
    nothing = [np.full(len(r), np.nan) for r in responses]
    return batch._replace(rows=share_rows(prompts, responses, RowShape(16, 8), samples_per_row, numbers=nothing)[0])

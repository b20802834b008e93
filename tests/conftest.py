# SPDX-License-Identifier: Apache-2.0
"""One small run for all tests that need one: what it is made of before its first step, and its folder at its end."""

import contextlib
import dataclasses
import fcntl
import io
import json
import pathlib
from typing import Any, NamedTuple

import filelock
import jax
import pytest

from launch import train
from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    ModelSection,
    OptimizerSection,
    RewardSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    WarmStartSection,
    stored_config,
)
from ntl_jax.experience.digits.source import DigitSource
from ntl_jax.experience.scorer import Scorer
from ntl_jax.models.published import FetchError, get_model
from ntl_jax.records import Params
from ntl_jax.rollout import RolloutEngine
from ntl_jax.tasks import Task
from ntl_jax.train.engines import build_engine
from ntl_jax.train.factory import build_scoring, build_task, ppo_trainer
from ntl_jax.train.policy import Policy, build_params, build_policy
from ntl_jax.train.prompts import Prompts, build_prompts
from ntl_jax.train.stages.policy_optimization import PPOTrainer

TINY = RunConfig(
    name="tiny",
    model=ModelSection(
        num_layers=2, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=64, mesh=(1, 1, 1)
    ),
    data=DataSection(tiers=(1,), max_number=9, num_train=200),
    warm_start=WarmStartSection(
        steps=4, batch_size=8, optimizer=OptimizerSection(learning_rate=3e-3, warmup_steps=2, schedule="cosine")
    ),
    rollout=RolloutSection(prompts_per_step=4, num_samples=4, max_tokens=24),
    algorithm=AlgorithmSection(optimizer=OptimizerSection(learning_rate=1e-3, warmup_steps=0)),
    trainer=TrainerSection(steps=4, eval_every=2, eval_problems=8, save_every=2),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What a run is made of, before its first step."""

    config: RunConfig
    task: Task
    policy: Policy
    initial: Params
    prompts: Prompts
    engine: RolloutEngine
    scorer: Scorer
    digits: DigitSource

    def params(self) -> Params:
        """A copy of the initial parameters, since updates take their memory."""
        return jax.tree.map(lambda x: x.copy(), self.initial)

    def changed(self, **sections: Any) -> "Setup":
        """The same policy, prompts and engine under a configuration with other sections; a dict changes fields."""
        replaced = {
            name: dataclasses.replace(getattr(self.config, name), **x) if isinstance(x, dict) else x
            for name, x in sections.items()
        }
        config = dataclasses.replace(self.config, **replaced)
        config.validate()
        scorer, digits = build_scoring(config, self.task, self.policy, self.prompts.shape(config.rollout.max_tokens))
        return dataclasses.replace(self, config=config, scorer=scorer, digits=digits)

    def trainer(self, params: Params | None = None) -> PPOTrainer:
        """A PPO trainer from the initial or other parameters, which it takes over."""
        params = self.params() if params is None else params
        return ppo_trainer(self.config, self.policy, params, self.prompts, self.engine, self.scorer, self.digits)


@pytest.fixture(scope="session")
def tiny() -> RunConfig:
    return TINY


@pytest.fixture(scope="session")
def setup(tiny) -> Setup:
    policy = build_policy(tiny)
    task = build_task(tiny)
    prompts = build_prompts(tiny, task, policy.tokenizer)
    scorer, digits = build_scoring(tiny, task, policy, prompts.shape(tiny.rollout.max_tokens))
    engine = build_engine(tiny, policy, max_prompt_tokens=prompts.longest)
    return Setup(tiny, task, policy, build_params(policy, seed=tiny.seed), prompts, engine, scorer, digits)


REWARD = """
def score(data_source, solution_str, ground_truth, extra_info, **kwargs):
    if len(solution_str) % 7 == 0:
        raise RuntimeError("no reward for this length")
    return {"score": len(solution_str) % 5 / 4, "length": len(solution_str)}
"""
"""Differs from sample to sample, whatever an untrained policy writes, and fails now and then."""


class Finished(NamedTuple):
    """A run that has ended.

    Args:
        config: of the run.
        folder: the run folder.
        inputs: what the settings name: ``config.py``, ``problems.jsonl``, ``reward.py``.
        printed: what the command wrote to the console.
    """

    config: RunConfig
    folder: pathlib.Path
    inputs: pathlib.Path
    printed: str


def write_inputs(config: RunConfig, folder: pathlib.Path) -> RunConfig:
    """Writes what a run reads: ten rows of GSM8K (openai/grade-school-math, MIT), a reward function, a configuration.

    Args:
        config: other settings.
        folder: made here.
    """
    folder.mkdir(parents=True)
    problems = folder / "problems.jsonl"
    problems.write_text((pathlib.Path(__file__).parent / "gsm8k.jsonl").read_text())
    held_out = problems.with_name("held_out.jsonl")
    held_out.write_text(problems.read_text())
    (folder / "reward.py").write_text(REWARD)
    config = dataclasses.replace(
        config,
        data=DataSection(train=(str(problems),), eval=(str(held_out),), max_prompt_tokens=96, max_solution_tokens=96),
        reward=RewardSection(function=f"{folder / 'reward.py'}:score"),
    )
    (folder / "config.py").write_text(
        "import json\nfrom ntl_jax.config import RunConfig, from_dict\n\n\ndef get_config():\n"
        f"    return from_dict(RunConfig, json.loads({json.dumps(dataclasses.asdict(config))!r}))\n"
    )
    return config


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory) -> Finished:
    """The tiny run on problems of GSM8K, by the command: made once, also where several processes run tests."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if base.name.startswith("popen-") else base  # a process of pytest-xdist
    inputs, folder, printed = base / "inputs", base / "finished", base / "printed.txt"
    changes = {"eval_samples": 2, "eval_top_p": 0.9}
    config = dataclasses.replace(
        tiny,
        ntl=dataclasses.replace(tiny.ntl, debug_mode=True, save_digit_info=True),
        trainer=dataclasses.replace(tiny.trainer, **changes),
    )
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            config = write_inputs(config, inputs)
            with contextlib.redirect_stdout(io.StringIO()) as shown:
                words = [f"--config={inputs / 'config.py'}", f"--workdir={folder}", "--profile=2:3"]
                assert train.main(words) == 0
            printed.write_text(shown.getvalue())
    return Finished(stored_config(folder), folder, inputs, printed.read_text())


@pytest.fixture(scope="session")
def smollm2() -> pathlib.Path:
    """The folder that `make smollm2` writes, fetched if need be; where that is impossible, tests of it are skipped."""
    folder = pathlib.Path(__file__).parents[1] / "models" / "smollm2-135m"
    folder.parent.mkdir(exist_ok=True)
    with filelock.FileLock(folder.with_name(".lock")):
        try:
            get_model("smollm2-135m", folder)
        except FetchError as error:
            pytest.skip(str(error))
    return folder

# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint records about its run, and checks that a resumed run matches it.

Settings are compared when the command line is read. This module checks settings that may be raised, and the contents of
the files that settings name.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ntl_jax.config import RunConfig, flatten
from ntl_jax.models.parameters import parameter_at
from ntl_jax.models.stacking import unstacked
from ntl_jax.processes.arrays import fetch
from ntl_jax.records import Params, Prompt
from ntl_jax.rewards import RewardFunction
from ntl_jax.train.policy import Policy
from ntl_jax.train.prompts import Prompts
from ntl_jax.update.optimizer import optimizers, planned_updates

PLANNED_UPDATES, FINGERPRINTS = "planned_updates", "fingerprints"
"""Keys in a checkpoint's meta."""


def record(config: RunConfig, stage: str, found: Mapping[str, str]) -> dict[str, object]:
    """The record of the run in the checkpoints of a stage, as JSON.

    Args:
        config: the run's configuration.
        stage: the stage that writes the checkpoints.
        found: the run's `fingerprints`.
    """
    return {PLANNED_UPDATES: planned_updates(config)[stage], FINGERPRINTS: dict(found)}


def check_schedule(config: RunConfig, stage: str, meta: Mapping[str, Any]) -> None:
    """Raises if the learning-rate schedule would change; called before anything is loaded.

    A constant schedule has no length, so more steps do not change it.

    Args:
        config: configuration of the resumed run.
        stage: stage of the newest checkpoint.
        meta: meta of that checkpoint; without a record in it, nothing is checked.

    Raises:
        ValueError: naming the old and the new number of updates.

    Example: twice as many iterations would stretch a cosine schedule
        >>> from ntl_jax.config import AlgorithmSection, OptimizerSection, TrainerSection
        >>> algorithm = AlgorithmSection(optimizer=OptimizerSection(schedule="cosine"))
        >>> config = RunConfig(algorithm=algorithm, trainer=TrainerSection(steps=20))
        >>> check_schedule(config, "ppo", {PLANNED_UPDATES: {"policy": 20}})
        Traceback (most recent call last):
        ...
        ValueError: the cosine schedule of stage ppo spans 20 updates of the policy in this run and would span 40 ...
    """
    optimizer = optimizers(config)[stage]
    planned = planned_updates(config)[stage]
    began = meta.get(PLANNED_UPDATES, planned)
    if optimizer.schedule == "constant" or began == planned:
        return
    raise ValueError(
        f"the {optimizer.schedule} schedule of stage {stage} spans {_spans(began)} in this run and would span "
        f"{_spans(planned)} with these settings, which changes its learning rates: keep the number of steps, or "
        "continue with --allow-changed-schedule"
    )


def check_data(config: RunConfig, found: Mapping[str, str], meta: Mapping[str, Any]) -> None:
    """Raises if the contents of the files that the settings name have changed.

    Args:
        config: configuration of the resumed run.
        found: the resumed run's `fingerprints`.
        meta: meta of the newest checkpoint; only fingerprints in it are checked.

    Raises:
        ValueError: naming all settings whose contents differ.

    Example:
        >>> check_data(RunConfig(), {"data.eval": "5e1f", "data.train": "77aa"}, {FINGERPRINTS: {"data.train": "03bc"}})
        Traceback (most recent call last):
        ...
        ValueError: the contents of data.train=() have changed since the run started: restore them, or continue ...
    """
    began = meta.get(FINGERPRINTS, {})
    settings = flatten(config)
    differing = [
        f"{name}={_shown(settings[name])!r}" if name in settings else name
        for name in found
        if began.get(name, found[name]) != found[name]
    ]
    if differing:
        raise ValueError(
            f"the contents of {', '.join(differing)} have changed since the run started: restore them, or continue "
            "with the new ones by --allow-changed-data"
        )


def fingerprints(policy: Policy, params: Params, prompts: Prompts, reward: RewardFunction) -> dict[str, str]:
    """A hash of each input of a run, by the setting that names the input; values computed from inputs are not hashed.

    Args:
        policy, params: the initial policy, which is also the reference policy.
        prompts: training and held-out prompts.
        reward: hashed by the files that name and define it, not their imports.
    """
    found = {
        "data.train": _hash(map(_row, prompts.train)),
        "data.eval": _hash(map(_row, prompts.held_out)),
        "data.tokenizer": _hash(_tokenizer(policy.tokenizer)),
        "stop tokens": _hash([str(policy.vocabulary.stop_token_ids)]),
    }
    found |= {setting: _hash([contents]) for setting, contents in prompts.files.items()}
    if reward.sources:  # hashed as in older checkpoints, which are compared with this
        found["reward.function"] = _hash(pathlib.Path(path).read_bytes() for path in reward.sources)
    if policy.checkpoint is not None:
        model = dataclasses.replace(policy.model, scan_layers=False)
        found["model.path"] = _hash([repr(model), str(_checksums(params, model.num_layers))])
    return found


def _shown(value: object) -> object:
    """Sources without their tuple."""
    return " ".join(map(str, value)) if isinstance(value, tuple) and value else value


def _spans(updates: Mapping[str, int]) -> str:
    return " and ".join(f"{count} updates of the {model}" for model, count in updates.items())


def _row(prompt: Prompt) -> str:
    row = [prompt.index, prompt.text, prompt.ground_truth, prompt.data_source, prompt.extra_info]
    return json.dumps(row, sort_keys=True, default=repr)


def _tokenizer(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Everything that determines the token ids."""
    fast = isinstance(tokenizer, PreTrainedTokenizerFast)
    ids = tokenizer.backend_tokenizer.to_str() if fast else json.dumps(sorted(tokenizer.get_vocab().items()))
    return [ids, json.dumps(tokenizer.special_tokens_map, sort_keys=True, default=str), str(tokenizer.chat_template)]


def _checksums(params: Params, num_layers: int) -> list[int]:
    """A checksum of each parameter's bits, layer by layer, whether or not layers are stacked."""
    found = fetch(_device_checksums(params))
    return [int(x) for x in jax.tree.leaves(unstacked(found, num_layers, list))]


@jax.jit
def _device_checksums(params: Params) -> PyTree[jax.Array]:
    """A checksum of each parameter's bits in order, computed on the parameter's devices; one a layer if stacked."""

    def checksum(x: jax.Array) -> jax.Array:
        bits = jax.lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}").astype(jnp.uint32)
        places = jax.lax.iota(jnp.uint32, x.size).reshape(x.shape)
        mixed = (bits ^ (places * 0x27D4EB2F)) * 0x5BD1E995  # multiplication moves bits up, the shift moves bits down
        return jnp.sum((mixed ^ (mixed >> 15)) * 0x165667B1, dtype=jnp.uint32)

    return jax.tree.map_with_path(
        lambda path, leaf: (jax.vmap(checksum) if parameter_at(path).num_stacked else checksum)(leaf), params
    )


def _hash(parts: Iterable[str | bytes]) -> str:
    """A hash of a sequence of parts, which also depends on where each part ends."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()

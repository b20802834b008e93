# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint records of the run that writes it, and what a resumed run must have in common with it.

Settings are compared on the command line. Here are those that may be raised, and what stands behind the settings: the
contents of files.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ntl_jax.config import RunConfig, flatten
from ntl_jax.records import Prompt
from ntl_jax.train.factory import Parts
from ntl_jax.train.optimizer import planned_updates

PLANNED_UPDATES, FINGERPRINTS = "planned_updates", "fingerprints"
"""Names in a checkpoint's meta."""


def record(config: RunConfig, stage: str, found: Mapping[str, str]) -> dict[str, Any]:
    """What the checkpoints of a stage hold of the run, as JSON.

    Args:
        config: of the run.
        stage: that writes them.
        found: its `fingerprints`.
    """
    return {PLANNED_UPDATES: planned_updates(config)[stage], FINGERPRINTS: dict(found)}


def check_schedule(config: RunConfig, stage: str, meta: Mapping[str, Any]) -> None:
    """Before anything is loaded: would the learning rate go on as it began?

    A constant schedule spans nothing, so that more steps do not change it.

    Args:
        config: of the resumed run.
        stage: of the newest checkpoint.
        meta: of that checkpoint; without a record, nothing is checked.

    Raises:
        ValueError: with the old span and the new one.

    Example: twice the iterations would stretch a cosine
        >>> from ntl_jax.config import AlgorithmSection, OptimizerSection, TrainerSection
        >>> algorithm = AlgorithmSection(optimizer=OptimizerSection(schedule="cosine"))
        >>> config = RunConfig(algorithm=algorithm, trainer=TrainerSection(steps=20))
        >>> check_schedule(config, "ppo", {PLANNED_UPDATES: {"policy": 20}})
        Traceback (most recent call last):
        ...
        ValueError: the cosine schedule of stage ppo spans 20 updates of the policy in this run and would span 40 ...
    """
    optimizer = {"warm_start": config.warm_start, "ppo": config.algorithm}[stage].optimizer
    planned = planned_updates(config)[stage]
    began = meta.get(PLANNED_UPDATES, planned)
    if optimizer.schedule == "constant" or began == planned:
        return
    raise ValueError(
        f"the {optimizer.schedule} schedule of stage {stage} spans {_spans(began)} in this run and would span "
        f"{_spans(planned)} with the settings given, so that its learning rates change: keep the number of steps, or "
        "go on with --allow-changed-schedule"
    )


def check_data(config: RunConfig, found: Mapping[str, str], meta: Mapping[str, Any]) -> None:
    """Is what the settings name still what it was?

    Args:
        config: of the resumed run.
        found: its `fingerprints`.
        meta: of the newest checkpoint; what it has no fingerprint of is not checked.

    Raises:
        ValueError: naming everything that differs.

    Example:
        >>> check_data(RunConfig(), {"data.eval": "5e1f", "data.train": "77aa"}, {FINGERPRINTS: {"data.train": "03bc"}})
        Traceback (most recent call last):
        ...
        ValueError: the contents of data.train=None are not what the run began with: restore them, or go on with ...
    """
    began = meta.get(FINGERPRINTS, {})
    settings = flatten(config)
    differing = [
        f"{name}={settings[name]!r}" if name in settings else name
        for name in found
        if began.get(name, found[name]) != found[name]
    ]
    if differing:
        raise ValueError(
            f"the contents of {', '.join(differing)} are not what the run began with: restore them, or go on with the "
            "new ones by --allow-changed-data"
        )


def fingerprints(parts: Parts) -> dict[str, str]:
    """A hash of everything that a run reads, by the setting that names it; what is computed from it needs none.

    Args:
        parts: of the run. Of a reward function, the files that name and define it count, and not what it imports.
    """
    found = {
        "data.train": _hash(map(_row, parts.train_prompts)),
        "data.eval": _hash(map(_row, parts.eval_prompts)),
        "data.tokenizer": _hash(_tokenizer(parts.tokenizer)),
        "stop tokens": _hash([str(parts.stop_token_ids)]),
    }
    if parts.scorer.reward.files:
        found["reward.function"] = _hash(path.read_bytes() for path in parts.scorer.reward.files)
    if parts.config.model.path is not None:  # it stays the reference policy
        found["model.path"] = _hash([repr(parts.model), str(jax.device_get(_checksums(parts.params)))])
    return found


def _spans(updates: Mapping[str, int]) -> str:
    return " and ".join(f"{count} updates of the {model}" for model, count in updates.items())


def _row(prompt: Prompt) -> str:
    row = [prompt.index, prompt.text, prompt.ground_truth, prompt.data_source, prompt.extra_info]
    return json.dumps(row, sort_keys=True, default=repr)


def _tokenizer(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Everything that it makes ids by."""
    fast = isinstance(tokenizer, PreTrainedTokenizerFast)
    ids = tokenizer.backend_tokenizer.to_str() if fast else json.dumps(sorted(tokenizer.get_vocab().items()))
    return [ids, json.dumps(tokenizer.special_tokens_map, sort_keys=True, default=str), str(tokenizer.chat_template)]


@jax.jit
def _checksums(params: Any) -> list[jax.Array]:
    """Of each parameter's bits and their order, computed where the parameter lies."""

    def checksum(x: jax.Array) -> jax.Array:
        bits = jax.lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}").astype(jnp.uint32)
        places = jax.lax.iota(jnp.uint32, x.size).reshape(x.shape)
        mixed = (bits ^ (places * 0x27D4EB2F)) * 0x5BD1E995  # multiplication moves bits up, the shift moves them down
        return jnp.sum((mixed ^ (mixed >> 15)) * 0x165667B1, dtype=jnp.uint32)

    return [checksum(leaf) for leaf in jax.tree.leaves(params)]


def _hash(parts: Iterable[str | bytes]) -> str:
    """Of the parts one by one: where one ends counts."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()

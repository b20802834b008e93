# SPDX-License-Identifier: Apache-2.0
"""`calculate_debug_metrics`: how far sampler and trainer disagree about a batch, for any training loop."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from ntl_jax.metrics.divergence.comparison import LogProbs, compare
from ntl_jax.metrics.divergence.lines import Line, LoggedResponse, TextDecoder, divergence_lines
from ntl_jax.metrics.divergence.log import LOGGER, DivergenceLog, describe
from ntl_jax.records import Experience

REQUIRED = ("rollout_log_probs", "old_log_probs", "response_mask", "responses")
PER_TOKEN = ("advantages", "digit_ground_truth", "token_kinds", "policy_versions", "rollout_entropy")
"""Optional, with one entry per token."""


def calculate_debug_metrics(
    data: Experience | Mapping[str, Any],
    tokenizer: TextDecoder | None = None,
    log_divergence: bool = True,
    divergence_threshold: float = 0.8,
    divergence_top_k: int = 5,
    divergence_jsonl_path: str | pathlib.Path | None = None,
    iteration: int | None = None,
    extract_context: Callable[[Line], Mapping[str, Any]] | None = None,
) -> dict[str, float]:
    """Aggregates of the differences between the sampler's and the trainer's probabilities, and the tokens behind them.

    If a token's probabilities differ by ``divergence_threshold`` or more, the ``divergence_top_k`` most divergent
    tokens are logged: as a block by the logger ``ntl_jax.divergence``, and as JSON lines in a file.

    Args:
        data: an `Experience` of ``algorithm.old_log_probs=recompute``, or a mapping. It needs ``rollout_log_probs`` and
            ``old_log_probs`` [B, T] in nats (the sampler's and the trainer's), ``response_mask`` [B, T] of bools or of
            the integers 0 and 1, and ``responses`` [B, T], the token ids. It may hold ``prompts`` (ids [B, P], padding
            included, or a list of ids), ``token_level_scores`` [B, T], ``advantages`` [B, T], ``digit_ground_truth``
            [B, T] (-1: none), ``is_correct`` [B] (None or NaN: unknown), and ``alternatives``: a function from pairs of
            row and position, int [k, 2], to the entropy [k], ids [k, 5] and log-probs [k, 5] of the trainer's policy
            (`Alternatives`). Further: ``attention_mask`` [B, P + T], ``token_kinds`` [B, T] (indices into
            ``ntl_jax.numerals.kinds.KINDS``), ``policy_versions`` [B, T] and ``rollout_entropy`` [B, T]. Arrays are
            numpy's, JAX's, or anything with ``__array__``.
        tokenizer: decodes tokens, such as one of transformers; None: texts are null.
        log_divergence: whether to log tokens.
        divergence_threshold: smallest difference of two probabilities, in (0, 1], at which tokens are logged.
        divergence_top_k: number of tokens to log.
        divergence_jsonl_path: the file, in which ``{iteration}`` and ``{date}`` are filled in; None: no file.
        iteration: of the training loop, for the lines and the path.
        extract_context: further keys of a line, computed from it.

    Returns:
        ``training/rollout_probs_diff_{valid,max,mean,std}``, ``training/rollout_actor_probs_pearson_corr``,
        ``rollout_corr/...`` and, with token kinds, ``mismatch/KIND/...``; `ntl_jax.metrics.names` says what they mean.
        Without any token that counts, ``..._valid`` is 0 and all else is NaN.

    Raises:
        ValueError: naming what is missing, has another shape, or is out of range.
        OSError: if the file cannot be written.

    Example: the sampler gave the second token probability 0.95, the trainer gives it 0.05
        >>> data = {
        ...     "rollout_log_probs": np.log([[0.5, 0.95]]),
        ...     "old_log_probs": np.log([[0.5, 0.05]]),
        ...     "response_mask": np.ones((1, 2), bool),
        ...     "responses": np.array([[20, 6]]),
        ... }
        >>> metrics = calculate_debug_metrics(data, log_divergence=False)
        >>> round(metrics["training/rollout_probs_diff_max"], 6), round(metrics["training/rollout_probs_diff_mean"], 6)
        (0.9, 0.45)
    """
    if not 0 < divergence_threshold <= 1:
        raise ValueError(f"divergence_threshold={divergence_threshold}: must lie in (0, 1], as probabilities differ")
    if divergence_top_k < 1:
        raise ValueError(f"divergence_top_k={divergence_top_k}: must be at least 1")
    given = _of_experience(data) if isinstance(data, Experience) else data
    batch = _arrays(given)
    log = None if divergence_jsonl_path is None or not log_divergence else DivergenceLog(divergence_jsonl_path)
    log_probs = (batch["rollout_log_probs"], batch["old_log_probs"], batch["response_mask"])
    result = compare(LogProbs(*log_probs, kinds=batch.get("token_kinds")), top_k=divergence_top_k)
    if log_divergence and result.reaches(divergence_threshold):
        lines = divergence_lines(
            result.top,
            lambda row: _response(given, batch, row, tokenizer),
            tokenizer=tokenizer,
            alternatives=given.get("alternatives"),
            iteration=iteration,
            extract_context=extract_context,
        )
        LOGGER.warning("%s", describe(lines))
        if log is not None:
            log.write(lines, iteration)
    return result.metrics


def _of_experience(experience: Experience) -> dict[str, Any]:
    """The same as a mapping."""
    if experience.rollout_log_probs is None:
        raise ValueError(
            "the experience has no rollout_log_probs: its old_log_probs are the sampler's own, so there is nothing to "
            "compare; recompute them (algorithm.old_log_probs='recompute'), or pass a mapping with both"
        )
    return {
        "rollout_log_probs": experience.rollout_log_probs,
        "old_log_probs": experience.old_log_probs,
        "response_mask": experience.mask,
        "responses": experience.targets.ids,
        "advantages": experience.advantages,
        "token_kinds": experience.kinds,
    }


def _arrays(given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays with one entry per token, checked."""
    if missing := [name for name in REQUIRED if given.get(name) is None]:
        raise ValueError(f"data lacks {', '.join(missing)}: it needs {', '.join(REQUIRED)}")
    names = [name for name in (*REQUIRED, "token_level_scores", *PER_TOKEN) if given.get(name) is not None]
    batch = {name: np.asarray(given[name]) for name in names}
    shape = batch["responses"].shape
    if len(shape) != 2:
        raise ValueError(f"responses has shape {shape}: it must be [B, T]")
    if wrong := {name: x.shape for name, x in batch.items() if x.shape != shape}:
        listed = ", ".join(f"{name} {x}" for name, x in wrong.items())
        raise ValueError(f"shapes do not agree with responses {shape}: {listed}; all must be [B, T]")
    batch["response_mask"] = _as_mask(batch["response_mask"])
    for name in ("is_correct", "prompts", "attention_mask"):
        if given.get(name) is not None and len(given[name]) != shape[0]:
            raise ValueError(f"{name} has {len(given[name])} rows, and responses has {shape[0]}")
    return batch


def _as_mask(mask: np.ndarray) -> Bool[np.ndarray, "B T"]:
    if mask.dtype.kind not in "bui" or not np.isin(mask, (0, 1)).all():
        raise ValueError(f"response_mask of {mask.dtype} must hold bools, or the integers 0 and 1")
    return mask.astype(bool)


def _response(
    given: Mapping[str, Any], batch: Mapping[str, np.ndarray], row: int, tokenizer: TextDecoder | None
) -> LoggedResponse:
    def of_row(name: str) -> np.ndarray | None:
        return batch[name][row] if name in batch else None

    correct = given.get("is_correct")
    return LoggedResponse(
        ids=batch["responses"][row],
        mask=batch["response_mask"][row],
        prompt_ids=_prompt(given, row, batch["responses"].shape[1], getattr(tokenizer, "pad_token_id", None)),
        is_correct=None if correct is None or _is_unknown(correct[row]) else bool(correct[row]),
        scores=of_row("token_level_scores"),
        advantages=of_row("advantages"),
        truth=of_row("digit_ground_truth"),
        kinds=of_row("token_kinds"),
        rollout_entropy=of_row("rollout_entropy"),
        versions=of_row("policy_versions"),
    )


def _is_unknown(verdict: object) -> bool:
    """None, or NaN as libraries of tables write it."""
    return verdict is None or verdict != verdict


def _prompt(given: Mapping[str, Any], row: int, response_size: int, pad_id: int | None) -> Int[np.ndarray, "P"] | None:
    """The row's prompt without padding: where an attention mask says so, else pad ids at its ends."""
    if given.get("prompts") is None:
        return None
    ids = np.asarray(given["prompts"][row])
    if given.get("attention_mask") is not None:
        mask = np.asarray(given["attention_mask"][row])[:-response_size].astype(bool)
        if mask.shape != ids.shape:
            raise ValueError(
                f"attention_mask has {len(mask)} entries before the response and prompts has {len(ids)} ids in row "
                f"{row}: pad prompts to [B, P], or leave attention_mask out"
            )
        return ids[mask]
    real = np.flatnonzero(ids != pad_id) if pad_id is not None else np.arange(len(ids))
    return ids[real[0] : real[-1] + 1] if len(real) else ids[:0]

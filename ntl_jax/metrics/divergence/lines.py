# SPDX-License-Identifier: Apache-2.0
"""Lines of the divergence log: everything that is known about a token on which sampler and trainer disagree."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from ntl_jax.metrics.atomic_files import as_plain
from ntl_jax.metrics.divergence.comparison import TopTokens
from ntl_jax.metrics.divergence.token_classes import flip_type, is_number
from ntl_jax.numerals.kinds import KINDS
from ntl_jax.records import AnyArray

Line = dict[str, Any]


class TextDecoder(Protocol):
    """Turns ids into text, as every tokenizer of ``transformers`` does."""

    def decode(self, ids: list[int], /) -> str | list[str]:
        """The text of ids, with special tokens."""
        ...


class Alternatives(NamedTuple):
    """A policy's distribution at some positions: its entropy in nats, and the five most likely tokens."""

    entropy: Float[AnyArray, "k"]
    ids: Int[AnyArray, "k 5"]
    log_probs: Float[AnyArray, "k 5"]


FindAlternatives = Callable[[Int[np.ndarray, "k 2"]], Alternatives | None]
"""(rows and positions) -> the trainer's policy there; None where its weights are gone."""


@dataclasses.dataclass(frozen=True, eq=False)
class LoggedResponse:
    """What is known about one response. None: unknown.

    Args:
        ids: the response, which may be padded on the right.
        mask: tokens that count; the response ends with the last of them.
        prompt_ids, prompt_text: the prompt.
        is_correct: whether its answer is right.
        scores: the score of each token, or of the response.
        advantages: of each token.
        truth: true digit of each token, -1 for none.
        kinds: kind of each token, an index into `KINDS`.
        rollout_entropy: the sampler's entropy at each token, nats.
        rollout_digits: the sampler's log-probs of the ten digits.
        rollout_alternatives: ids and log-probs of the sampler's five most likely tokens at each token.
        versions: iteration of the weights that sampled each token.
    """

    ids: Int[np.ndarray, "T"]
    mask: Bool[np.ndarray, "T"]
    prompt_ids: Int[np.ndarray, "P"] | None = None
    prompt_text: str | None = None
    is_correct: bool | None = None
    scores: Float[np.ndarray, "T"] | float | None = None
    advantages: Float[np.ndarray, "T"] | None = None
    truth: Int[np.ndarray, "T"] | None = None
    kinds: Int[np.ndarray, "T"] | None = None
    rollout_entropy: Float[np.ndarray, "T"] | None = None
    rollout_digits: Float[np.ndarray, "T 10"] | None = None
    rollout_alternatives: tuple[Int[np.ndarray, "T 5"], Float[np.ndarray, "T 5"]] | None = None
    versions: Int[np.ndarray, "T"] | None = None

    @property
    def length(self) -> int:
        """Number of tokens up to the last that counts."""
        return int(np.flatnonzero(self.mask).max(initial=-1)) + 1


def divergence_lines(
    top: TopTokens,
    response_of: Callable[[int], LoggedResponse],
    *,
    tokenizer: TextDecoder | None,
    alternatives: FindAlternatives | None = None,
    iteration: int | None = None,
    context: int = 5,
    extract_context: Callable[[Line], Mapping[str, Any]] | None = None,
) -> list[Line]:
    """One line for each token, as JSON values; docs/divergence.md names the keys.

    Args:
        top: the tokens.
        response_of: the response of a row.
        tokenizer: decodes tokens; None: texts are null.
        alternatives: the trainer's policy at some positions; None: unknown.
        iteration: the iteration; None: unknown.
        context: tokens to show before and after the token.
        extract_context: further keys of a line, computed from it.

    Raises:
        ValueError: if ``extract_context`` returns a key that a line has already.

    Example:
        >>> response = LoggedResponse(np.array([20, 6, 1]), np.ones(3, bool))
        >>> top = TopTokens(*(np.array([x]) for x in (0, 1, -0.1, -3.0)))
        >>> line, = divergence_lines(top, lambda row: response, tokenizer=None)
        >>> line["token_id"], line["position_from_end"], line["flip_type"]
        (6, 1, 'rollout_confident_actor_rejects')
    """
    pairs = np.stack([top.rows, top.positions], axis=1)
    found = alternatives(pairs) if alternatives is not None and len(pairs) else None
    lines = []
    entropy = top.entropy if found is None else found.entropy
    for rank, (row, position, rollout, actor) in enumerate(zip(*map(np.ndarray.tolist, top[:4]), strict=True)):
        response = response_of(row)
        line = {"iteration": iteration, "rank": rank, "batch_idx": row}
        line |= _of_token(response, position, rollout, actor, tokenizer)
        line |= _of_response(response, position, context, tokenizer)
        line["actor_entropy"] = _at(entropy, rank)
        line["actor_alternatives"] = (
            None if found is None else _tokens(found.ids[rank], found.log_probs[rank], tokenizer)
        )
        line |= _of_sampler(response, position, tokenizer)
        line |= _of_credit(response, position, context, iteration)
        line["is_digit"] = _is_digit(line["token_text"], line["token_kind"])
        line = {key: as_plain(value) for key, value in line.items()}
        own = {} if extract_context is None else extract_context(line)
        if taken := sorted(own.keys() & line.keys()):
            raise ValueError(
                f"extract_context returns {', '.join(taken)}, which a line has already: choose other names"
            )
        lines.append(line | {key: as_plain(value) for key, value in own.items()})
    return lines


def _of_token(
    response: LoggedResponse, position: int, rollout: float, actor: float, tokenizer: TextDecoder | None
) -> Line:
    rollout_prob, actor_prob = np.exp(rollout), np.exp(actor)
    length, token = response.length, int(response.ids[position])
    return {
        "position": position,
        "position_from_end": length - 1 - position,
        "sequence_length": length,
        "token_id": token,
        "token_text": _text(tokenizer, [token]),
        "prob_divergence": abs(rollout_prob - actor_prob),
        "rollout_prob": rollout_prob,
        "actor_prob": actor_prob,
        "rollout_logprob": rollout,
        "actor_logprob": actor,
        "logprob_diff": rollout - actor,
        "flip_type": flip_type(rollout_prob, actor_prob),
    }


def _of_response(response: LoggedResponse, position: int, context: int, tokenizer: TextDecoder | None) -> Line:
    start, end = max(0, position - context), min(response.length, position + context + 1)
    prompt, text = response.prompt_ids, response.prompt_text
    if text is None and prompt is not None:
        text = _text(tokenizer, prompt)
    return {
        "is_correct": response.is_correct,
        "total_score": None if response.scores is None else float(np.sum(response.scores)),
        "context_text": _text(tokenizer, response.ids[start:end]),
        "context_start_pos": start,
        "context_end_pos": end,
        "prompt_text": text,
        "prompt_num_tokens": None if prompt is None else len(prompt),
        "full_response": _text(tokenizer, response.ids[: response.length]),
        "response_num_tokens": response.length,
    }


def _of_sampler(response: LoggedResponse, position: int, tokenizer: TextDecoder | None) -> Line:
    likely = response.rollout_alternatives
    return {
        "rollout_entropy": _at(response.rollout_entropy, position),
        "rollout_alternatives": None
        if likely is None
        else _tokens(likely[0][position], likely[1][position], tokenizer),
        "rollout_digit_logprobs": _at(response.rollout_digits, position),
    }


def _of_credit(response: LoggedResponse, position: int, context: int, iteration: int | None) -> Line:
    per_token = response.truth, response.kinds, response.versions
    truth, kind, version = (None if x is None else int(x[position]) for x in per_token)
    scores = response.scores
    return {
        "advantage": _at(response.advantages, position),
        "reward": scores[position] if isinstance(scores, np.ndarray) and scores.ndim else scores,
        "attention_mask": response.mask[: response.length][max(0, position - context) : position + context + 1] * 1,
        "digit_ground_truth": None if truth is None or truth < 0 else truth,
        "token_kind": None if kind is None else KINDS[kind],
        "policy_version": version,
        "staleness": None if version is None or iteration is None else iteration - version,
    }


def _is_digit(text: str | None, kind: str | None) -> bool | None:
    if kind is not None:
        return kind in ("answer_digits", "digits")
    return None if text is None else is_number(text)


def _at(values: AnyArray | None, position: int) -> object:
    return None if values is None else values[position]


def _tokens(ids: AnyArray, log_probs: AnyArray, tokenizer: TextDecoder | None) -> list[Line]:
    pairs = zip(ids.tolist(), log_probs.tolist(), strict=True)
    return [{"token_id": i, "token_text": _text(tokenizer, [i]), "logprob": value} for i, value in pairs]


def _text(tokenizer: TextDecoder | None, ids: Sequence[int] | np.ndarray) -> str | None:
    return None if tokenizer is None else str(tokenizer.decode(np.asarray(ids, int).tolist()))

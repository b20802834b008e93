# SPDX-License-Identifier: Apache-2.0
"""Translates requests to vLLM requests, one per sample, and vLLM's outputs to trajectories."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntl_jax.config.sections.engines import TEMPERATURES
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.records import Request, Sampling, Trajectory, Version, VersionSpan
from ntl_jax.rollout.stopping import length_to_stop


@dataclasses.dataclass(eq=False)
class Group:
    """A request with vLLM's outputs by sample index; None for an unfinished sample."""

    request: Request
    responses: list[Any]


def label_of(version: Version) -> str:
    """A version as vLLM carries it.

    Example:
        >>> label_of(Version(3)), version_of(label_of(Version(3)))
        ('[3, "newest"]', Version(iteration=3, kind='newest'))
    """
    return json.dumps(version)


def version_of(label: str) -> Version:
    """The version with this label."""
    return Version(*json.loads(label))


def check_samplings(samplings: Sequence[Sampling], max_tokens: int) -> None:
    """Raises a ValueError that names all settings that vLLM cannot sample with.

    Args:
        samplings: sampling parameters of the requests.
        max_tokens: the engine's limit on response length.
    """
    low, high = TEMPERATURES
    problems = []
    for sampling in dict.fromkeys(samplings):
        checks = {
            f"max_tokens={sampling.max_tokens}: the engine was made for {max_tokens}": sampling.max_tokens
            <= max_tokens,
            f"temperature={sampling.temperature}: vLLM takes 0 or {low} to {high}": sampling.temperature == 0
            or low <= sampling.temperature <= high,
            "capture_entropy, capture_alternatives: vLLM reports neither with digits; the JAX engine does": not (
                sampling.capture_entropy or sampling.capture_alternatives
            ),
        }
        problems += [text for text, ok in checks.items() if not ok]
    if problems:
        raise ValueError("the vLLM engine cannot sample with these settings: " + "; ".join(dict.fromkeys(problems)))


def sampling_params(request: Request, sample_index: int, num_ids: int, digit_ids: list[int]) -> dict[str, Any]:
    """Arguments of vLLM's ``SamplingParams``: a response ends only at the requested stop tokens and strings.

    Args:
        request: the request.
        sample_index: index of the sample; its seed derives from the request's seed, the prompt's draw and this index.
        num_ids: number of ids; larger stop ids are left out, since vLLM refuses them.
        digit_ids: ids whose log-probs are reported with every token.
    """
    sampling = request.sampling
    return dict(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        seed=_sample_seed(request.seed, request.prompt.draw, sample_index),
        max_tokens=sampling.max_tokens,
        stop_token_ids=[i for i in sampling.stop_token_ids if i < num_ids],
        ignore_eos=True,
        stop=list(sampling.stop_strings),
        detokenize=bool(sampling.stop_strings),
        skip_special_tokens=True,  # as the JAX engine does before it searches for stop strings
        logprobs=None if digit_ids else 0,
        logprob_token_ids=digit_ids or None,
        flat_logprobs=True,
    )


def _sample_seed(seed: int, draw: int, sample_index: int) -> int:
    """A sample's seed, independent of other samples."""
    return int(np.random.SeedSequence([seed, draw, sample_index]).generate_state(1, np.uint64)[0] >> 1)


class Reader:
    """Turns finished groups into trajectories.

    Args:
        table: the digits' ids.
        decode_text: decodes text for stop strings; None without a tokenizer.
    """

    def __init__(self, table: NumberTable, decode_text: TokenDecoder | None):
        self._table, self._decode_text = table, decode_text

    def digit_ids(self, sampling: Sampling) -> list[int]:
        """The ids whose log-probs are requested."""
        return self._table.ids.tolist() if sampling.capture_digits else []

    def __call__(self, groups: Sequence[Group]) -> list[list[Trajectory]]:
        """The samples of each group, all of the same Sampling; their versions are those that vLLM reports."""
        if not groups:
            return []
        sampling = groups[0].request.sampling
        asked = self.digit_ids(sampling)
        log_probs = [_log_probs(response, asked) for group in groups for response in group.responses]
        digits = _merged(self._table, [x[:, 1:] for x in log_probs]) if asked else [None] * len(log_probs)
        captured = iter(zip(log_probs, digits, strict=True))
        return [
            [self._trajectory(group, index, *next(captured)) for index in range(len(group.responses))]
            for group in groups
        ]

    def _trajectory(self, group: Group, index: int, log_probs: np.ndarray, digits: np.ndarray | None) -> Trajectory:
        prompt, response = group.request.prompt, group.responses[index]
        ids = np.asarray(response.token_ids, np.int32)
        length = self._length_to_stop(ids, group.request.sampling)
        kept = slice(length)
        return Trajectory(
            prompt_index=prompt.index,
            sample_index=index,
            prompt_ids=prompt.ids,
            response_ids=ids[kept],
            rollout_log_probs=log_probs[kept, 0],
            digit_log_probs=None if digits is None else digits[kept],
            finish_reason=response.finish_reason if length is None else "stop",
            versions=_spans(response, len(ids[kept])),
            draw=prompt.draw,
        )

    def _length_to_stop(self, ids: np.ndarray, sampling: Sampling) -> int | None:
        """Length of a response with a stop string, as the JAX engine counts it; vLLM's count may differ by a token."""
        if not sampling.stop_strings:
            return None
        assert self._decode_text is not None
        return length_to_stop(ids, sampling.stop_strings, self._decode_text)


def _spans(response: Any, length: int) -> tuple[VersionSpan, ...]:
    """Which weights sampled the first ``length`` tokens."""
    return tuple(
        VersionSpan(span.start, min(span.end, length), version_of(span.version))
        for span in response.weight_versions
        if span.start < length
    )


def _log_probs(response: Any, asked: list[int]) -> Float[np.ndarray, "T 1+asked"]:
    """Log-probs at every token: first the token's own, then those of the requested ids.

    Raises:
        RuntimeError: if vLLM gave up on the response, or reports other ids, as it silently does when requests for
            different ids run together.
    """
    ids = np.array(response.logprobs.token_ids)
    expected = np.array([[token, *asked] for token in response.token_ids])
    if response.finish_reason not in ("stop", "length") or not np.array_equal(ids, expected.reshape(-1)):
        raise RuntimeError(
            f"vLLM ended a response of {len(expected)} tokens with {response.finish_reason!r} and with log-probs of "
            f"other ids than the {len(asked)} that were asked for"
        )
    return np.array(response.logprobs.logprobs, np.float32).reshape(expected.shape)


def _merged(table: NumberTable, log_probs: list[np.ndarray]) -> list[Float[np.ndarray, "T 10"]]:
    """The digits' log-probs of every response, merged for all tokens at once and in few sizes: each size compiles."""
    rows = np.concatenate(log_probs)
    size = 1 << (len(rows) - 1).bit_length()
    merged = np.asarray(_merge(table, jnp.asarray(np.pad(rows, ((0, size - len(rows)), (0, 0))))))
    return np.split(merged[: len(rows)], np.cumsum([len(x) for x in log_probs])[:-1])


@jax.jit
def _merge(table: NumberTable, log_probs: Float[Array, "tokens M"]) -> Float[Array, "tokens 10"]:
    return table.merge_by_value(log_probs)

# SPDX-License-Identifier: Apache-2.0
"""Sampling with one vLLM engine in this process.

What vLLM reports with ``logprobs_mode="processed_logprobs"`` is the distribution that it drew from: after temperature
and truncation, renormalised. The digits' ids are asked for by name. Tokens go in and come out as ids.
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntl_jax.config import VllmSection
from ntl_jax.config.vllm import TEMPERATURES
from ntl_jax.models import Decoder
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.records import Prompt, Sampling, Trajectory
from ntl_jax.rollout.engine import RolloutEngine, check_positions, check_prompts
from ntl_jax.rollout.stopping import length_to_stop, with_stop_ids
from ntl_jax.rollout.vllm.start import import_vllm, start_vllm
from ntl_jax.rollout.vllm.weight_buckets import Bucket, sent_shapes, weight_buckets, write_bucket

MAX_DIGIT_IDS = 128  # vLLM's limit on tokens whose log-probs a request asks for by name


class VllmEngine(RolloutEngine):
    """Samples with vLLM, from weights that it is given by ``load_weights``.

    Each sample is a request of its own with a seed of its own. How many requests run together varies, and with it the
    last bits of matrix products, so that samples repeat, or do not depend on their neighbours, but for rare tokens
    whose draw falls between two.

    Args:
        decoder: the policy.
        table: the digits' ids, of kind "digits".
        max_prompt_tokens: longest prompt, P.
        max_tokens: longest response, T.
        tokenizer: for stop strings; without it they are refused.
        settings: how vLLM is started. Where it runs in several processes, weights reach them through files.

    Raises:
        ValueError: vLLM is missing, broken, or does not take the settings or the policy's sizes.

    Example:
        >>> engine = VllmEngine(decoder, table, max_prompt_tokens=64, max_tokens=32)  # doctest: +SKIP
        >>> engine.generate(prompts, Sampling(num_samples=8, max_tokens=32), seed=0)  # doctest: +SKIP
    """

    def __init__(
        self,
        decoder: Decoder,
        table: NumberTable,
        *,
        max_prompt_tokens: int,
        max_tokens: int,
        tokenizer: Any = None,
        settings: VllmSection = VllmSection(),
    ):
        if max_prompt_tokens < 1 or max_tokens < 1:
            raise ValueError(f"max_prompt_tokens={max_prompt_tokens} and max_tokens={max_tokens} must be at least 1")
        if (num_ids := len(table.ids)) > MAX_DIGIT_IDS:
            raise ValueError(
                f"{num_ids} ids stand for digits: vLLM reports at most {MAX_DIGIT_IDS}; use the JAX engine"
            )
        check_positions(max_prompt_tokens, max_tokens, decoder.config.max_positions)
        self._table, self._settings = table, settings
        self._max_prompt_tokens, self._max_tokens = max_prompt_tokens, max_tokens
        self._num_ids, self._shapes = decoder.config.num_ids, sent_shapes(decoder)
        self._tokenizer, self._decode_text = tokenizer, None if tokenizer is None else TokenDecoder(tokenizer)
        self._llm = start_vllm(decoder.config, settings, max_tokens=max_prompt_tokens + max_tokens, tokenizer=tokenizer)
        _, self._sampling_params = import_vllm()
        self._ended: str | None = None
        self._in_part: str | None = None
        self.load_weights(0, decoder)

    def load_weights(self, version: int, decoder: Decoder) -> None:
        """Samples from these weights from now on; trajectories carry ``version``.

        Raises:
            ValueError: the weights are of other shapes; the engine keeps those that it has.
        """
        self._check_running()
        if (shapes := sent_shapes(decoder)) != self._shapes:
            differing = [name for name in shapes | self._shapes if shapes.get(name) != self._shapes.get(name)]
            raise ValueError(
                f"weights of version {version} do not fit the policy that vLLM was started with: {len(differing)} "
                f"tensors differ, such as {differing[0]}: {shapes.get(differing[0])}, not "
                f"{self._shapes.get(differing[0])}. Make a new engine"
            )
        dtype = str(self._llm.llm_engine.model_config.dtype).removeprefix("torch.")
        buckets = weight_buckets(decoder, dtype=dtype, bucket_bytes=self._settings.bucket_mib * 2**20)
        self._in_part = f"weights of version {version} arrived in part only; load_weights must succeed first"
        self._llm.collective_rpc("begin_weights")
        for bucket in buckets:
            with self._transferable(bucket) as sent:
                self._llm.collective_rpc("take_weights", args=(sent,))
        self._llm.collective_rpc("finish_weights")
        if not self._llm.reset_prefix_cache():  # it holds keys and values of the old weights
            raise RuntimeError(f"vLLM is still sampling, so that it cannot go over to weights of version {version}")
        self._version, self._in_part = version, None

    @contextlib.contextmanager
    def _transferable(self, bucket: Bucket) -> Iterator[Bucket | str]:
        """The bucket itself for a worker in this process, for others the path of a file that holds it meanwhile."""
        if self._llm.get_world_size() == 1:
            yield bucket
            return
        with tempfile.TemporaryDirectory(prefix="ntl-jax-weights-") as folder:
            path = pathlib.Path(folder, "bucket.safetensors")
            write_bucket(bucket, path)
            yield str(path)

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()
        self._ended = "it is closed"
        del self._llm

    def _check_running(self) -> None:
        if self._ended is not None:
            raise RuntimeError(f"the vLLM engine cannot go on: {self._ended}")

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int) -> list[Trajectory]:
        self._check_running()
        if self._in_part is not None:
            raise RuntimeError(f"the vLLM engine cannot sample: {self._in_part}")
        check_prompts(prompts, self._max_prompt_tokens, self._num_ids)
        self._check_sampling(sampling)
        sampling = with_stop_ids(sampling, self._tokenizer)
        if not prompts:
            return []
        samples = [(prompt, index) for prompt in prompts for index in range(sampling.num_samples)]
        requests = [self._request(sampling, _sample_seed(seed, prompt.draw, index)) for prompt, index in samples]
        self._ended = "vLLM broke off while it sampled, and may hold requests of that call; close() it, make a new one"
        outputs = self._llm.generate(
            [{"prompt_token_ids": prompt.ids.tolist()} for prompt, _ in samples], requests, use_tqdm=False
        )
        self._ended = None
        responses = [output.outputs[0] for output in outputs]
        asked = self._table.ids.tolist() if sampling.capture_digits else []
        log_probs = [_log_probs(response, asked) for response in responses]
        digits = _merged(self._table, [x[:, 1:] for x in log_probs]) if sampling.capture_digits else None
        trajectories = []
        for row, ((prompt, index), response) in enumerate(zip(samples, responses, strict=True)):
            ids = np.asarray(response.token_ids, np.int32)
            length = self._length_to_stop(ids, sampling)
            kept = slice(length)
            trajectories.append(
                Trajectory(
                    prompt_index=prompt.index,
                    sample_index=index,
                    prompt_ids=prompt.ids,
                    response_ids=ids[kept],
                    rollout_log_probs=log_probs[row][kept, 0],
                    digit_log_probs=None if digits is None else digits[row][kept],
                    finish_reason=response.finish_reason if length is None else "stop",
                    policy_version=self._version,
                    draw=prompt.draw,
                )
            )
        return trajectories

    def _check_sampling(self, sampling: Sampling) -> None:
        low, high = TEMPERATURES
        checks = {
            f"max_tokens={sampling.max_tokens}: the engine was made for {self._max_tokens}": sampling.max_tokens
            <= self._max_tokens,
            f"temperature={sampling.temperature}: vLLM takes 0 or {low} to {high}": sampling.temperature == 0
            or low <= sampling.temperature <= high,
            "capture_entropy, capture_alternatives: vLLM reports neither beside the digits; the JAX engine does": not (
                sampling.capture_entropy or sampling.capture_alternatives
            ),
        }
        if problems := [text for text, ok in checks.items() if not ok]:
            raise ValueError("the vLLM engine cannot sample so: " + "; ".join(problems))

    def _request(self, sampling: Sampling, seed: int) -> Any:
        """vLLM ends a response at the tokens and strings that are asked for, and at none of its own."""
        return self._sampling_params(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            seed=seed,
            max_tokens=sampling.max_tokens,
            stop_token_ids=[i for i in sampling.stop_token_ids if i < self._num_ids],  # vLLM refuses others
            ignore_eos=True,
            stop=list(sampling.stop_strings),
            detokenize=bool(sampling.stop_strings),
            skip_special_tokens=True,  # as the JAX engine does before it searches for stop strings
            logprobs=None if sampling.capture_digits else 0,
            logprob_token_ids=self._table.ids.tolist() if sampling.capture_digits else None,
            flat_logprobs=True,
        )

    def _length_to_stop(self, ids: np.ndarray, sampling: Sampling) -> int | None:
        """Of a response with a stop string, as the JAX engine counts it: vLLM's own reading may differ by a token."""
        if not sampling.stop_strings:
            return None
        assert self._decode_text is not None
        return length_to_stop(ids, sampling.stop_strings, self._decode_text)


def _sample_seed(seed: int, draw: int, sample_index: int) -> int:
    """One for every sample, whatever stands beside it."""
    return int(np.random.SeedSequence([seed, draw, sample_index]).generate_state(1, np.uint64)[0] >> 1)


def _log_probs(response: Any, asked: list[int]) -> Float[np.ndarray, "T 1+asked"]:
    """Log-probs at every token: its own, then those of the ids that were asked for.

    Raises:
        RuntimeError: vLLM gave up on the response, or reports on other ids, as it does without a word when requests
            that ask for different ones run together.
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
    """The digits' log-probs of every response. All tokens together, in few sizes, since each size is compiled."""
    rows = np.concatenate(log_probs)
    size = 1 << (len(rows) - 1).bit_length()
    merged = np.asarray(_merge(table, jnp.asarray(np.pad(rows, ((0, size - len(rows)), (0, 0))))))
    return np.split(merged[: len(rows)], np.cumsum([len(x) for x in log_probs])[:-1])


@jax.jit
def _merge(table: NumberTable, log_probs: Float[Array, "tokens M"]) -> Float[Array, "tokens 10"]:
    return table.merge_by_value(log_probs)

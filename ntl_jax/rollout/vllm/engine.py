# SPDX-License-Identifier: Apache-2.0
"""Sampling with one vLLM engine in this process.

With ``logprobs_mode="processed_logprobs"`` vLLM reports the distribution that it draws from: after temperature and
truncation, renormalized. Requests name the digits' ids. Input and output tokens are ids.
"""

import collections
import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ntl_jax.config import VllmSection
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.models import ModelConfig, abstract_decoder
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.records import Request, Trajectory, Version, Weights
from ntl_jax.rollout.engine import RolloutEngine, check_finished, check_positions, check_published, check_requests
from ntl_jax.rollout.stopping import with_stop_ids
from ntl_jax.rollout.vllm.requests import Group, Reader, check_samplings, label_of, sampling_params
from ntl_jax.rollout.vllm.start import import_vllm, start_vllm
from ntl_jax.rollout.vllm.weight_buckets import Bucket, sent_shapes, weight_buckets, write_bucket

MAX_DIGIT_IDS = 128  # vLLM's limit on ids whose log-probs a request may name
BROKEN_OFF = "vLLM broke off while it sampled, and may still hold some of the requests; close() it, make a new one"
OUT_OF_STEP = "vLLM broke off while its workers took weights, and confuses their answers; close() it, make a new one"


class VllmEngine(RolloutEngine):
    """Samples with vLLM, from a copy of the published weights; nothing is lent once ``publish`` returns.

    The copy outlives ``retract``: publishing the version that vLLM holds transfers nothing.

    Each sample is a separate vLLM request with its own seed. The number of requests that run together varies, and so do
    the last bits of matrix products: samples are reproducible and independent of their neighbors, except for rare
    draws on the boundary between two tokens.

    Args:
        model: the policy's sizes and settings.
        table: the digits' ids, of kind "digits".
        max_prompt_tokens: longest prompt, P.
        max_tokens: longest response, T.
        tokenizer: for stop strings; without a tokenizer they are refused.
        settings: how to start vLLM. If it runs in several processes, weights reach them through files.

    Raises:
        ValueError: if vLLM is missing or broken, or does not support the settings or the policy's sizes.

    Example:
        >>> engine = VllmEngine(model, table, max_prompt_tokens=64, max_tokens=32)  # doctest: +SKIP
        >>> engine.publish(Weights(Version(0), params))  # doctest: +SKIP
        >>> engine.generate(prompts, Sampling(num_samples=8, max_tokens=32), seed=0)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: ModelConfig,
        table: NumberTable,
        *,
        max_prompt_tokens: int,
        max_tokens: int,
        tokenizer: Tokenizer | None = None,
        settings: VllmSection = VllmSection(),
    ):
        super().__init__()
        if max_prompt_tokens < 1 or max_tokens < 1:
            raise ValueError(f"max_prompt_tokens={max_prompt_tokens} and max_tokens={max_tokens} must be at least 1")
        if (num_ids := len(table.ids)) > MAX_DIGIT_IDS:
            raise ValueError(
                f"{num_ids} ids stand for digits: vLLM reports at most {MAX_DIGIT_IDS}; use the JAX engine"
            )
        check_positions(max_prompt_tokens, max_tokens, model.max_positions)
        self._model, self._settings = model, settings
        self._max_prompt_tokens, self._max_tokens = max_prompt_tokens, max_tokens
        self._shapes = sent_shapes(abstract_decoder(model)[1], model.num_ids)
        self._tokenizer = tokenizer
        self._reader = Reader(table, None if tokenizer is None else TokenDecoder(tokenizer))
        self._llm = start_vllm(model, settings, max_tokens=max_prompt_tokens + max_tokens, tokenizer=tokenizer)
        _, self._params_class = import_vllm()
        self._ended: str | None = None
        self._in_part: str | None = None
        self._held: Version | None = None
        self._published = False
        self._waiting: collections.deque[Request] = collections.deque()
        self._decoding: dict[str, tuple[Group, int]] = {}
        """The group and the sample's index in it, by vLLM's request id."""

    def publish(self, weights: Weights) -> None:
        """Copies the weights into vLLM, after it has finished requests that were submitted for earlier weights.

        Raises:
            ValueError: if the weights have other shapes; the engine keeps its weights.
        """
        self._check_running()
        if weights.version != self._held:
            self._check_shapes(weights)
            while self._waiting or self._decoding:
                self._finished.extend(self._sample())
            self._transfer(weights)
        self._published = True

    def _check_shapes(self, weights: Weights) -> None:
        shapes = sent_shapes(weights.params, self._model.num_ids)
        if shapes != self._shapes:
            differing = [name for name in shapes | self._shapes if shapes.get(name) != self._shapes.get(name)]
            raise ValueError(
                f"weights of {weights.version} do not fit the policy that vLLM was started with: {len(differing)} "
                f"tensors differ, such as {differing[0]}: {shapes.get(differing[0])}, not "
                f"{self._shapes.get(differing[0])}. Make a new engine"
            )

    def _transfer(self, weights: Weights) -> None:
        dtype = str(self._llm.llm_engine.model_config.dtype).removeprefix("torch.")
        bucket_bytes = self._settings.bucket_mib * 2**20
        buckets = weight_buckets(weights.params, self._model.num_ids, dtype=dtype, bucket_bytes=bucket_bytes)
        if not self._llm.reset_prefix_cache():  # the cache holds keys and values of the old weights
            raise RuntimeError(f"vLLM is still sampling, so it cannot switch to weights of {weights.version}")
        if self._in_part is not None:
            with contextlib.suppress(RuntimeError):  # of a worker that broke off the earlier update itself
                self._phase(self._llm.finish_weight_update)
        self._in_part = f"weights of {weights.version} arrived in part only; a publish() must succeed first"
        self._held = None
        self._phase(self._llm.start_weight_update)
        for bucket in buckets:
            with self._transferable(bucket) as sent:
                self._phase(self._llm.update_weights, {"update_info": {"bucket": sent}})
        self._phase(self._llm.finish_weight_update, label_of(weights.version))
        self._held, self._in_part = weights.version, None

    def _phase(self, call: Callable[..., None], *args: Any) -> None:
        """Runs a phase of a transfer in all workers.

        vLLM reads the answers of several workers up to the first error, and takes those that remain for answers to
        later calls, whose errors it would then miss.
        """
        with contextlib.ExitStack() as broken_off:
            if self._llm.get_world_size() > 1:
                broken_off.callback(self._end, OUT_OF_STEP)
            call(*args)
            broken_off.pop_all()

    @contextlib.contextmanager
    def _transferable(self, bucket: Bucket) -> Iterator[Bucket | str]:
        """The bucket itself for a worker in this process; for others, the path of a temporary file with the bucket."""
        if self._llm.get_world_size() == 1:
            yield bucket
            return
        with tempfile.TemporaryDirectory(prefix="ntl-jax-weights-") as folder:
            path = pathlib.Path(folder, "bucket.safetensors")
            write_bucket(bucket, path)
            yield str(path)

    def retract(self) -> None:
        check_finished(self.unfinished)
        self._published = False

    @property
    def lent(self) -> bool:
        return False

    @property
    def unfinished(self) -> int:
        return len(self._waiting) + len({id(group) for group, _ in self._decoding.values()}) + len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        self._check_running()
        if self._in_part is not None:
            raise RuntimeError(f"the vLLM engine cannot sample: {self._in_part}")
        check_published(self._published)
        check_requests(requests, self._model, self._max_prompt_tokens)
        check_samplings([request.sampling for request in requests], self._max_tokens)
        samplings = {request.sampling: with_stop_ids(request.sampling, self._tokenizer) for request in requests}
        self._waiting.extend(dataclasses.replace(r, sampling=samplings[r.sampling]) for r in requests)

    def _sample(self) -> list[list[Trajectory]]:
        """Runs one vLLM step, a token for each running sample, after adding the waiting requests that can join."""
        self._check_running()
        with contextlib.ExitStack() as broken_off:
            broken_off.callback(self._end, BROKEN_OFF)
            self._admit()
            done: dict[int, Group] = {}
            for output in self._llm.llm_engine.step():
                if output.finished:
                    group, index = self._decoding.pop(output.request_id)
                    group.responses[index] = output.outputs[0]
                    if None not in group.responses:
                        done[id(group)] = group
            groups = self._reader(list(done.values()))
            assert {span.version for group in groups for t in group for span in t.versions} <= {self._held}
            broken_off.pop_all()
        return groups

    def _end(self, reason: str) -> None:
        """Stops sampling for good and drops all requests."""
        self._ended = reason
        self._waiting.clear()
        self._decoding.clear()
        self._finished.clear()

    def _admit(self) -> None:
        """Passes the first waiting requests to vLLM, as long as they have the Sampling in flight.

        If requests for different log-prob ids run together, vLLM silently omits some log-probs.
        """
        if not self._waiting:
            return
        in_flight = (group.request.sampling for group, _ in self._decoding.values())
        sampling = next(in_flight, self._waiting[0].sampling)
        groups: list[Group] = []
        while self._waiting and self._waiting[0].sampling == sampling:
            groups.append(Group(self._waiting.popleft(), [None] * sampling.num_samples))
        samples = [(group, index) for group in groups for index in range(len(group.responses))]
        if samples:
            ids = self._llm.enqueue(
                [{"prompt_token_ids": group.request.prompt.ids.tolist()} for group, _ in samples],
                [self._sampling_params(group.request, index) for group, index in samples],
                use_tqdm=False,
            )
            self._decoding |= {id.partition("-")[0]: sample for id, sample in zip(ids, samples, strict=True)}

    def _sampling_params(self, request: Request, sample_index: int) -> Any:
        asked = self._reader.digit_ids(request.sampling)
        return self._params_class(**sampling_params(request, sample_index, self._model.num_ids, asked))

    def metrics(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()
        self._end("it is closed")
        del self._llm

    def _check_running(self) -> None:
        if self._ended is not None:
            raise RuntimeError(f"the vLLM engine cannot go on: {self._ended}")

# SPDX-License-Identifier: Apache-2.0
"""Sampling in this process, on the training devices: continuous batching in a few compiled programs of fixed shapes.

Prompts are prefilled and stored once for all their samples. A fixed number of slots decodes in segments of one page of
tokens; between segments finished samples leave and waiting ones enter. A sample's tokens always lie at the same offsets
from its start, and each sample has its own random key, so neighbors, order and time of submission change no bit of it.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.models import ModelConfig, abstract_decoder, shardings
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.records import Params, Request, Sampling, Trajectory, Weights
from ntl_jax.rollout.engine import RolloutEngine, check_finished, check_published, check_requests
from ntl_jax.rollout.jax.cache import CacheSettings
from ntl_jax.rollout.jax.round import Round, Setup, fitting_caches
from ntl_jax.rollout.stopping import with_stop_ids


class JaxEngine(RolloutEngine):
    """Samples with the trainer's own decoder and vocabulary head, on its mesh, from the published arrays themselves.

    Args:
        model: the policy's sizes and settings.
        table: the digits' ids, of kind "digits".
        mesh: mesh of the parameters and rows.
        slots: samples in flight, rounded up so that groups of ``num_samples`` divide over data and fsdp. If response
            lengths vary, slots stay filled when they are at most a quarter of the samples that wait for them.
        max_prompt_tokens: longest prompt, P.
        tile_slots: if there are more slots, and data and fsdp are 1: most rows that one program decodes. Unfinished
            samples are dealt anew, by length, to as few programs as hold them. None: 128 on CPU where
            responses can end before ``max_tokens``, else all slots.
        num_prompts: groups of slots are laid out for so many prompts; None: for those that are known when sampling
            begins. It can change last bits, as in `Round`: engines with the same number agree.
        tokenizer: for stop strings; without a tokenizer they are refused.

    Example:
        >>> from flax import nnx
        >>> from ntl_jax.models import Decoder, make_mesh
        >>> from ntl_jax.records import Prompt, Sampling, Version
        >>> import numpy as np
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> model = ModelConfig(vocab_size=16, num_layers=1, **sizes)
        >>> table = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=16)
        >>> mesh = make_mesh((-1, 1, 1), jax.devices()[:1])
        >>> engine = JaxEngine(model, table, mesh=mesh, slots=4, max_prompt_tokens=8)
        >>> engine.publish(Weights(Version(0), nnx.state(Decoder(model, rngs=nnx.Rngs(0)), nnx.Param)))
        >>> prompt = Prompt(index=0, ids=np.array([1, 10, 2]), text="1+2", ground_truth="3")
        >>> [len(t.response_ids) for t in engine.generate([prompt], Sampling(num_samples=2, max_tokens=5), seed=0)]
        [5, 5]
        >>> engine.submit([Request(prompt, Sampling(num_samples=2, max_tokens=n), seed=0) for n in (5, 3)])
        >>> [[len(t.response_ids) for t in group] for group in engine.results()]
        [[5, 5], [3, 3]]
        >>> engine.retract()
    """

    def __init__(
        self,
        model: ModelConfig,
        table: NumberTable,
        *,
        mesh: jax.sharding.Mesh,
        slots: int,
        max_prompt_tokens: int,
        tile_slots: int | None = None,
        num_prompts: int | None = None,
        tokenizer: Tokenizer | None = None,
    ):
        super().__init__()
        if slots < 1 or max_prompt_tokens < 1:
            raise ValueError(f"slots={slots} and max_prompt_tokens={max_prompt_tokens} must be at least 1")
        graph, shapes = abstract_decoder(model)
        self._shapes = _shapes(shapes)
        decode_text = None if tokenizer is None else TokenDecoder(tokenizer)
        by_layer = abstract_decoder(dataclasses.replace(model, scan_layers=False))[0]
        self._setup = Setup(
            model, graph, by_layer, table, mesh, slots, tile_slots, max_prompt_tokens, decode_text, num_prompts
        )
        self._tokenizer = tokenizer
        self._weights: Weights | None = None
        self._closed = False
        self._waiting: collections.deque[tuple[Request, Weights]] = collections.deque()
        self._round: Round | None = None
        self.slot_use = 0.0
        """Share of the slot-steps since the engine was last idle that produced a kept token."""

    def fitting_bytes(self, sampling: Sampling, num_requests: int, settings: CacheSettings) -> int:
        """Bytes of the caches, which fit in memory; known before there are weights.

        Args:
            sampling: of the requests.
            num_requests: how many are submitted together.
            settings: what the message calls the caches' sizes.

        Raises:
            ValueError: with the arithmetic, if they do not fit.
        """
        return sum(cache.num_bytes for cache in fitting_caches(self._setup, sampling, num_requests, settings))

    def publish(self, weights: Weights) -> None:
        self._check_open()
        if self._weights is not None and self._weights.version == weights.version:
            return
        shapes = _shapes(weights.params)
        if shapes != self._shapes:
            differing = [name for name in shapes | self._shapes if shapes.get(name) != self._shapes.get(name)]
            raise ValueError(
                f"weights of {weights.version} do not fit the engine's policy: {len(differing)} arrays differ, such as "
                f"{differing[0]}: {shapes.get(differing[0])}, not {self._shapes.get(differing[0])}. Make a new engine"
            )
        self._weights = _on_devices(weights, self._setup.mesh)

    def retract(self) -> None:
        check_finished(self.unfinished)
        self._weights = None

    @property
    def lent(self) -> bool:
        return self._weights is not None

    @property
    def unfinished(self) -> int:
        decoding = 0 if self._round is None else self._round.unfinished
        return len(self._waiting) + decoding + len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        self._check_open()
        check_published(self.lent)
        weights = self._weights
        assert weights is not None
        if any(x.is_deleted() for x in jax.tree.leaves(weights.params)):
            raise ValueError(
                f"an update took the memory of the weights of {weights.version}, which were lent: retract() before an "
                "update, publish() the policy after it"
            )
        check_requests(requests, self._setup.model, self._setup.max_prompt_tokens)
        samplings = {request.sampling: with_stop_ids(request.sampling, self._tokenizer) for request in requests}
        self._waiting.extend((dataclasses.replace(r, sampling=samplings[r.sampling]), weights) for r in requests)

    def _sample(self) -> list[list[Trajectory]]:
        """Decodes one segment. If it fails, all requests are dropped, since the caches may be half written."""
        with contextlib.ExitStack() as failed:
            failed.callback(self._drop)
            decoding = self._admit()
            groups = decoding.decode_segment()
            self.slot_use = decoding.slot_use
            if not decoding.unfinished:
                self._round = None
            failed.pop_all()
        return groups

    def _admit(self) -> Round:
        """The round in flight, or a new one; the first waiting requests join it, as long as they match its kind."""
        decoding, joining = self._round, []
        sampling, weights = (self._waiting[0][0].sampling, self._waiting[0][1]) if decoding is None else decoding.kind
        while self._waiting and self._waiting[0][0].sampling == sampling and self._waiting[0][1] is weights:
            joining.append(self._waiting.popleft()[0])
        if decoding is None:
            decoding = self._round = Round(self._setup, weights, sampling, num_requests=len(joining))
        for request in joining:
            decoding.add(request)
        return decoding

    def _drop(self) -> None:
        self._waiting.clear()
        self._finished.clear()
        self._round = None

    def metrics(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._drop()
        self._weights, self._closed = None, True

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the JAX engine cannot go on: it is closed")


def _on_devices(weights: Weights, mesh: jax.sharding.Mesh) -> Weights:
    """The weights themselves, or a copy on the devices of weights on the host."""
    if not any(isinstance(x, np.ndarray) for x in jax.tree.leaves(weights.params)):
        return weights
    return dataclasses.replace(weights, params=jax.device_put(weights.params, shardings(weights.params, mesh)))


def _shapes(params: Params) -> dict[str, tuple[int, ...]]:
    """Shape of every array, by its path."""
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(params)}

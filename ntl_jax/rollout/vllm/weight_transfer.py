# SPDX-License-Identifier: Apache-2.0
"""What vLLM's workers do in the phases of its weight transfer: they replace the old weights, bucket by bucket.

vLLM packs a layer's weights for its kernels once the layer has all of them, and drops the unpacked weights, so new
weights go through vLLM's layer-wise reloading. Importing this module registers the backend, and needs vLLM.
"""

import dataclasses
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from vllm.distributed.weight_transfer import (  # pyright: ignore[reportMissingImports]
    WeightTransferEngine,
    WeightTransferEngineFactory,
)
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead  # pyright: ignore[reportMissingImports]
from vllm.model_executor.model_loader.reload import (  # pyright: ignore[reportMissingImports]
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from ntl_jax.rollout.vllm.weight_buckets import Bucket, read_bucket

BACKEND = "ntl_jax"


@dataclasses.dataclass
class Update:
    """Some tensors, given directly or as the path of a safetensors file."""

    bucket: Bucket | str


class BucketTransfer(WeightTransferEngine):
    """Takes a complete set of weights as a sequence of updates. There is no connection to set up or to close."""

    update_info_cls = Update

    def init_transfer_engine(self, init_info: Any) -> None: ...

    def start_weight_update(self) -> None:
        """Also cleans up after an earlier, interrupted set."""
        finalize_layerwise_reload(self.model, self.model_config)
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: Update) -> None:
        bucket = update_info.bucket
        tensors = read_bucket(pathlib.Path(bucket)) if isinstance(bucket, str) else bucket
        self.model.load_weights(_torch_tensors(tensors))

    def finish_weight_update(self) -> None:
        """Also packs a tied head again: it has no tensor of its own, so its copy of the embedding would stay."""
        finalize_layerwise_reload(self.model, self.model_config)
        if self.model_config.hf_config.tie_word_embeddings:
            for module in self.model.modules():
                if isinstance(module, ParallelLMHead):
                    module.quant_method.process_weights_after_loading(module)

    def shutdown(self) -> None: ...


class Registered:
    """Adds nothing to vLLM's workers: as their ``worker_extension_cls`` it has each process import this module."""


def _torch_tensors(bucket: Bucket) -> Iterator[tuple[str, Any]]:
    """The same memory as a torch tensor; torch does not know numpy's bfloat16."""
    for name, array in bucket.items():
        narrow = array.dtype.name == "bfloat16"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the arrays may be read-only, and are only read
            tensor = torch.from_numpy(array.view(np.int16) if narrow else array)
        yield name, tensor.view(torch.bfloat16) if narrow else tensor


WeightTransferEngineFactory.register_engine(BACKEND, BucketTransfer)

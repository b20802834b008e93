# SPDX-License-Identifier: Apache-2.0
"""Code that runs inside vLLM's workers: receives new weights bucket by bucket and replaces the old ones.

vLLM packs a layer's weights for its kernels once the layer has all of them, and drops the unpacked weights, so new
weights go through vLLM's layer-wise reloading. vLLM mixes this class by name (``worker_extension_cls``) into its worker
class; torch and vLLM are imported inside functions, since only such a worker is sure to have them.
"""

import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ntl_jax.rollout.vllm.weight_buckets import Bucket, read_bucket


class WeightReceiver:
    """Mixed into vLLM's worker, whose attributes it uses."""

    model_runner: Any
    model_config: Any
    vllm_config: Any

    def begin_weights(self) -> None:
        """Starts a complete new set of weights, and cleans up after an earlier, interrupted set."""
        from vllm.config import set_current_vllm_config  # pyright: ignore[reportMissingImports]
        from vllm.model_executor.model_loader import reload  # pyright: ignore[reportMissingImports]

        model = self.model_runner.get_model()
        with set_current_vllm_config(self.vllm_config):
            reload.finalize_layerwise_reload(model, self.model_config)
            reload.initialize_layerwise_reload(model)

    def take_weights(self, bucket: Bucket | str) -> None:
        """Loads some tensors, given directly or as the path of a safetensors file."""
        from vllm.config import set_current_vllm_config  # pyright: ignore[reportMissingImports]

        tensors = read_bucket(pathlib.Path(bucket)) if isinstance(bucket, str) else bucket
        with set_current_vllm_config(self.vllm_config):
            self.model_runner.get_model().load_weights(_torch_tensors(tensors))

    def finish_weights(self) -> None:
        """Ends the reloading after the last tensor, and packs a tied head again.

        A tied head has no tensor of its own, so only this updates its packed copy of the embedding.
        """
        from vllm.config import set_current_vllm_config  # pyright: ignore[reportMissingImports]
        from vllm.model_executor.layers import vocab_parallel_embedding  # pyright: ignore[reportMissingImports]
        from vllm.model_executor.model_loader import reload  # pyright: ignore[reportMissingImports]

        model = self.model_runner.get_model()
        with set_current_vllm_config(self.vllm_config):
            reload.finalize_layerwise_reload(model, self.model_config)
            if self.model_config.hf_config.tie_word_embeddings:
                for module in model.modules():
                    if isinstance(module, vocab_parallel_embedding.ParallelLMHead):
                        module.quant_method.process_weights_after_loading(module)


def _torch_tensors(bucket: Bucket) -> Iterator[tuple[str, Any]]:
    """The same memory as a torch tensor; torch does not know numpy's bfloat16."""
    import torch  # pyright: ignore[reportMissingImports]

    for name, array in bucket.items():
        narrow = array.dtype.name == "bfloat16"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the arrays may be read-only, and are only read
            tensor = torch.from_numpy(array.view(np.int16) if narrow else array)
        yield name, tensor.view(torch.bfloat16) if narrow else tensor

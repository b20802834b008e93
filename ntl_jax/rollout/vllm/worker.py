# SPDX-License-Identifier: Apache-2.0
"""What runs inside vLLM's workers: new weights arrive bucket by bucket and take the places of the old ones.

vLLM packs weights for its kernels as soon as a layer has all of its own, and drops what they were packed from, so new
ones go through its layer-wise reloading. vLLM loads this class by name (``worker_extension_cls``) into its worker
class; torch and vLLM are imported where they are used, since only such a worker has them for certain.
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
        """The next buckets are a whole new set of weights; what an earlier, broken-off set left is put in order."""
        from vllm.config import set_current_vllm_config  # pyright: ignore[reportMissingImports]
        from vllm.model_executor.model_loader import reload  # pyright: ignore[reportMissingImports]

        model = self.model_runner.get_model()
        with set_current_vllm_config(self.vllm_config):
            reload.finalize_layerwise_reload(model, self.model_config)
            reload.initialize_layerwise_reload(model)

    def take_weights(self, bucket: Bucket | str) -> None:
        """Loads some tensors, given as they are or by the path of a safetensors file."""
        from vllm.config import set_current_vllm_config  # pyright: ignore[reportMissingImports]

        tensors = read_bucket(pathlib.Path(bucket)) if isinstance(bucket, str) else bucket
        with set_current_vllm_config(self.vllm_config):
            self.model_runner.get_model().load_weights(_torch_tensors(tensors))

    def finish_weights(self) -> None:
        """All tensors have been taken: ends the reloading, and packs a tied head again.

        A tied head has no tensor of its own, so that nothing but this tells its packed copy of a new embedding.
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
    """The same memory as torch sees it, which does not know numpy's bfloat16."""
    import torch  # pyright: ignore[reportMissingImports]

    for name, array in bucket.items():
        narrow = array.dtype.name == "bfloat16"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the arrays may be read-only, and no more than that is done with them
            tensor = torch.from_numpy(array.view(np.int16) if narrow else array)
        yield name, tensor.view(torch.bfloat16) if narrow else tensor

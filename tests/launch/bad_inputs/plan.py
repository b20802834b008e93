# SPDX-License-Identifier: Apache-2.0
"""Topologies, meshes and programs that cannot be, and runs that cannot be planned."""

from tests.launch.bad_inputs.case import BadInput

HERE = "--topology=h100:8"


def case(name: str, *says: str, options: tuple[str, ...] = (), topology: str = HERE) -> BadInput:
    """A plan for a configuration, with options."""
    words = ("--config=gsm8k_ntl_qwen05b", topology, "--programs=none")
    given = {word.partition("=")[0] for word in options}
    kept = tuple(word for word in words if word.partition("=")[0] not in given)
    return BadInput(f"plan: {name}", (*kept, *options), says, command="plan")


CASES = [
    BadInput("plan: nothing", (), ("--config=NAME is missing", "gsm8k_ntl"), command="plan"),
    BadInput("plan: no topology", ("--config=gsm8k_ntl",), ("--topology=CHIP:SHAPE", "v5e:4x4"), command="plan"),
    case("a topology without a value", "--topology is empty", topology="--topology="),
    case("a topology twice", "--topology is given twice", options=("--topology=v5e:4x4", "--topology=v5e:4x4")),
    case("an unknown configuration", "--config=gsm8k_nlt", "did you mean", options=("--config=gsm8k_nlt",)),
    case("an unknown chip", "there is no chip 'v7'", "v5e, v5p", topology="--topology=v7:4x4"),
    case("a chip in capitals", "did you mean h100?", topology="--topology=H100:8"),
    case("a slice of too few axes", "v5p has 3 axes", "v5p:4x4x4", topology="--topology=v5p:4x4"),
    case("GPUs with a shape", "takes a number of GPUs", "h100:8", topology="--topology=h100:2x4"),
    case("no chips", "1 to 100,000", topology="--topology=h100:0"),
    case("a chip alone", "how many there are", "h100:8", topology="--topology=h100"),
    case("an unknown program", "'trian'", "train, decode", options=("--programs=trian",)),
    case("a program that the run has not", "no program 'critic'", "it has train", options=("--programs=critic",)),
    case("a program without a name", "--programs is empty", options=("--programs=",)),
    case("an unknown setting", "model.remta", "did you mean", options=("--config.model.remta=layer",)),
    case("a setting out of range", "rollout.max_tokens=0", "at least 1", options=("--config.rollout.max_tokens=0",)),
    case("a mesh of too many devices", "does not fit 8 devices", options=("--config.model.mesh", "2", "8", "1")),
    case("a mesh of too few devices", "4 of the 8 devices", "-1", options=("--config.model.mesh", "1", "4", "1")),
    case(
        "a mesh that heads do not divide over", "14 heads", "tensor=8", "may be 1, 2",
        options=("--config.model.mesh", "1", "1", "8"),
    ),
    case(
        "rows that do not divide", "must divide over the 8 devices", options=("--config.algorithm.minibatches=256",)
    ),
    case("vLLM on TPUs", "needs GPUs", "rollout.engine", topology="--topology=v5e:4x4"),
    case(
        "a kernel of another chip", "is a kernel for gpu, and this is tpu", topology="--topology=v5e:4x4",
        options=("--config.model.attention=cudnn", "--config.rollout.engine=jax"),
    ),
    case("an unknown model", "'Qwen/Q9' is no folder", "config.json", options=("--config.model.path=Qwen/Q9",)),
    case("a folder without a model", "is an empty folder", options=("--config.model.path={folder}",)),
    case(
        "no iterations", "trainer.steps=0", "above 0",
        options=("--config.trainer.steps=0", "--config.warm_start.steps=5"),
    ),
    case("a device that there is not", "has devices 0 to 7", options=("--config.trainer.devices", "0", "8")),
    case("too many GPUs for vLLM", "has 8 GPUs", options=("--config.rollout.vllm.tensor_parallel_size=16",)),
    case("too long responses", "lower rollout.max_tokens to 32384", options=("--config.rollout.max_tokens=40000",)),
    case("a word without an option", "belongs to no option", options=("h100:8",)),
]  # fmt: skip

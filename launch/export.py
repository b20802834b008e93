# SPDX-License-Identifier: Apache-2.0
"""Exports a trained policy as a Hugging Face folder: python launch/export.py RUN DIR

RUN is a run folder of launch/train.py; DIR, which must not exist yet, gets config.json, model.safetensors, the
tokenizer and generation_config.json, for transformers, vLLM, and launch/train.py --config.model.path=DIR. The policy is
that of the newest checkpoint. JAX_PLATFORMS=cpu keeps it in the host's memory where the accelerator is busy or small.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence

from ntl_jax.config import RunConfig, from_dict

STAGES = ("ppo", "warm_start")
"""Stages of a run, the last one first."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message.
    """
    parser = argparse.ArgumentParser(
        prog="launch/export.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", type=pathlib.Path, help="run folder")
    parser.add_argument("folder", metavar="DIR", type=pathlib.Path, help="folder to make")
    args = parser.parse_args(argv)
    try:
        print(export(args.run, args.folder))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def export(run: pathlib.Path, folder: pathlib.Path) -> str:
    """Writes the run's newest policy to the folder; returns a line that says so.

    Raises:
        ValueError: for a folder that holds no run, a run without a checkpoint, a target that is not empty.
    """
    config, (stage, step) = stored_config(run), newest_checkpoint(run)
    # Here and not above: with JAX and its friends, --help would take seconds.
    import jax
    from flax import nnx

    from ntl_jax.models import save_hf, shardings
    from ntl_jax.train.factory import assemble

    parts = assemble(dataclasses.replace(config, model=dataclasses.replace(config.model, mesh=(1, 1, 1))))
    placement = shardings(parts.params, parts.mesh)
    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), parts.params, placement)
    params = restore_policy(run / "checkpoints" / stage / str(step), like)
    save_hf(nnx.merge(parts.graph, params), folder, tokenizer=parts.tokenizer)
    return f"{folder}: the policy of {run} after step {step} of stage {stage}"


def stored_config(run: pathlib.Path) -> RunConfig:
    """The configuration that the run was started with."""
    path = run / "config.json"
    if not path.is_file():
        raise ValueError(f"{run} holds no run (there is no {path}): give a folder that launch/train.py made")
    return from_dict(RunConfig, json.loads(path.read_text(encoding="utf-8")))


def newest_checkpoint(run: pathlib.Path) -> tuple[str, int]:
    """Stage and step of the last complete checkpoint."""
    for stage in STAGES:
        steps = [int(path.parent.name) for path in (run / "checkpoints" / stage).glob("*/_CHECKPOINT_METADATA")]
        if steps:
            return stage, max(steps)
    raise ValueError(f"{run} has no checkpoint yet: wait for the first, or lower trainer.save_every")


def restore_policy(checkpoint: pathlib.Path, like):
    """The policy's parameters alone, out of a whole train state, placed like ``like``."""
    import orbax.checkpoint as ocp

    item = {"policy": {"params": like}}
    arguments = ocp.args.PyTreeRestore(
        item=item, restore_args=ocp.checkpoint_utils.construct_restore_args(item), partial_restore=True
    )
    with ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore((checkpoint / "state").absolute(), args=arguments)["policy"]["params"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

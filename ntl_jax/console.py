# SPDX-License-Identifier: Apache-2.0
"""The commands that are installed with the package: ``ntl-train`` runs launch/train.py, and so on.

launch/ and configs/ lie beside the package in a clone of the repository, and inside it where it was installed without.
"""

import pathlib
import runpy
import sys

PREFIX = "ntl-"


def main() -> None:
    """Runs the file of launch/ that the name of the program stands for, as ``python launch/NAME.py`` does."""
    name = pathlib.Path(sys.argv[0]).stem.removeprefix(PREFIX).replace("-", "_")
    runpy.run_path(str(launch_folder() / f"{name}.py"), run_name="__main__")


def launch_folder() -> pathlib.Path:
    """The folder of the commands.

    Example:
        >>> (launch_folder() / "train.py").is_file()
        True
    """
    package = pathlib.Path(__file__).resolve().parent
    beside = package.parent / "launch"
    return beside if (beside / "train.py").is_file() else package / "launch"


def command(name: str) -> str:
    """How a user starts the command of this name.

    Example:
        >>> command("get_model") in ("python launch/get_model.py", "ntl-get-model")
        True
    """
    is_clone = launch_folder().parent != pathlib.Path(__file__).resolve().parent
    return f"python launch/{name}.py" if is_clone else f"{PREFIX}{name.replace('_', '-')}"

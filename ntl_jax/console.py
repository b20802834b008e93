# SPDX-License-Identifier: Apache-2.0
"""The commands that are installed with the package: ``ntl-train`` runs launch/train.py, and so on.

launch/ and configs/ lie beside the package in a clone of the repository, and inside the package when it was installed
from a wheel.
"""

import importlib.metadata
import pathlib
import re
import runpy
import sys

PREFIX, EXTRA = "ntl-", "train"


def main() -> None:
    """Runs the file of launch/ that the name of the program stands for, as ``python launch/NAME.py`` does.

    Raises:
        SystemExit: with a line, if packages are missing that all commands need.
    """
    if absent := missing_packages(EXTRA):
        needs = f"{pathlib.Path(sys.argv[0]).stem} needs {', '.join(absent)}, not installed"
        raise SystemExit(f"error: {needs}: pip install 'ntl_jax[{EXTRA}]'")
    name = pathlib.Path(sys.argv[0]).stem.removeprefix(PREFIX).replace("-", "_")
    runpy.run_path(str(launch_folder() / f"{name}.py"), run_name="__main__")


def missing_packages(extra: str) -> list[str]:
    """Names of packages that an extra of this package needs, and that are not installed.

    Args:
        extra: name of the extra.

    Example:
        >>> missing_packages("train")
        []
    """
    needed = [
        re.split(r"[^\w.-]", line)[0]
        for line in importlib.metadata.requires("ntl_jax") or []
        if re.search(rf"extra == ['\"]{extra}['\"]", line)
    ]
    return [name for name in needed if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


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

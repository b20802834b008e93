# SPDX-License-Identifier: Apache-2.0
"""Trains a policy: python launch/train.py --config=gsm8k_ntl --config.seed=1 (--help explains every setting).

Resume a run with --workdir=DIR --resume; it keeps its settings and data. Only trainer.steps may be raised, and
trainer.compilation_cache, trainer.max_tokens_per_micro_batch, model.remat, model.scan_layers, model.mesh and which
processes train changed.
"""

from ntl_jax.ending import end_at_signals, explain, leave

if __name__ == "__main__":
    end_at_signals()  # before the other imports, which take a second

import dataclasses
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from ntl_jax.command_line import SWITCH, announce, given_options
from ntl_jax.config import (
    CONFIG_FILE,
    OF_GROUP,
    DivergenceSection,
    RunConfig,
    flatten,
    from_home,
    named,
    stored_config,
)
from ntl_jax.config_files import available, load_config
from ntl_jax.config_options import parsed, read_texts, setting_kinds
from ntl_jax.console import command
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.processes.settings import group_in, group_of
from ntl_jax.profile_range import RANGE, check_range, read_range
from ntl_jax.run_folder import check_free, new_folder

CHANGEABLE = (
    "trainer.compilation_cache", "trainer.max_tokens_per_micro_batch", "model.remat", "model.scan_layers",
    "model.mesh", "trainer.distributed", "trainer.heartbeat_timeout_s", *(f"trainer.{name}" for name in OF_GROUP),
    *(f"divergence.{field.name}" for field in dataclasses.fields(DivergenceSection)),
)  # fmt: skip
"""Settings that a resumed run may change, besides more steps: they decide time and memory, last bits of results, and
what is said of sampler and trainer."""
ITERATIONS = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="FIRST:LAST",
    instance_from_str=lambda words: read_range(words[0]),
    is_instance=lambda value: value is None or isinstance(value, tuple),
    str_from_instance=lambda value: [str(value)],
)


@dataclasses.dataclass(frozen=True)
class Args:
    """The command line, parsed. Its field names and docstrings are the command's help."""

    config: tyro.conf.FlagConversionOff[RunConfig]
    """Settings of the run; the defaults below are those of the chosen configuration."""
    name: Annotated[str, tyro.conf.arg(name="config", metavar="NAME")] = ""
    """A file of configs/ without .py, or the path of a .py file, with get_config() -> RunConfig."""
    workdir: Annotated[pathlib.Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Run folder; by default runs/NAME-TIME-SUFFIX."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the run in --workdir with its settings; only trainer.steps may be raised, and
    trainer.compilation_cache, trainer.max_tokens_per_micro_batch, model.remat, model.scan_layers, model.mesh, which
    processes train and the section divergence changed."""
    profile: Annotated[tuple[int, int] | None, ITERATIONS] = None
    """Trace these iterations of PPO into profile/ of the run folder, such as 10:12."""
    allow_changed_schedule: tyro.conf.FlagCreatePairsOff[bool] = False
    """With --resume: continue even if more steps change a learning-rate schedule that has already started."""
    allow_changed_data: tyro.conf.FlagCreatePairsOff[bool] = False
    """With --resume: continue even if training problems, held-out problems, tokenizer, reward function or policy, as
    named by the settings, have changed since the run started."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 the run stopped with a message, 2 the command line is wrong, 130, 143 or 129 ended by
        SIGINT, SIGTERM or SIGHUP, after a checkpoint if training had begun.
    """
    try:
        args = parse_args(argv)
        group = group_of(args.config.trainer)
    except (ValueError, OSError) as error:  # such as a name that is too long for the file system
        return _refuse(argv, f"error: {error}")
    if group is None or group.process_id == 0:
        announce(_starting(args))
    # Imported here: importing JAX would make --help take seconds.
    from ntl_jax.processes.exchange import is_first
    from ntl_jax.processes.start import joined

    try:
        with joined(group, heartbeat_timeout_s=args.config.trainer.heartbeat_timeout_s) as watch:
            if watch is not None:
                args = dataclasses.replace(args, workdir=pathlib.Path(watch.from_first(str(args.workdir))))
            if group is not None and group.process_id is None and is_first():  # as JAX has found out
                announce(_starting(args))
            code, message = _run(args)
            if watch is not None and code == 1:
                watch.fail(message)
    except ValueError as error:  # the other processes have not started
        code, message = 1, f"error: {error}"
    except KeyboardInterrupt:
        code, message = 130, f"\ninterrupted; continue with: {_again(args)}"
    return leave(message, code=code) if message else code


def _starting(args: Args) -> str:
    return f"{args.config.name}: starting, run folder {args.workdir}"


def _again(args: Args) -> str:
    return f"{command('train')} --workdir={shlex.quote(str(args.workdir))} --resume"


def _run(args: Args) -> tuple[int, str]:
    """Trains; returns the exit code, and what to say at the end."""
    assert args.workdir is not None
    from ntl_jax.train import (
        MismatchError,
        NonFiniteError,
        OutOfMemoryError,
        RewardError,
        Terminated,
        WorkersLostError,
        run,
    )

    try:
        run(
            args.config,
            args.workdir,
            resume=args.resume,
            allow_changed_schedule=args.allow_changed_schedule,
            allow_changed_data=args.allow_changed_data,
            profile=args.profile,
        )
    except (
        ValueError,
        OSError,
        MismatchError,
        NonFiniteError,
        OutOfMemoryError,
        RewardError,
        WorkersLostError,
    ) as error:
        remedy = f"continue with: {_again(args)}" if os.path.exists(args.workdir / CONFIG_FILE) else "start again"
        return 1, f"error: {explain(error, args.workdir, remedy)}"
    except Terminated as stop:
        return stop.code, f"\n{stop}; continue with: {_again(args)}"
    return 0, ""


def _refuse(argv: Sequence[str], message: str) -> int:
    """Says what is wrong with the command line, also to processes that would have trained with this one."""
    leave(message, code=2)
    group = group_in(argv)
    if group is not None:
        from ntl_jax.processes.start import end_all

        end_all(group, message, code=2)
    return 2


def parse_args(argv: Sequence[str]) -> Args:
    """Reads the command line: the named configuration with its overrides, checked, and the run folder.

    Raises:
        ValueError: for options that do not exist, values that cannot be read, and an unusable configuration,
            combination of settings or folder.
        SystemExit: after ``--help``.
    """
    given = given_options(argv, _kinds())
    workdir = None
    if given.get("--workdir"):
        with named("--workdir", given["--workdir"][0]):
            workdir = from_home(given["--workdir"][0])
    stored = _stored_config(workdir) if "--resume" in given else None
    if given.get("--config"):
        base = load_config(given["--config"][0])
    elif stored is not None or {"-h", "--help"} & set(argv):
        base = stored or RunConfig()
    else:
        raise ValueError(f"--config=NAME is missing: {available()}")
    args = parsed(argv, Args(base), given, _kinds(), prog=command("train"), description=__doc__)
    args = dataclasses.replace(args, config=read_texts(args.config, given), workdir=workdir)
    args.config.validate(base)
    check_range(args.profile, args.config.trainer.steps)
    for flag in ("allow_changed_schedule", "allow_changed_data"):
        if getattr(args, flag) and stored is None:
            raise ValueError(f"--{flag.replace('_', '-')} only applies to a resumed run: add --resume, or leave it out")
    if stored is not None:
        _check_same_run(args.config, stored)
        return args
    if args.workdir is None:
        return dataclasses.replace(args, workdir=new_folder(args.config.name))
    check_free(args.workdir)
    return args


def _kinds() -> dict[str, object]:
    """The annotations of all options."""
    switches = dict.fromkeys(("--help", "--resume", "--allow_changed_schedule", "--allow_changed_data"), SWITCH)
    return setting_kinds() | switches | {"--config": str, "--workdir": pathlib.Path, "--profile": RANGE}


def _stored_config(workdir: pathlib.Path | None) -> RunConfig:
    if workdir is None:
        raise ValueError("--resume needs --workdir=DIR, the folder of the run to continue")
    return stored_config(workdir)


def _check_same_run(given: RunConfig, stored: RunConfig) -> None:
    """Checks that a resumed run keeps its settings, so that it equals an uninterrupted run; it may run longer."""
    raised = given.trainer.steps >= stored.trainer.steps
    had, has = flatten(stored), flatten(given)
    free = {*CHANGEABLE} | ({"trainer.steps"} if raised else set())
    differing = [name for name in had if had[name] != has[name] and name not in free]
    if differing:
        raise ValueError(
            "a resumed run keeps its settings; only trainer.steps may be raised, and "
            f"{', '.join(CHANGEABLE)} changed:\n  "
            + "\n  ".join(f"{name}: the run has {had[name]!r}, given {has[name]!r}" for name in differing)
        )


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))

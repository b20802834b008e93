# SPDX-License-Identifier: Apache-2.0
"""Plans a run before it is paid for: python launch/plan.py --config=gsm8k_ntl_qwen05b --topology=h100:8

Says what the run takes on each device of a topology (v5e:4x4, v5p:4x4x4, h100:8): memory by kind, arithmetic, traffic,
the least time of an iteration; whether it fits, and otherwise which settings would; and the command that starts it. No
device, weights, data or network are needed. Then programs are compiled: for TPUs by libtpu (extra `tpu`), for GPUs by
XLA for CPU. docs/scaling.md explains the figures.
"""

from ntl_jax.ending import end_at_signals, explain, leave

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import dataclasses
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import tyro

from ntl_jax.command_line import SWITCH, announce, given_options
from ntl_jax.config import RunConfig, printable
from ntl_jax.config_files import available, load_config
from ntl_jax.config_options import parsed, read_texts, setting_kinds
from ntl_jax.console import command

OWN = {"--topology": str, "--programs": str}


@dataclasses.dataclass(frozen=True)
class Args:
    """The command line, parsed. Its field names and docstrings are the command's help."""

    config: tyro.conf.FlagConversionOff[RunConfig]
    """Settings of the run; the defaults below are those of the chosen configuration."""
    name: Annotated[str, tyro.conf.arg(name="config", metavar="NAME")] = ""
    """A file of configs/ without .py, or the path of a .py file, with get_config() -> RunConfig."""
    topology: Annotated[str, tyro.conf.arg(metavar="CHIP:SHAPE")] = ""
    """v4, v5e, v5p or v6e with the shape of a slice, or a100, h100 or h200 with a number of GPUs."""
    programs: Annotated[str | None, tyro.conf.arg(metavar="NAMES")] = None
    """Programs to compile: all, none, or some of train, decode, prefill, log_probs, critic, separated by commas. None:
    train and decode; on TPU only if libtpu is installed."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 the run fits, 1 a message, 2 the command line is wrong, 3 the run does not fit.
    """
    try:
        args = parse_args(argv)
    except (ValueError, OSError) as error:
        return leave(f"error: {error}", code=2)
    given = given_options(argv, _kinds())
    try:
        return plan(args, {name: values for name, values in given.items() if name not in OWN})
    except (ValueError, OSError) as error:
        return leave(f"error: {explain(error, pathlib.Path('standard output'), 'plan again')}", code=1)


def parse_args(argv: Sequence[str]) -> Args:
    """Reads the command line: the named configuration with its overrides, checked.

    Raises:
        ValueError: for options that do not exist, values that cannot be read, and an unusable configuration.
        SystemExit: after ``--help``.
    """
    given, asks_help = given_options(argv, _kinds()), bool({"-h", "--help"} & set(argv))
    if not given.get("--config") and not asks_help:
        raise ValueError(f"--config=NAME is missing: {available()}")
    if not given.get("--topology") and not asks_help:
        raise ValueError("--topology=CHIP:SHAPE is missing: where the run is to be, as in v5e:4x4, v5p:4x4x4 or h100:8")
    base = RunConfig() if asks_help else load_config(given["--config"][0])
    args = parsed(argv, Args(base), given, _kinds(), prog=command("plan"), description=__doc__)
    args = dataclasses.replace(args, config=read_texts(args.config, given))
    args.config.validate(base)
    return args


def plan(args: Args, given: Mapping[str, Sequence[str]]) -> int:
    """Prints the plan; returns the exit code.

    Args:
        args: the command line.
        given: options of the configuration, for the command that starts the run.

    Raises:
        ValueError: for a topology, mesh or program that cannot be.
    """
    from ntl_jax.plan.chips import read_topology

    topology = read_topology(args.topology)
    announce(f"planning {args.config.name} for {topology.text}")
    _use_cpu(topology.num_devices)
    # Imported here: importing JAX would make --help take seconds.
    from ntl_jax.plan.compiled import INSTALL, choose_programs, compile_programs
    from ntl_jax.plan.memory import plan_memory
    from ntl_jax.plan.planned import plan_run
    from ntl_jax.plan.remedies import find_remedies, least
    from ntl_jax.plan.text import (
        about_lines,
        compiled_lines,
        compiler,
        launch_command,
        memory_lines,
        remedy_lines,
        work_lines,
    )
    from ntl_jax.plan.work import plan_work

    planned = plan_run(args.config, topology)
    programs, memory = choose_programs(args.programs, planned), plan_memory(planned)
    _print(*about_lines(planned), "", *memory_lines(memory), "", *work_lines(planned, plan_work(planned)))
    changes, started = {}, memory
    if not memory.fits:
        remedies = find_remedies(planned, memory)
        _print("", *remedy_lines(remedies, None if remedies else least(planned, memory)))
        changes, started = remedies[0] if remedies else ({}, memory)
    if started.fits:
        _print("", f"start it with: {launch_command(command('train'), planned, started, given, changes)}")
    refused = False
    if programs:
        _print("", f"{compiler(planned)}:")
        for program in compile_programs(programs, planned):
            refused |= program.bytes is None
            _print(*compiled_lines(planned, memory, [program]))
    elif args.programs is None:
        _print("", f"nothing was compiled: libtpu is not installed: {INSTALL}")
    return 0 if memory.fits and not refused else 3


def _use_cpu(num_devices: int) -> None:
    """Has as many CPU devices as the topology has devices, unless JAX has begun already."""
    import jax

    try:
        jax.config.update("jax_num_cpu_devices", num_devices)
    except RuntimeError:  # JAX has its devices
        return


def _kinds() -> dict[str, object]:
    """The annotations of all options."""
    return setting_kinds() | OWN | {"--config": str, "--help": SWITCH}


def _print(*lines: str) -> None:
    print(printable("\n".join(lines)), flush=True)


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"  # a plan takes no memory of an accelerator that is there
    sys.exit(main(sys.argv[1:]))

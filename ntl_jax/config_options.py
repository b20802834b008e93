# SPDX-License-Identifier: Apache-2.0
"""Reads settings on a command line: ``--config.section.field=value`` changes a field of a named configuration."""

import contextlib
import dataclasses
import io
import shlex
import sys
from collections.abc import Container, Mapping, Sequence
from typing import TypeVar

import tyro

from ntl_jax.command_line import unreadable_value
from ntl_jax.config import RunConfig, read_escapes, several_in_one, write_escapes
from ntl_jax.config.serialization import leaves

SPELLINGS = {"true": True, "false": False}
Args = TypeVar("Args")
"""A dataclass with a field ``config`` and one for each other option."""


def setting_kinds() -> dict[str, object]:
    """The annotation of every setting, by its option, for `ntl_jax.command_line.given_options`.

    Example:
        >>> setting_kinds()["--config.seed"]
        <class 'int'>
    """
    return {f"--config.{leaf.path}": leaf.kind for leaf in leaves(RunConfig())}


def parsed(
    argv: Sequence[str],
    default: Args,
    given: Mapping[str, Sequence[str]],
    kinds: Mapping[str, object],
    *,
    prog: str,
    description: str | None,
) -> Args:
    """The arguments of a command line.

    Args:
        argv: its words.
        default: the arguments where nothing is given, with the named configuration.
        given, kinds: from `given_options`, and what it was given.
        prog, description: of the help.

    Raises:
        ValueError: for a value that cannot be read.
        SystemExit: after ``--help``.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Mine:
        ...     config: RunConfig
        >>> options = {"given": {"--config.seed": ["3"]}, "kinds": setting_kinds()}
        >>> parsed(["--config.seed=3"], Mine(RunConfig()), **options, prog="mine", description=None).config.seed
        3
    """
    with contextlib.redirect_stderr(io.StringIO()) as shown, _values():
        try:
            return tyro.cli(
                type(default), args=argv, default=default, prog=prog, description=description, use_underscores=True
            )
        except SystemExit as end:
            if not end.code:  # after --help
                raise
    raise ValueError(unreadable_value(shown.getvalue(), given, kinds))


def read_texts(config: RunConfig, given: Container[str]) -> RunConfig:
    """The configuration with escapes interpreted in texts that were given as options.

    Args:
        config: from `parsed`.
        given: from `given_options`.

    Example:
        >>> from ntl_jax.config import PromptSection
        >>> config = RunConfig(prompt=PromptSection(suffix=r"a\\nb"))
        >>> read_texts(config, {"--config.prompt.suffix"}).prompt.suffix
        'a\\nb'
    """
    rollout = config.rollout
    texts = {name: value for name, value in vars(config.prompt).items() if f"--config.prompt.{name}" in given}
    read = {name: read_escapes(value) for name, value in texts.items() if isinstance(value, str)}
    prompt = dataclasses.replace(config.prompt, **read)
    if (option := "--config.rollout.stop_strings") in given:
        rollout = dataclasses.replace(rollout, stop_strings=tuple(map(read_escapes, rollout.stop_strings)))
        if parts := several_in_one(rollout.stop_strings):
            one, several = rollout.stop_strings[0], shlex.join(map(write_escapes, parts))
            print(f"note: {one!r} is one stop string; for several, write {option} {several}", file=sys.stderr)
    return dataclasses.replace(config, prompt=prompt, rollout=rollout)


def _values() -> tyro.constructors.ConstructorRegistry:
    """Reads true and false in upper or lower case, and shows default texts with escapes."""

    def read(words: list[str]) -> bool:
        if words[0].lower() not in SPELLINGS:
            raise ValueError(f"{words[0]!r} must be true or false")
        return SPELLINGS[words[0].lower()]

    registry = tyro.constructors.ConstructorRegistry()
    bools = tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="{true,false}",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value).lower()],
    )
    texts = tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="STR",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [write_escapes(value)],
    )
    registry.primitive_rule(lambda info: {bool: bools, str: texts}.get(info.type))
    return registry

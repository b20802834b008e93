# SPDX-License-Identifier: Apache-2.0
"""Flattens a configuration to settings, and rebuilds it from the dictionary of ``dataclasses.asdict`` or JSON."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Protocol, TypeGuard, TypeVar

from ntl_jax.config.setting import Need, Range


class Section(Protocol):
    """Any dataclass of a configuration."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


AnySection = TypeVar("AnySection", bound=Section)


class Leaf(NamedTuple):
    """A setting of a configuration.

    Args:
        path: its sections and its name, joined by dots.
        kind: its annotation.
        value: its value in the configuration.
        allowed: the range of values, checked only for values of the right type; None: all.
        needs: conditions on other settings, from the setting and its sections, for it to have an effect.
        idle: values that are never refused for having no effect.
    """

    path: str
    kind: object
    value: object
    allowed: Range[object] | None
    needs: tuple[Need, ...]
    idle: tuple[object, ...]


def leaves(section: Section, prefix: str = "", needs: tuple[Need, ...] = ()) -> Iterator[Leaf]:
    """Every setting; a value in place of a section counts as a setting."""
    for field in dataclasses.fields(section):
        kind, value, about = field.type, getattr(section, field.name), field.metadata
        path, own = prefix + field.name, tuple(need.within(prefix) for need in about.get("needs", ()))
        if _is_section(kind) and isinstance(value, kind):
            yield from leaves(value, f"{path}.", needs + own)
        else:
            yield Leaf(path, kind, value, about.get("allowed"), needs + own, about.get("idle", ()))


def flatten(section: Section) -> dict[str, object]:
    """Every setting by its dotted path.

    Args:
        section: a ``RunConfig`` or a part of it.

    Example:
        >>> from ntl_jax.config import RunConfig
        >>> flatten(RunConfig())["algorithm.optimizer.learning_rate"]
        0.0001
    """
    return {leaf.path: leaf.value for leaf in leaves(section)}


def changed(section: AnySection, **settings: object) -> AnySection:
    """The section with settings changed.

    Args:
        section: any.
        settings: new values by their names; None: not changed.

    Example:
        >>> from ntl_jax.config import RunConfig
        >>> changed(RunConfig(seed=3), name="mine", seed=None).seed
        3
    """
    return dataclasses.replace(section, **{name: value for name, value in settings.items() if value is not None})


def from_dict(section: type[AnySection], values: object) -> AnySection:
    """Rebuilds a section from its ``dataclasses.asdict``, possibly read back from JSON. Values are not validated.

    Args:
        section: ``RunConfig`` or the class of a part of it.
        values: a dictionary of all its fields; sections in it are dictionaries too.

    Raises:
        ValueError: if fields are missing or unknown, as in a file from another version.

    Example:
        >>> from ntl_jax.config import RunConfig
        >>> from_dict(RunConfig, dataclasses.asdict(RunConfig(seed=3))).seed
        3
    """
    kinds = {field.name: field.type for field in dataclasses.fields(section)}
    if not isinstance(values, dict):
        raise ValueError(f"{section.__name__} must be an object with the fields {', '.join(kinds)}; given {values!r}")
    odd = [f"{name} is missing" for name in kinds if name not in values]
    odd += [f"{name} is unknown" for name in values if name not in kinds]
    if odd:
        raise ValueError(f"{section.__name__} must have its fields and no others: {', '.join(odd)}")
    return section(**{name: _restore(kinds[name], value) for name, value in values.items()})


def _restore(kind: object, value: object) -> object:
    """Restores sections and tuples, which JSON does not have."""
    if _is_section(kind):
        return from_dict(kind, value)
    return tuple(value) if isinstance(value, list) else value


def _is_section(kind: object) -> TypeGuard[type[Section]]:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)

# SPDX-License-Identifier: Apache-2.0
"""Declares fields of a section: default, allowed values, and the other settings that a setting needs to have an effect.

A setting needs another one if nothing reads it otherwise. A changed setting without effect is refused, because a run
that silently ignores it is not the requested run. No setting needs ``trainer.steps``: it may be raised when a run
resumes, so settings of PPO can have an effect later.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Generic, NamedTuple, TypeVar

Default = TypeVar("Default")
Value = TypeVar("Value", contravariant=True)


class Range(NamedTuple, Generic[Value]):
    """The allowed values of a setting, as words that follow "must" and as a test, which NaN must fail."""

    words: str
    holds: Callable[[Value], bool]


class Need(NamedTuple):
    """A condition on another setting for this one to have an effect.

    Args:
        path: path of the other setting; with a leading dot, in the same section.
        holds: whether a value of the other setting meets the condition.
        remedy: how to change the other setting, in words that follow its path after "set".
        others: alternative conditions; any one is enough.
    """

    path: str
    holds: Callable[[object], bool]
    remedy: str
    others: tuple["Need", ...] = ()

    def __or__(self, other: "Need") -> "Need":
        """A need that either of the two meets."""
        return self._replace(others=(*self.others, other))

    def within(self, section: str) -> "Need":
        """The same need with full paths; ``section`` is the path of the section, with a dot at its end."""
        path = section + self.path[1:] if self.path.startswith(".") else self.path
        return self._replace(path=path, others=tuple(other.within(section) for other in self.others))

    def unmet(self, values: Mapping[str, object]) -> tuple["Need", ...]:
        """The need and its alternatives if none holds, else nothing; settings with invalid values are not checked.

        Args:
            values: values of all settings with valid values, by path.
        """
        needs = (self, *self.others)
        if any(need.path not in values or need.holds(values[need.path]) for need in needs):
            return ()
        return needs


def setting(
    default: Default,
    allowed: Range[Default] | None = None,
    *,
    needs: Sequence[Need] = (),
    idle: Sequence[Default] = (),
) -> Default:
    """The field of a setting, or of a section.

    Args:
        default: the default value.
        allowed: the range of values, in addition to the type.
        needs: conditions that must all hold for the setting, or for every setting of the section, to have an effect; a
            setting that a need names never needs itself.
        idle: values that request nothing, like the default: they are never refused for having no effect.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Section:
        ...     on: bool = False
        ...     times: int = setting(3, at_least(0), needs=[when(".on", True)])
        >>> Section().times
        3
    """
    metadata = {"allowed": allowed, "needs": tuple(needs), "idle": tuple(idle)}
    return dataclasses.field(default=default, metadata=metadata)


def at_least(low: int, why: str = "") -> Range[float]:
    """At least ``low``, and finite; ``why`` follows."""
    return Range(f"be at least {low}{why}", lambda x: low <= x < inf)


def above(low: int, why: str = "") -> Range[float]:
    """Above ``low``, and finite; ``why`` follows."""
    return Range(f"be above {low}{why}", lambda x: low < x < inf)


def or_none(allowed: Range[Default]) -> Range[Default | None]:
    """None, or what a range allows."""
    return Range(f"be None or {allowed.words.removeprefix('be ')}", lambda x: x is None or allowed.holds(x))


FINITE: Range[float] = Range("be a finite number", lambda x: -inf < x < inf)
FRACTION: Range[float] = Range("lie in [0, 1]", lambda x: 0 <= x <= 1)
DECAY: Range[float] = Range("lie in [0, 1)", lambda x: 0 <= x < 1)
SHARE: Range[float] = Range("lie in (0, 1]", lambda x: 0 < x <= 1)
WEIGHTS: Range[tuple[float, ...]] = Range("be finite numbers above 0", lambda x: all(0 < weight < inf for weight in x))


def when(path: str, *values: object, hint: str = "") -> Need:
    """Needs the other setting to have one of these values; ``hint`` ends the message."""
    return Need(path, lambda x: x in values, f"={' or '.join(map(repr, values))}{hint}")


def unless(path: str, value: object, *, instead: object) -> Need:
    """Needs the other setting not to have this value; the remedy names another value."""
    return Need(path, lambda x: x != value, f"={instead!r}")


def positive(path: str) -> Need:
    """Needs the other setting, which is at least 0, to be above 0."""
    return Need(path, lambda x: isinstance(x, int | float) and x > 0, " above 0")


def given(path: str) -> Need:
    """Needs the other setting, a tuple of names, not to be empty."""
    return Need(path, bool, " to a source")


def several(path: str) -> Need:
    """Needs the other setting, a tuple of names, to have at least two."""
    return Need(path, lambda x: isinstance(x, tuple) and len(x) > 1, " to at least two sources")


def includes(path: str, *words: str) -> Need:
    """Needs the other setting, a tuple, to contain one of these."""
    remedy = f" to include {' or '.join(map(repr, words))}"
    return Need(path, lambda x: isinstance(x, tuple) and not set(words).isdisjoint(x), remedy)

# SPDX-License-Identifier: Apache-2.0
"""What stands on a field of a section beside its default: which values it takes, and what it needs to have an effect.

A setting needs another if without it nothing reads it: a changed one is then refused, because a run that silently
ignores it is not the run that was asked for. ``trainer.steps`` is never needed: it may be raised when a run is resumed,
so what belongs to PPO has an effect later.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Generic, NamedTuple, TypeVar

Default = TypeVar("Default")
Value = TypeVar("Value", contravariant=True)


class Range(NamedTuple, Generic[Value]):
    """What a setting may be, in words that follow "must", and as a test, which NaN fails."""

    words: str
    holds: Callable[[Value], bool]


class Need(NamedTuple):
    """What another setting must be for this one to have an effect.

    Args:
        path: of the other setting; with a dot in front, in the same section.
        holds: whether a value of it will do.
        remedy: what to make of it, in words that follow its path after "set".
        others: each of them will do instead.
    """

    path: str
    holds: Callable[[object], bool]
    remedy: str
    others: tuple["Need", ...] = ()

    def __or__(self, other: "Need") -> "Need":
        """Either of the two will do."""
        return self._replace(others=(*self.others, other))

    def within(self, section: str) -> "Need":
        """The same with full paths, for a field of a section whose path, with a dot at its end, is given."""
        path = section + self.path[1:] if self.path.startswith(".") else self.path
        return self._replace(path=path, others=tuple(other.within(section) for other in self.others))

    def unmet(self, values: Mapping[str, object]) -> tuple["Need", ...]:
        """Itself and its alternatives if none holds, else nothing; a setting without a sound value is not asked.

        Args:
            values: of all settings that are sound, by path.
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
        default: its default.
        allowed: the values that it may have, beyond its type.
        needs: all must hold for it, or for every setting of a section, to have an effect; a setting that a need names
            never needs itself.
        idle: values that ask for nothing, as the default does: they are never refused for having no effect.

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


def when(path: str, *values: object, hint: str = "") -> Need:
    """Has an effect where the other setting has one of these values; ``hint`` ends the message."""
    return Need(path, lambda x: x in values, f"={' or '.join(map(repr, values))}{hint}")


def unless(path: str, value: object, *, instead: object) -> Need:
    """Has an effect where the other setting does not have this value; the remedy names another one."""
    return Need(path, lambda x: x != value, f"={instead!r}")


def positive(path: str) -> Need:
    """Has an effect where the other setting, which is at least 0, is above 0."""
    return Need(path, lambda x: isinstance(x, int | float) and x > 0, " above 0")


def includes(path: str, *words: str) -> Need:
    """Has an effect where the other setting, a tuple, holds one of these."""
    remedy = f" to include {' or '.join(map(repr, words))}"
    return Need(path, lambda x: isinstance(x, tuple) and not set(words).isdisjoint(x), remedy)

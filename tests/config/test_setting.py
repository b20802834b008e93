# SPDX-License-Identifier: Apache-2.0
"""Ranges and needs of settings, and the words in which they are told."""

import dataclasses
from math import inf, nan

import pytest

from ntl_jax.config.setting import (
    DECAY,
    FINITE,
    FRACTION,
    SHARE,
    above,
    at_least,
    includes,
    or_none,
    positive,
    setting,
    unless,
    when,
)  # fmt: skip


@pytest.mark.parametrize(
    ("allowed", "good", "bad", "words"),
    [
        (at_least(1), (1, 2.5), (0.9, inf), "be at least 1"),
        (at_least(1, ", or no"), (1,), (0,), "be at least 1, or no"),
        (above(0), (1e-9,), (0, inf), "be above 0"),
        (or_none(above(0)), (None, 1), (0,), "be None or above 0"),
        (FINITE, (-1e300,), (inf, -inf), "be a finite number"),
        (FRACTION, (0, 1), (-0.1, 1.1), "lie in [0, 1]"),
        (DECAY, (0, 0.999), (1,), "lie in [0, 1)"),
        (SHARE, (1e-9, 1), (0,), "lie in (0, 1]"),
    ],
)
def test_a_range_holds_to_its_ends_and_never_for_nan(allowed, good, bad, words):
    assert all(allowed.holds(x) for x in good)
    assert not any(allowed.holds(x) for x in (*bad, nan))
    assert allowed.words == words


@pytest.mark.parametrize(
    ("need", "good", "bad", "remedy"),
    [
        (when("a", 1, 2), 2, 3, "=1 or 2"),
        (when("a", "x", hint=" first"), "x", "y", "='x' first"),
        (unless("a", None, instead=8), 1, None, "=8"),
        (positive("a"), 0.1, 0, " above 0"),
        (includes("a", "x", "y"), ("z", "y"), ("z",), " to include 'x' or 'y'"),
    ],
)
def test_a_need_is_met_or_says_what_to_set(need, good, bad, remedy):
    assert need.unmet({"a": good}) == ()
    assert need.unmet({"a": bad}) == (need,)
    assert need.remedy == remedy


def test_one_of_several_alternatives_is_enough_and_unsound_settings_are_not_asked():
    need = when("a", 1) | when("b", 2)
    assert need.unmet({"a": 0, "b": 2}) == need.unmet({"a": 1, "b": 0}) == need.unmet({"a": 0}) == ()
    assert [missing.path for missing in need.unmet({"a": 0, "b": 0})] == ["a", "b"]


def test_paths_with_a_dot_in_front_are_in_the_settings_own_section():
    need = (when(".a", 1) | when("other.b", 2)).within("section.")
    assert [n.path for n in (need, *need.others)] == ["section.a", "other.b"]


def test_a_field_carries_its_range_and_needs_and_has_its_default():
    @dataclasses.dataclass(frozen=True)
    class Section:
        times: int = setting(3, at_least(0), needs=[when(".on", True)], idle=[0])

    (field,) = dataclasses.fields(Section)
    assert Section().times == 3
    assert field.metadata["allowed"].holds(3) and field.metadata["idle"] == (0,)
    assert [need.path for need in field.metadata["needs"]] == [".on"]

# SPDX-License-Identifier: Apache-2.0
"""Fields are found by the names of known data sets or of the settings; a missing one is answered with those there."""

import dataclasses
import inspect
import re

import pytest

from ntl_jax.config import FieldsSection
from ntl_jax.config.serialization import leaves
from ntl_jax.data.files.fields import DEFAULTS, find_field, missing_field

NESTED = {"a.b": 1, "a": {"b": 2, "c.d": {"e": 3}}, "turns": [{"text": "x"}, {"text": "y"}]}


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b", 1), ("a.c.d.e", 3), ("turns.1.text", "y"), ("a", NESTED["a"]), ("turns.0", {"text": "x"})],
)
def test_a_path_leads_into_fields_and_a_whole_name_comes_first(path, value):
    found = find_field(NESTED, "question", FieldsSection(question=path))
    assert found is not None and found == (path, value)


@pytest.mark.parametrize("path", ["b", "a.x", "a.b.c.d", "turns.2", "turns.x", "a.", ".a", "turns.0.text.x"])
def test_a_path_that_leads_nowhere_finds_nothing(path):
    assert find_field(NESTED, "question", FieldsSection(question=path)) is None


def test_without_a_setting_the_first_known_name_is_read_and_with_one_no_other():
    row = {"problem": "1?", "question": "2?", "solution": "3", "ground_truth": "4"}
    fields = FieldsSection()
    assert [find_field(row, role, fields) for role in DEFAULTS] == [
        ("question", "2?"), ("ground_truth", "4"), ("solution", "3"), None,
    ]  # fmt: skip
    assert find_field(row, "answer", FieldsSection(answer="result")) is None


def test_a_missing_field_is_answered_with_those_there_and_the_nearest():
    row = {"q": 1, "reward_modle": {"ground_truth": 5}}
    said = missing_field(row, "answer", FieldsSection())
    assert said.startswith("no `answer`, `reward_model.ground_truth`, `ground_truth` or `solution`, only `q`, `rew")
    assert said.endswith(": did you mean data.fields.answer=reward_modle.ground_truth?")
    assert missing_field({"q": 1}, "source", FieldsSection(source="s")) == (
        "no `s`, only `q`: name it with data.fields.source"
    )
    assert len(missing_field({f"column {i}": 0 for i in range(500)}, "question", FieldsSection())) < 500


def test_the_help_of_the_settings_lists_the_known_names():
    assert tuple(DEFAULTS) == tuple(field.name for field in dataclasses.fields(FieldsSection))
    assert [leaf.path for leaf in leaves(FieldsSection())] == list(DEFAULTS)
    source = inspect.getsource(FieldsSection)
    for names in DEFAULTS.values():
        assert set(names) <= set(re.findall(r"`([\w.]+)`", source))

# SPDX-License-Identifier: Apache-2.0
"""The path of the divergence log may hold the fields that are filled in, and no others."""

import pytest

from ntl_jax.config import DivergenceSection, RunConfig
from ntl_jax.config.validation import find_problems


@pytest.mark.parametrize(
    "path", ["divergence.jsonl", "logs/{date}/{iteration:06d}.jsonl", "/data/d.jsonl", "a b.jsonl"]
)
def test_paths_with_fields_and_without_are_allowed(path):
    assert find_problems(RunConfig(divergence=DivergenceSection(path=path)), None) == []


@pytest.mark.parametrize(
    "path",
    ["", "logs/", "{step}.jsonl", "{iteration", "a\nb", "{}.jsonl", "{date:06d}", "{iteration:q}", "metrics.jsonl"],
)
def test_a_path_of_no_file_or_with_another_field_is_refused(path):
    with pytest.raises(ValueError, match=r"divergence.path=[\s\S]*\{iteration:06d\} and \{date\}"):
        RunConfig(divergence=DivergenceSection(path=path)).validate()

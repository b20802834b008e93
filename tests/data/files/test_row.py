# SPDX-License-Identifier: Apache-2.0
"""Types are named in JSON's words."""

import pytest

from ntl_jax.data.files.row import type_name


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, "null"), (True, "a boolean"), (1, "a number"), (1.5, "a number"), ("", "a string"), ([], "a list"),
     ({}, "an object"), (b"", "binary data")],
)  # fmt: skip
def test_a_type_has_the_name_that_json_gives_it(value, name):
    assert type_name(value) == name

# SPDX-License-Identifier: Apache-2.0
"""Claims about the docstrings of the losses and the operations; pytest runs their examples one by one."""

import doctest
import inspect
import re

import pytest

import ntl_jax.losses
import ntl_jax.ops

PUBLIC = [(package, name) for package in (ntl_jax.losses, ntl_jax.ops) for name in package.__all__]
# Their source stands at what they are made for, or they have none.
WITHOUT_SOURCE = {"aggregate", "whiten", "correction_sums", "FixedKLController"}


@pytest.mark.parametrize(("package", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_a_public_name_says_what_goes_in_and_out_where_it_is_from_and_shows_an_example(package, name):
    documented = getattr(package, name)
    text = inspect.getdoc(documented) or ""
    assert doctest.DocTestParser().get_examples(text), "no example"
    assert re.search(r"^(Args|Attributes):$", text, re.M), "no arguments"
    if inspect.isfunction(documented) and name != "check_mask":
        assert "Returns:" in text
    if package is ntl_jax.losses and name not in WITHOUT_SOURCE:
        assert "http" in text, "no source"

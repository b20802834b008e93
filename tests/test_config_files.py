# SPDX-License-Identifier: Apache-2.0
"""Configurations are found by name or path; a wrong file is named with its line."""

import pytest

from ntl_jax.config import RunConfig
from ntl_jax.config_files import EXAMPLE, load_config


def test_a_file_is_named_with_the_line_of_its_own_code_that_fails(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from ntl_jax.config import RunConfig, parse_schedule\n\n\ndef get_config():\n"
        "    parse_schedule(3)\n    return RunConfig()\n"
    )
    with pytest.raises(ValueError) as error:
        load_config(str(tmp_path / "mine.py"))
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'mine.py'}:5: TypeError: ") and message.endswith(EXAMPLE)
    assert "\n" not in message


def test_a_file_may_make_its_configuration_with_anything_that_can_be_called(tmp_path):
    (tmp_path / "mine.py").write_text("from ntl_jax.config import RunConfig\n\nget_config = RunConfig\n")
    assert load_config(str(tmp_path / "mine.py")) == RunConfig()

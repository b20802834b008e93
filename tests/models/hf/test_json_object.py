# SPDX-License-Identifier: Apache-2.0
"""A file of a checkpoint is one JSON object, or an error that names the file."""

import pytest

from ntl_jax.models.hf.json_object import read_object


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"null", b"true", b'"{}"', b"\xff{}", b"[" * 100_000])
def test_what_is_no_object_is_refused_with_the_file_name(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is not a JSON object: .*copy or download it again$"):
        read_object(path)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is not a JSON object: .*No such file"):
        read_object(tmp_path / "config.json")

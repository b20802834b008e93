# SPDX-License-Identifier: Apache-2.0
"""Files are read as they are or decompressed; damage is told from what is not read."""

import bz2
import gzip
import lzma

import pytest

from ntl_jax.data.files.formats.content import read_content

COMPRESSIONS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("compress", [bytes, *COMPRESSIONS.values()], ids=["plain", *COMPRESSIONS])
def test_content_is_the_same_with_and_without_compression_and_byte_order_mark(compress, tmp_path):
    for text in ("{}", "\ufeff{}"):
        (tmp_path / "any").write_bytes(compress(text.encode()))
        assert read_content(tmp_path / "any") == b"{}"


@pytest.mark.parametrize(("name", "compress"), COMPRESSIONS.items(), ids=COMPRESSIONS)
def test_every_cut_of_a_compressed_file_is_named_as_damage(name, compress, tmp_path):
    whole = compress(b"{}" * 50)
    for length in range(6, len(whole), 5):
        (tmp_path / "any").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"is compressed with {name} and damaged or cut off"):
            read_content(tmp_path / "any")

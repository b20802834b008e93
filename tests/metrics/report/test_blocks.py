# SPDX-License-Identifier: Apache-2.0
"""Blocks of a page: what is packed unpacks to the same."""

import base64
import gzip
import json

from ntl_jax.metrics.report.blocks import Blocks


def test_a_block_unpacks_to_what_was_packed():
    blocks, value = Blocks(), {"text": "é \ud800 </script>", "values": [1, None, 0.5]}
    assert [blocks.add(value), blocks.add_packed(b"raw")] == ["b0", "b1"]
    unpacked = json.loads(gzip.decompress(base64.b64decode(blocks.packed[0])))
    assert unpacked == value | {"text": "é ? </script>"}  # half a character is no text
    assert base64.b64decode(blocks.packed[1]) == b"raw"

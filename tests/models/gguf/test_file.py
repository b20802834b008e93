# SPDX-License-Identifier: Apache-2.0
"""Fields and tensors of a GGUF file are read as the library reads them; what is no whole model is named."""

import pathlib
import sys

import gguf
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.models.gguf.file import is_gguf, open_gguf
from tests.gguf_files import copied, cut, write_gguf

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "llama2-untied"
ROWS, COLUMNS = 3, 512
KINDS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "BF16")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "llama.gguf", GOLDEN)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_of_any_type_is_what_the_library_makes_of_its_bytes(tmp_path, kind):
    kind = gguf.GGMLQuantizationType[kind]
    block, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    stored = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS // block * num_bytes), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "one.gguf", "llama")
    writer.add_tensor("blk.0.ffn_up.weight", stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_gguf(tmp_path / "one.gguf")
    with np.errstate(all="ignore"):  # some scales of random bytes are not finite
        array, expected = file.array("blk.0.ffn_up.weight"), gguf.dequantize(stored, kind)
        np.testing.assert_array_equal(array.astype(np.float32), expected)
    assert file.shape("blk.0.ffn_up.weight") == array.shape == (ROWS, COLUMNS)
    assert array.dtype == file.dtype("blk.0.ffn_up.weight") == (jnp.bfloat16 if kind.name == "BF16" else np.float32)


def test_tensors_in_half_precision_keep_their_bits(tmp_path):
    file = open_gguf(write_gguf(tmp_path / "half.gguf", GOLDEN, dtype=np.float16))
    assert file.array("output.weight").dtype == file.dtype("output.weight") == np.float16
    assert file.array("output_norm.weight").dtype == np.float32


def test_a_file_is_recognized_by_its_ending_or_its_start(tmp_path, whole):
    (tmp_path / "a.json").write_text("{}")
    assert is_gguf(copied(whole, "weights")) and is_gguf(tmp_path / "MODEL.GGUF")
    assert not is_gguf(tmp_path / "a.json") and not is_gguf(tmp_path)


@pytest.mark.parametrize("num_bytes", [100, 5000, 20_000])
def test_a_file_that_ends_too_early_is_named_whole_fields_or_not(tmp_path, whole, num_bytes):
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole.read_bytes()[:num_bytes])
    with pytest.raises(ValueError, match=r"cut.gguf is truncated or damaged: download it again"):
        open_gguf(path)
    path.write_bytes(whole.read_bytes())
    with pytest.raises(ValueError, match=r"cut.gguf is truncated or damaged: download it again"):
        open_gguf(cut(path, num_bytes))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a GGUF file, it is empty"),
        (b"PK\3\4....", "is not a GGUF file, it starts with"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"GGUF\1\0\0\0" + bytes(100), "version 1"),
        (b"GGUF\0\0\0\3" + bytes(100), "the other byte order"),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path, content, says):
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        open_gguf(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"general.type": "adapter"}, "an adapter"),
        ({"general.type": "mmproj"}, "vision or audio part"),
        ({"general.type": "vocab"}, "without weights"),
        ({"general.type": "dictionary"}, "of type 'dictionary'"),
        ({"split.count": 3, "split.no": 1}, "part 2 of 3"),
    ],
)
def test_what_is_no_whole_model_is_named(tmp_path, fields, says):
    with pytest.raises(ValueError, match=says):
        open_gguf(write_gguf(tmp_path / "a.gguf", GOLDEN, fields))


def test_a_part_of_a_model_is_named_by_its_name(whole):
    with pytest.raises(ValueError, match=r"is part 1 of 3 of a model: join the parts"):
        open_gguf(copied(whole, "qwen-00001-of-00003.gguf"))


@pytest.mark.parametrize(("number", "says"), [(200, "does not know"), (26, "cannot dequantize")])
def test_tensors_of_a_type_that_cannot_be_read_are_named(tmp_path, whole, number, says):
    content = whole.read_bytes()
    end = content.index(b"output_norm.weight") + len("output_norm.weight") + 4 + 8  # number of axes, then their sizes
    (tmp_path / "a.gguf").write_bytes(content[:end] + number.to_bytes(4, "little") + content[end + 4 :])
    with pytest.raises(ValueError, match=says):
        open_gguf(tmp_path / "a.gguf")


def test_without_the_package_the_answer_says_what_to_install(whole, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ValueError, match=r"pip install 'ntl_jax\[gguf\]'"):
        open_gguf(whole)

# SPDX-License-Identifier: Apache-2.0
"""The tokens that end a response are those of all files, and must be ids."""

import json

import pytest

from ntl_jax.data import load_tokenizer
from ntl_jax.models import end_token_ids
from ntl_jax.models.hf.end_tokens import with_end_tokens


@pytest.mark.parametrize("named", ["<|im_end|>", [1, None], -1, True, {"id": 1}])
def test_end_tokens_that_are_not_ids_are_refused_with_the_file_name(tmp_path, named):
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": named}))
    with pytest.raises(ValueError, match=r"generation_config\.json: eos_token_id=.* must be a token id or a list"):
        end_token_ids(tmp_path)
    (tmp_path / "generation_config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"generation_config\.json is not a JSON object"):
        end_token_ids(tmp_path)


def test_end_tokens_of_all_sources_are_listed_once_the_tokenizers_first(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [9, 1]}')
    (tmp_path / "config.json").write_text('{"eos_token_id": 5}')
    assert end_token_ids(tmp_path) == (9, 1, 5)
    assert end_token_ids(tmp_path, load_tokenizer()) == (1, 9, 5)
    assert end_token_ids(None) == ()


@pytest.mark.parametrize(
    ("ids", "expected"),
    [((), {"top_k": 2}), ((7,), {"top_k": 2, "eos_token_id": 7}), ((7, 5), {"top_k": 2, "eos_token_id": [7, 5]})],
)
def test_settings_get_the_end_tokens_that_they_lack(ids, expected):
    settings = {"top_k": 2}
    assert with_end_tokens(settings, ids) == expected
    assert with_end_tokens(expected, ids[::-1]) is expected

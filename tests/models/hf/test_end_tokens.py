# SPDX-License-Identifier: Apache-2.0
"""The tokens that end a response are those of all files, and must be ids."""

import json

import pytest

from ntl_jax.models import end_token_ids


@pytest.mark.parametrize("named", ["<|im_end|>", [1, None], -1, True, {"id": 1}])
def test_end_tokens_that_are_not_ids_are_refused_with_the_file_name(tmp_path, named):
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": named}))
    with pytest.raises(ValueError, match=r"generation_config\.json: eos_token_id=.* must be a token id or a list"):
        end_token_ids(tmp_path)
    (tmp_path / "generation_config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"generation_config\.json is not a JSON object"):
        end_token_ids(tmp_path)

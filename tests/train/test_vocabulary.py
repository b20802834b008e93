# SPDX-License-Identifier: Apache-2.0
"""What tokenizer and policy agree on is settled, and said, before a run starts."""

import dataclasses
import json
import pathlib

import pytest
from flax import nnx

from ntl_jax.config import ModelSection, RunConfig
from ntl_jax.data.tokenizer import BUILT_IN
from ntl_jax.models import save_hf
from ntl_jax.train.describe import describe
from ntl_jax.train.factory import assemble


def with_stops(config: RunConfig, *stop_strings: str) -> RunConfig:
    return dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, stop_strings=stop_strings))


def test_special_tokens_among_the_stop_strings_end_a_response_and_the_header_says_so(tiny):
    parts = assemble(with_stops(tiny, "<|pad|>", "\n\n"))
    assert parts.stop_token_ids == (1, 0)
    assert describe(parts, pathlib.Path("run"))["end of a response"] == r"<|endoftext|> (1), <|pad|> (0), '\n\n'"


def test_a_stop_string_with_a_special_token_in_it_is_refused_before_a_policy_is_loaded(tiny, tmp_path):
    model = ModelSection(path=str(tmp_path))  # a folder without a checkpoint
    data = dataclasses.replace(tiny.data, tokenizer=str(BUILT_IN))
    config = dataclasses.replace(with_stops(tiny, "<|pad|>\n"), model=model, data=data)
    with pytest.raises(ValueError, match=r"the stop string '<\|pad\|>\\n' would never be found"):
        assemble(config)


def test_end_tokens_that_only_config_json_names_end_responses(tiny, tmp_path):
    """Of a policy with the built-in tokenizer, whose own end of text is 1."""
    parts = assemble(tiny)
    folder = tmp_path / "policy"
    save_hf(nnx.merge(parts.graph, parts.params), folder, tokenizer=parts.tokenizer)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"eos_token_id": [5, 1, 9]}))
    loaded = assemble(dataclasses.replace(tiny, model=ModelSection(path=str(folder), mesh=(1, 1, 1))))
    assert loaded.stop_token_ids == (1, 5, 9)

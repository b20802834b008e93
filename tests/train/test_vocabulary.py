# SPDX-License-Identifier: Apache-2.0
"""What tokenizer and policy agree on is settled, and said, before a run starts."""

import dataclasses
import json
import pathlib
from typing import Any

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


def saved(tiny: RunConfig, folder: pathlib.Path, **settings: Any) -> RunConfig:
    """The run with a policy of the built-in tokenizer, saved with other settings in its config.json."""
    parts = assemble(tiny)
    save_hf(nnx.merge(parts.graph, parts.params), folder, tokenizer=parts.tokenizer)
    stored = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stored | settings))
    return dataclasses.replace(tiny, model=ModelSection(path=str(folder), mesh=(1, 1, 1)))


def test_end_tokens_that_only_config_json_names_end_responses(tiny, tmp_path):
    """The built-in tokenizer's own end of text is 1."""
    assert assemble(saved(tiny, tmp_path / "policy", eos_token_id=[5, 1, 9])).stop_token_ids == (1, 5, 9)


@pytest.mark.parametrize("engine", ["jax", "vllm"])
def test_responses_and_solutions_longer_than_the_positions_are_refused_before_weights_are_read(tiny, tmp_path, engine):
    config = saved(tiny, tmp_path / "policy", max_position_embeddings=64)
    (tmp_path / "policy" / "model.safetensors").unlink()
    rollout = dataclasses.replace(tiny.rollout, max_tokens=4000, engine=engine)
    message = r"a prompt of \d+ tokens with a response of up to 4000 takes \d+ positions, the policy has 64"
    with pytest.raises(ValueError, match=message):
        assemble(dataclasses.replace(config, rollout=rollout))
    config = saved(tiny, tmp_path / "short", max_position_embeddings=40)
    with pytest.raises(ValueError, match=r"policy has 40: lower max_solution_tokens to \d+ or less"):
        assemble(dataclasses.replace(config, rollout=dataclasses.replace(tiny.rollout, max_tokens=8)))

# SPDX-License-Identifier: Apache-2.0
"""The ids shared by tokenizer and policy are determined, and reported, before a run starts."""

import copy
import dataclasses
import json
import shutil
from typing import Any

import pytest
from flax import nnx

from ntl_jax.config import ModelSection, PromptSection, RunConfig
from ntl_jax.data import load_tokenizer
from ntl_jax.data.tokenizer import BUILT_IN
from ntl_jax.models import save_hf
from ntl_jax.records import Sampling, Version, Weights
from ntl_jax.rollout.vocabulary import Vocabulary, agree
from ntl_jax.train.engines import build_engine
from ntl_jax.train.factory import check_run
from ntl_jax.train.header import describe_ends, describe_ids
from ntl_jax.train.policy import build_params, build_policy
from tests.small_tokenizers import make_tokenizer


def with_stops(config: RunConfig, *stop_strings: str) -> RunConfig:
    return dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, stop_strings=stop_strings))


def test_special_tokens_among_the_stop_strings_end_a_response_and_are_in_the_header(tiny):
    policy, strings = build_policy(with_stops(tiny, "<|pad|>", "\n\n")), ("<|pad|>", "\n\n")
    assert policy.vocabulary.stop_token_ids == (1, 0)
    assert describe_ends(policy, strings) == r"<|endoftext|> (1), <|pad|> (0), '\n\n'"


@pytest.fixture
def saved(setup, tmp_path):
    """The run with a policy of the built-in tokenizer, saved with other settings in its config.json."""

    def save(name: str, **settings: Any) -> RunConfig:
        folder = tmp_path / name
        save_hf(nnx.merge(setup.policy.graph, setup.initial), folder, tokenizer=setup.policy.tokenizer)
        stored = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(stored | settings))
        return dataclasses.replace(setup.config, model=ModelSection(path=str(folder), mesh=(1, 1, 1)))

    return save


def test_a_stop_string_that_contains_a_special_token_is_refused_before_weights_are_read(saved, tmp_path):
    config = with_stops(saved("policy"), "<|pad|>\n")
    (tmp_path / "policy" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"the stop string '<\|pad\|>\\n' would never be found"):
        build_policy(config)


def test_the_token_that_ends_the_assistants_turn_ends_a_response(tiny):
    tokenizer = copy.copy(load_tokenizer())
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<|pad|>{% endfor %}"
    assert build_policy(tiny, tokenizer).vocabulary.stop_token_ids == (1, 0)
    plain = dataclasses.replace(tiny, prompt=PromptSection(template="none"))
    assert build_policy(plain, tokenizer).vocabulary.stop_token_ids == (1,)


def test_end_tokens_that_are_only_in_config_json_end_responses(saved):
    """The built-in tokenizer's own end of text is 1."""
    policy = build_policy(saved("policy", eos_token_id=[5, 1, 9]))
    assert policy.vocabulary.stop_token_ids == (1, 5, 9)


@pytest.mark.parametrize("engine", ["jax", "vllm"])
def test_responses_and_solutions_longer_than_the_positions_are_refused_before_weights_are_read(
    setup, saved, tmp_path, engine
):
    config = saved("policy", max_position_embeddings=64)
    (tmp_path / "policy" / "model.safetensors").unlink()
    rollout = dataclasses.replace(config.rollout, max_tokens=4000, engine=engine)
    message = r"a prompt of \d+ tokens with a response of up to 4000 takes \d+ positions, but the policy has 64"
    with pytest.raises(ValueError, match=message):
        check_run(dataclasses.replace(config, rollout=rollout), build_policy(config), setup.prompts)
    config = saved("short", max_position_embeddings=40)
    rollout = dataclasses.replace(config.rollout, max_tokens=8)
    with pytest.raises(ValueError, match=r"policy has 40: lower data\.max_solution_tokens to \d+ or less"):
        check_run(dataclasses.replace(config, rollout=rollout), build_policy(config), setup.prompts)


@pytest.mark.parametrize("loaded", [False, True], ids=["from scratch", "loaded"])
def test_an_untrained_policy_samples_only_tokens_of_its_tokenizer(setup, saved, loaded):
    """The built-in tokenizer has 492 tokens, the policy 512 rows: 4% of the sampled ids would be padding."""
    config = saved("policy") if loaded else setup.config
    policy = build_policy(config)
    assert (policy.model.num_tokens, policy.model.vocab_size) == (492, 512)
    assert "492 tokens, 20 padding ids that are never sampled" in describe_ids(policy)
    sampling = Sampling(num_samples=4, max_tokens=24, stop_token_ids=policy.vocabulary.stop_token_ids)
    engine = build_engine(config, policy, max_prompt_tokens=setup.prompts.longest)
    engine.publish(Weights(Version(0), build_params(policy, seed=0)))
    trajectories = engine.generate(setup.prompts.train[:96], sampling, seed=0)
    engine.close()
    assert len(trajectories) == 384
    assert max(t.response_ids.max() for t in trajectories) < 492


def test_unused_ids_are_counted_and_a_policy_from_scratch_embeds_the_largest(tiny, tmp_path):
    """The built-in tokenizer with its ids from 400 on increased by 30."""
    folder = tmp_path / "tokenizer"
    shutil.copytree(BUILT_IN, folder)
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["model"]["vocab"] = {text: i + 30 * (i >= 400) for text, i in stored["model"]["vocab"].items()}
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    policy = build_policy(dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, tokenizer=str(folder))))
    assert policy.vocabulary == Vocabulary(num_tokens=522, num_holes=30, stop_token_ids=(1,))
    assert (policy.model.num_tokens, policy.model.vocab_size) == (522, 576)
    expected = "492 tokens, 30 unused ids between them, 54 padding ids that are never sampled"
    assert describe_ids(policy) == expected


def test_added_tokens_count_and_holes_are_counted_for_tokenizers_of_other_kinds():
    tokenizer = make_tokenizer("digits")
    end, text_end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    largest = max(tokenizer.get_vocab().values())
    assert agree(tokenizer, None, ["<|endoftext|>"]) == Vocabulary(largest + 1, 7, (end, text_end))
    tokenizer = make_tokenizer("numbers")
    assert agree(tokenizer, None, ["\n"]) == Vocabulary(len(tokenizer), 0, (tokenizer.pad_token_id,))


def test_a_tokenizer_with_ids_past_the_policys_embedding_is_refused_before_weights_are_read(saved, tmp_path):
    config = saved("policy", vocab_size=448)
    (tmp_path / "policy" / "model.safetensors").unlink()
    with pytest.raises(
        ValueError,
        match=r"ids up to 491, but the policy of model\.path=.* embeds 448: its tokenizer and config",
    ):
        build_policy(config)

# SPDX-License-Identifier: Apache-2.0
"""From a run folder to a folder that transformers loads."""

import contextlib
import importlib.util
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from transformers import AutoModelForCausalLM, AutoTokenizer

from launch import export
from ntl_jax.config import (
    DataSection,
    ModelSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    WarmStartSection,
    config_to_json,
)
from ntl_jax.models import Decoder, load_hf
from ntl_jax.train.checkpoints.checkpointer import Checkpointer
from ntl_jax.train.factory import assemble, supervised_trainer

CONFIG = RunConfig(
    name="tiny",
    model=ModelSection(num_layers=1, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=32),
    data=DataSection(tiers=(1,), max_number=9, num_train=50),
    warm_start=WarmStartSection(steps=2, batch_size=8),
    rollout=RolloutSection(prompts_per_step=2, num_samples=2, max_tokens=8),
    trainer=TrainerSection(eval_problems=4),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with checkpoints of two steps, made on eight devices, and the policy of the second."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    (folder / "config.json").write_text(config_to_json(CONFIG))
    parts = assemble(CONFIG)
    trainer = supervised_trainer(parts)
    with contextlib.closing(Checkpointer(folder, "warm_start")) as checkpoints:
        for step in (1, 2):
            trainer.step()
            checkpoints.save(step, trainer.state, trainer.position(), {})
    return folder, trainer.decoder(), parts.tokenizer


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "policy"
    assert export.main([str(run[0]), str(folder)]) == 0
    return folder


def params_of(decoder: Decoder):
    return nnx.state(decoder, nnx.Param)


def test_the_newest_policy_is_exported_bit_for_bit(run, exported):
    jax.tree.map(np.testing.assert_array_equal, params_of(load_hf(exported)), params_of(run[1]))


def test_the_tokenizer_is_exported_with_the_end_of_a_response(run, exported):
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert tokenizer.encode("has 12+7") == run[2].encode("has 12+7")
    assert json.loads((exported / "generation_config.json").read_text())["eos_token_id"] == run[2].eos_token_id


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="transformers generates with torch")
def test_transformers_generates_from_the_exported_policy(run, exported):
    tokenizer = AutoTokenizer.from_pretrained(exported)
    prompt = tokenizer("12+7=", return_tensors="pt")
    model: Any = AutoModelForCausalLM.from_pretrained(exported)
    tokens = model.generate(prompt["input_ids"], max_new_tokens=5, do_sample=False).numpy()
    logits = run[1](jnp.asarray(tokens)) @ run[1].head()
    start = prompt["input_ids"].shape[1]
    np.testing.assert_array_equal(tokens[0, start:], np.argmax(logits[0, start - 1 : -1], axis=-1))


def test_mistakes_are_named(run, exported, tmp_path, capsys):
    assert export.main([str(tmp_path), str(tmp_path / "policy")]) == 1
    assert f"error: {tmp_path} holds no run" in capsys.readouterr().err
    (tmp_path / "config.json").write_text((run[0] / "config.json").read_text())
    assert export.main([str(tmp_path), str(tmp_path / "policy")]) == 1
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert export.main([str(run[0]), str(exported)]) == 1
    assert "exists already" in capsys.readouterr().err

# SPDX-License-Identifier: Apache-2.0
"""From a run folder to a folder that transformers loads."""

import contextlib
import dataclasses
import importlib.util
import json
import shutil
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from transformers import AutoModelForCausalLM, AutoTokenizer

from launch import export
from ntl_jax.config import config_to_json
from ntl_jax.models import load_hf
from ntl_jax.train.checkpoints.checkpointer import Checkpointer, restore_policy
from ntl_jax.train.policy import build_params, build_policy
from ntl_jax.update.state import init_model_state, init_train_state


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "policy"
    assert export.main([str(finished.folder), str(folder)]) == 0
    return folder


def test_the_newest_policy_is_exported_bit_for_bit(setup, finished, exported):
    stage, step, params = restore_policy(finished.folder, setup.policy.shapes())
    assert (stage, step) == ("ppo", 4)
    chex.assert_trees_all_equal(nnx.state(load_hf(exported), nnx.Param), params)


def test_the_tokenizer_is_exported_with_the_end_of_a_response(setup, exported):
    tokenizer, own = AutoTokenizer.from_pretrained(exported), setup.policy.tokenizer
    assert tokenizer.encode("has 12+7") == own.encode("has 12+7")
    assert json.loads((exported / "generation_config.json").read_text())["eos_token_id"] == own.eos_token_id


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="transformers generates with torch")
def test_transformers_generates_from_the_exported_policy(exported):
    tokenizer, decoder = AutoTokenizer.from_pretrained(exported), load_hf(exported)
    prompt = tokenizer("12+7=", return_tensors="pt")
    model: Any = AutoModelForCausalLM.from_pretrained(exported)
    tokens = model.generate(prompt["input_ids"], max_new_tokens=5, do_sample=False).numpy()
    logits = decoder(jnp.asarray(tokens)) @ decoder.head()
    start = prompt["input_ids"].shape[1]
    np.testing.assert_array_equal(tokens[0, start:], np.argmax(logits[0, start - 1 : -1], axis=-1))


def test_weights_are_copied_quietly_without_data_reward_or_engine(finished, exported, tmp_path, capsys, caplog):
    """A run of which only its folder was kept, of an engine that is not installed here."""
    folder, gone = tmp_path / "run", str(tmp_path / "gone")
    shutil.copytree(finished.folder / "checkpoints", folder / "checkpoints")
    stored = (finished.folder / "config.json").read_text().replace(str(finished.inputs), gone)
    (folder / "config.json").write_text(stored.replace('"engine": "jax"', '"engine": "vllm"'))
    assert gone in (folder / "config.json").read_text() and "vllm" in (folder / "config.json").read_text()
    assert export.main([str(folder), str(tmp_path / "policy")]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"exporting {folder}\n{tmp_path / 'policy'}: ") and not shown.err
    assert not caplog.records  # Orbax warns of what is meant to be so
    for path in exported.iterdir():
        assert (tmp_path / "policy" / path.name).read_bytes() == path.read_bytes()


def test_parameters_that_lay_on_eight_devices_are_exported_from_one(setup, tmp_path):
    config = dataclasses.replace(setup.config, model=dataclasses.replace(setup.config.model, mesh=(2, 2, 2)))
    policy = build_policy(config)
    params = build_params(policy, seed=3)
    state = init_train_state({"policy": init_model_state(params, optax.sgd(1.0), policy.mesh)}, policy.mesh)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(config_to_json(config))
    with contextlib.closing(Checkpointer(tmp_path / "run", "warm_start")) as checkpoints:
        checkpoints.save(2, state, {}, {}, {})
    said = export.export(tmp_path / "run", tmp_path / "policy")
    assert said == f"{tmp_path / 'policy'}: the policy of {tmp_path / 'run'} after step 2 of stage warm_start"
    chex.assert_trees_all_equal(nnx.state(load_hf(tmp_path / "policy"), nnx.Param), params)


def test_mistakes_are_named(finished, exported, tmp_path, capsys):
    assert export.main([str(tmp_path), str(tmp_path / "policy")]) == 1
    assert f"error: {tmp_path} holds no run" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(config_to_json(finished.config))
    assert export.main([str(tmp_path), str(tmp_path / "policy")]) == 1
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert export.main([str(finished.folder), str(exported)]) == 1
    assert "already exists" in capsys.readouterr().err

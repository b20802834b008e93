# SPDX-License-Identifier: Apache-2.0
"""A name on the command line is a run, with its settings, or a model, with the defaults."""

import pytest

from ntl_jax.config import PolicySource, RunConfig, config_to_json


def test_a_run_folder_has_its_own_settings_and_its_newest_checkpoint(tmp_path):
    (tmp_path / "config.json").write_text(config_to_json(RunConfig(seed=3)))
    assert PolicySource.of(str(tmp_path), None) == (str(tmp_path), True, "newest", RunConfig(seed=3))
    assert PolicySource.of(str(tmp_path), "best").checkpoint == "best"


def test_anything_else_is_a_model_without_checkpoints():
    source = PolicySource.of("a/model", None)
    assert not source.is_run and source.config.model.path == "a/model" and source.config.name == "model"
    with pytest.raises(ValueError, match="--checkpoint=best: a/model is a model"):
        PolicySource.of("a/model", "best")

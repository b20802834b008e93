# SPDX-License-Identifier: Apache-2.0
"""The sizes of published models are those of their names."""

import json
import re

import pytest

from ntl_jax.config import ModelSection, RunConfig
from ntl_jax.plan.published_sizes import PUBLISHED_SIZES, planned_model


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_a_model_has_about_as_many_parameters_as_its_name_says(name):
    found = re.search(r"-([\d.]+)B", name)
    assert found is not None
    model = planned_model(RunConfig(model=ModelSection(path=name)))
    assert model.num_params / 1e9 == pytest.approx(float(found[1]), rel=0.2)
    assert model.scan_layers and model.vocab_size % 64 == 0


def test_a_folder_needs_no_more_than_its_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED_SIZES["Qwen/Qwen2.5-7B"]))
    section = ModelSection(path=str(tmp_path), remat="dots", scan_layers="off")
    model = planned_model(RunConfig(model=section))
    assert (model.num_layers, model.remat, model.scan_layers) == (28, "dots", False)


def test_a_model_from_scratch_has_the_sizes_of_its_settings():
    model = planned_model(RunConfig(model=ModelSection(num_layers=3, width=64)))
    assert (model.num_layers, model.width, model.scan_layers) == (3, 64, False)


def test_a_name_whose_sizes_are_unknown_is_not_looked_for_on_the_hub():
    with pytest.raises(ValueError, match=r"model.path='Qwen/Qwen9-1B' is no folder.*a folder with its config.json"):
        planned_model(RunConfig(model=ModelSection(path="Qwen/Qwen9-1B")))

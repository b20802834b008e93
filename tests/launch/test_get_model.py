# SPDX-License-Identifier: Apache-2.0
"""The command that gets a pretrained model: what it prints and how it ends."""

import pytest

from launch import get_model


@pytest.mark.slow
def test_a_folder_that_holds_the_model_already_is_left_as_it_is(smollm2, capsys):
    before = (smollm2 / "model.safetensors").stat().st_mtime_ns
    assert get_model.main(["smollm2-135m", str(smollm2)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"{smollm2} holds smollm2-135m already",
        f"{smollm2}: use it with --config.model.path={smollm2}",
    ]
    assert (smollm2 / "model.safetensors").stat().st_mtime_ns == before


def test_an_unknown_name_ends_with_1_and_the_names_that_there_are(tmp_path, capsys):
    assert get_model.main(["smollm", str(tmp_path / "new")]) == 1
    assert capsys.readouterr().err == "error: there is no model 'smollm'; there is smollm2-135m\n"

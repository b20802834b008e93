# SPDX-License-Identifier: Apache-2.0
"""Settings on a command line: every one has an option, and texts are read as the user means them."""

import dataclasses

import pytest

from ntl_jax.config import PromptSection, RunConfig, flatten
from ntl_jax.config_options import parsed, read_texts, setting_kinds


@dataclasses.dataclass(frozen=True)
class Mine:
    config: RunConfig
    times: int = 1


def read(*words: str) -> Mine:
    given = {word.partition("=")[0]: [word.partition("=")[2]] for word in words}
    kinds = setting_kinds() | {"--times": int}
    return parsed(words, Mine(RunConfig(seed=7)), given, kinds, prog="mine", description=None)


def test_every_setting_has_an_option():
    assert set(setting_kinds()) == {f"--config.{path}" for path in flatten(RunConfig())}


def test_options_change_their_settings_and_leave_the_others_of_the_configuration():
    assert read("--config.trainer.steps=5", "--times=3").config.seed == 7
    assert read("--config.trainer.steps=5", "--times=3").config.trainer.steps == 5


def test_a_value_that_cannot_be_read_is_named_with_what_is_allowed():
    with pytest.raises(ValueError, match=r"--config.seed=x: must be a whole number"):
        read("--config.seed=x")


def test_escapes_are_read_in_texts_that_were_given_and_in_no_others():
    config = RunConfig(prompt=PromptSection(prefix=r"a\nb", suffix=r"a\nb"))
    prompt = read_texts(config, {"--config.prompt.prefix"}).prompt
    assert (prompt.prefix, prompt.suffix) == ("a\nb", r"a\nb")

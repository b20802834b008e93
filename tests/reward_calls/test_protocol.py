# SPDX-License-Identifier: Apache-2.0
"""Reward functions are found by name, and those that cannot take the trainer's call are refused before the run."""

import pathlib

import pytest

from ntl_jax.reward_calls.protocol import group_call, takes_groups
from ntl_jax.rewards import CALL, EXTRAS, exact_match, load_reward

FILE = """
import dataclasses

@dataclasses.dataclass
class Parts:
    score: float

NUMBER = 3

def verl(data_source, solution_str, ground_truth, extra_info=None):
    return Parts(1.0).score

def keyword_only(*, data_source, solution_str, ground_truth, extra_info, tau):
    return tau

def open_ended(solution_str, ground_truth, **kwargs):
    return 1.0

async def later(data_source, solution_str, ground_truth, extra_info=None, ntl_info=None):
    return 1.0

class Judge:
    def __call__(self, data_source, solution_str, ground_truth, extra_info):
        return 1.0

judge = Judge()

def too_few(solution_str, ground_truth):
    return 1.0

def too_many(data_source, solution_str, ground_truth, extra_info, tokenizer):
    return 1.0

def by_position(data_source, solution_str, ground_truth, extra_info, /):
    return 1.0

def batch(data_sources, solution_strs, ground_truths, extra_infos, **kwargs):
    return [1.0 for _ in solution_strs]

async def batch_later(data_sources, solution_strs, ground_truths, extra_infos, *, ntl_infos, tau):
    return [1.0 for _ in solution_strs]

def batch_of_some(solution_strs, ground_truths, **kwargs):
    return [1.0 for _ in solution_strs]

def batch_too_few(solution_strs, ground_truths):
    return [1.0 for _ in solution_strs]

def batch_by_singular(solution_strs, ground_truth, **kwargs):
    return [1.0 for _ in solution_strs]

def batch_too_many(data_sources, solution_strs, ground_truths, extra_infos, tokenizer):
    return [1.0 for _ in solution_strs]
"""


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    file = tmp_path / "my_reward.py"
    file.write_text(FILE)
    return str(file)


def test_a_function_is_loaded_from_a_module_or_a_file(path):
    function, takes = load_reward("ntl_jax.rewards:exact_match")
    assert function is exact_match
    assert takes == set(EXTRAS)
    function, _ = load_reward(f"{path}:verl")
    assert function("gsm8k", "1", "1") == 1.0


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("verl", set()),
        ("keyword_only", {"tau"}),
        ("open_ended", set(EXTRAS)),
        ("later", {"ntl_info"}),
        ("judge", set()),
        ("batch", set(EXTRAS)),
        ("batch_later", {"ntl_info", "tau"}),
        ("batch_of_some", set(EXTRAS)),
    ],
)
def test_only_the_keywords_a_function_takes_are_passed(path, name, takes):
    assert load_reward(f"{path}:{name}")[1] == takes


@pytest.mark.parametrize("name", ["too_few", "too_many", "by_position"])
def test_a_function_that_does_not_take_the_call_is_refused_with_the_signature_it_should_have(path, name):
    with pytest.raises(ValueError, match=r"compute_score\(data_source, solution_str, ground_truth, extra_info=None"):
        load_reward(f"{path}:{name}")


@pytest.mark.parametrize(
    ("name", "in_groups"), [("verl", False), ("open_ended", False), ("batch", True), ("batch_of_some", True)]
)
def test_a_function_that_names_a_list_gets_the_samples_of_a_group_in_one_call(path, name, in_groups):
    assert takes_groups(load_reward(f"{path}:{name}")[0]) == in_groups


@pytest.mark.parametrize("name", ["batch_too_few", "batch_by_singular", "batch_too_many"])
def test_a_batch_function_that_does_not_take_the_call_is_refused_with_the_signature_it_should_have(path, name):
    with pytest.raises(
        ValueError, match=r"a group and must be like compute_score\(data_sources, solution_strs, .*corrects"
    ):
        load_reward(f"{path}:{name}")


def test_the_call_of_a_group_holds_lists_of_what_differs_from_sample_to_sample():
    call = {name: 1 for name in (*CALL, *EXTRAS)}
    of_group = group_call([call, call | {"solution_str": 2}])
    shared = {"tau", "use_ntl_bonus", "ntl_bonus_type", "ntl_bonus_weight"}
    assert {name for name, value in of_group.items() if value == 1} == shared
    lists = [of_group[name] for name in of_group.keys() - shared]
    assert of_group["solution_strs"] == [1, 2] and all(value in ([1, 1], [1, 2]) for value in lists)


def test_a_reward_that_needs_the_ntl_record_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="ntl_info"):
        load_reward("ntl_jax.rewards:ntl_reward", offered=())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("compute_score", "'path.py:name' or 'package.module:name'"),
        ("module:", "'path.py:name' or 'package.module:name'"),
        (":name", "'path.py:name' or 'package.module:name'"),
        ("nowhere/reward.py:compute_score", "there is no file"),
        ("ntl_jax.no_such_module:compute_score", "there is no module 'ntl_jax.no_such_module'"),
        ("no_such_package.module:compute_score", "there is no module 'no_such_package'"),
        ("ntl_jax.rewards:exact_mach", "did you mean 'exact_match'"),
        ("ntl_jax.rewards:zzzzzz", "has no 'zzzzzz'$"),
        ("ntl_jax.rewards:CALL", "is a tuple: a function is needed"),
        ("builtins:max", "signature"),
    ],
)
def test_a_mistake_in_the_name_is_answered_with_what_is_wrong(spec, message):
    with pytest.raises(ValueError, match=message):
        load_reward(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package\n", r"line 1 of .*broken.py: ModuleNotFoundError: .* put no_such_package.py beside"),
        ("def f(:\n", "line 1 of .*broken.py is not Python: "),
        ("a\0b", "is not Python|null bytes"),
        ("x = 1\nraise KeyError('x')\n", "importing it fails at line 2 of .*broken.py: KeyError: 'x'$"),
        ("import sys\nsys.exit(3)\n", "line 2 of .*broken.py, which ends the process: put such calls under"),
        ("from . import helper\n", "write `import name` for a file beside it"),
        ("raise ValueError('two\\nlines')\n", "ValueError: two lines$"),
    ],
)
def test_an_error_inside_the_users_file_is_answered_with_its_line(tmp_path, text, message):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        load_reward(f"{tmp_path / 'broken.py'}:compute_score")
    assert "\n" not in str(raised.value)

# SPDX-License-Identifier: Apache-2.0
"""A reward function may raise, hang or return nonsense: it costs that sample and nothing else, and never scores 0."""

import contextlib
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from ntl_jax.rewards import RewardError, RewardFunction, RewardOutcome

FILE = '''
import asyncio, decimal, fractions, math, os, re, subprocess, sys, time
import numpy as np
import beside

def score(solution_str, **kwargs):
    """Does what the response says."""
    match solution_str.split():
        case ["number", value]: return float(value)
        case ["raise"]: raise KeyError("no such answer")
        case ["exit"]: sys.exit(3)
        case ["cancel"]: raise asyncio.CancelledError
        case ["hang"]: time.sleep(30); return 1.0
        case ["runaway"]: return len(re.findall("(a+)+b", "a" * 40))
        case ["end"]: os._exit(7)
        case ["child"]: return subprocess.Popen(["sleep", "60"]).pid
        case ["sleep", seconds]: time.sleep(float(seconds)); return os.getpid()
        case ["return", expression]: return eval(expression)

def batch(solution_strs, **kwargs):
    """What the first response says is done to the whole group."""
    match solution_strs[0].split():
        case ["group", expression]: return eval(expression)
    return [score(text) for text in solution_strs]

async def batch_later(solution_strs, **kwargs):
    if solution_strs[0] == "hang":
        await asyncio.sleep(30)
    await asyncio.sleep(0.05)
    return batch(solution_strs)

async def later(solution_str, **kwargs):
    if solution_str == "hang":
        await asyncio.sleep(30)
    if solution_str == "block":
        time.sleep(30)
    await asyncio.sleep(0.05)
    return score(solution_str)
'''


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("rewards")
    (folder / "reward.py").write_text(FILE)
    (folder / "beside.py").write_text("")
    return str(folder / "reward.py")


@pytest.fixture(scope="module")
def patient(path):
    """Reward functions with a long time limit, by name; each has its processes for all tests."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(contextlib.closing(RewardFunction(f"{path}:{name}", timeout_s=30.0)))
            for name in ("score", "later", "batch", "batch_later")
        }


def call(reward: RewardFunction, *responses: str) -> list[RewardOutcome]:
    return reward([{"data_source": "", "solution_str": r, "ground_truth": "1", "extra_info": {}} for r in responses])


def hurry(path: str, *responses: str, name: str = "score", timeout_s: float = 0.4) -> list[RewardOutcome]:
    with contextlib.closing(RewardFunction(f"{path}:{name}", timeout_s=timeout_s)) as reward:
        return call(reward, *responses)


def test_scores_come_back_in_order_and_are_never_truncated(patient):
    outcomes = call(patient["score"], *(f"number {i / 7}" for i in range(100)))
    scores = np.array([o.score for o in outcomes])
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, (np.arange(100) / 7).astype(np.float32))
    assert all(o.valid and o.error is None for o in outcomes)


@pytest.mark.parametrize(
    ("expression", "score"),
    [
        ("1", 1.0),
        ("True", 1.0),
        ("np.float64(0.25)", 0.25),
        ("np.array(0.25)", 0.25),
        ("fractions.Fraction(1,4)", 0.25),
        ("decimal.Decimal('0.25')", 0.25),
        ("-3.5", -3.5),
        ("{'score':0.25}", 0.25),
    ],
)
def test_every_kind_of_number_is_a_score(patient, expression, score):
    (outcome,) = call(patient["score"], f"return {expression}")
    assert outcome == (np.float32(score), True, {}, None)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("None", "type NoneType"),
        ("'1.0'", "type str"),
        ("[1.0]", "type list"),
        ("1j", "type complex"),
        ("math.nan", "from -1e+06 to 1e+06"),
        ("-math.inf", "from -1e+06"),
        ("1e30", "score 1e+30"),
        ("10**400", "score inf"),
        ("{}", "without 'score'"),
        ("{'reward':1.0}", "without 'score', but with ['reward']"),
        ("{'score':None}", "type NoneType"),
        ("{'score':math.nan}", "score nan"),
    ],
)
def test_what_is_no_finite_number_drops_the_sample_with_the_reason(patient, expression, reason):
    bad, good = call(patient["score"], f"return {expression}", "number 1")
    assert not bad.valid
    assert np.isnan(bad.score)
    assert bad.error is not None
    assert reason in bad.error
    assert good.valid


def test_other_numbers_of_a_dict_become_metrics(patient):
    result = "{'score':0.5,'length':7,'ok':True,'note':'fine','bad':math.nan,'list':[1],3:4,'a\\x1b[2Jb':1}"
    (outcome,) = call(patient["score"], f"return {result}")
    assert outcome.metrics == {"length": 7.0, "ok": 1.0, "3": 4.0, "a?[2Jb": 1.0}


@pytest.mark.parametrize("name", ["score", "later"])
@pytest.mark.parametrize("what", ["raise", "exit", "cancel"])
def test_a_reward_that_raises_drops_its_sample_and_is_recorded_with_its_traceback(patient, name, what):
    before, failed, after = call(patient[name], "number 1", what, "number 2")
    assert (before.score, after.score) == (1, 2)
    assert not failed.valid
    assert np.isnan(failed.score)
    assert failed.error is not None
    assert "reward.py" in failed.error
    assert {"raise": "no such answer", "exit": "SystemExit: 3", "cancel": "CancelledError"}[what] in failed.error


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("hang", "no result after reward.timeout_s=0.4"),
        ("runaway", "no result after reward.timeout_s=0.4"),
        ("end", "the call ended its process: exit code 7"),
    ],
)
def test_a_call_that_hangs_or_ends_its_process_costs_its_sample_and_no_other(path, what, reason, caplog):
    start = time.monotonic()
    outcomes = hurry(path, "number 1", what, "number 2", "number 3")
    assert time.monotonic() - start < 20
    assert [o.valid for o in outcomes] == [True, False, True, True]
    assert [o.score for o in outcomes if o.valid] == [1, 2, 3]
    assert outcomes[1].error == reason
    (line,) = caplog.messages
    assert reason in line and "reward.py:score" in line


def test_calls_that_hang_again_and_again_end_the_run(path):
    start = time.monotonic()
    with pytest.raises(RewardError, match=r"5 of its last 5 calls ended their worker, the last with: no result after"):
        hurry(path, *["hang"] * 64, timeout_s=0.1)
    assert time.monotonic() - start < 30  # one after the other, all would take longer


def call_groups(reward: RewardFunction, *groups: list[str]) -> list[list[RewardOutcome]]:
    texts = [text for group in groups for text in group]
    calls = [{"data_source": "", "solution_str": text, "ground_truth": "1", "extra_info": {}} for text in texts]
    outcomes = iter(reward.begin(calls, [i for i, group in enumerate(groups) for _ in group])())
    return [[next(outcomes) for _ in group] for group in groups]


@pytest.mark.parametrize("name", ["batch", "batch_later"])
def test_a_batch_function_is_called_once_for_each_group(patient, name):
    outcomes = call_groups(patient[name], ["group [len(solution_strs)]*3", "a", "b"], ["number 2", "number 3"])
    assert [[o.score for o in group] for group in outcomes] == [[3, 3, 3], [2, 3]]


@pytest.mark.parametrize(
    ("expression", "valid", "reason"),
    [
        ("[1,None,{'score':3,'length':4}]", [True, False, True], "score None of type NoneType"),
        ("(1,math.nan,3)", [True, False, True], "score nan"),
        ("np.ones(3)", [True, True, True], ""),
        ("[1,2]", [False] * 3, "a result for 3 samples has 2 scores: a list with one score per sample is needed"),
        ("[1]*4", [False] * 3, "a result for 3 samples has 4 scores"),
        ("[]", [False] * 3, "has 0 scores"),
        ("1.0", [False] * 3, "result 1.0 of type float: a list with one score per sample is needed"),
        ("None", [False] * 3, "of type NoneType"),
        ("{'score':[1,2,3]}", [False] * 3, "of type dict"),
        ("{1,2,3}", [False] * 3, "of type set"),
        ("'123'", [False] * 3, "of type str"),
        ("(x/1.0for(x)in(1,2,3))", [False] * 3, "of type generator"),
        ("np.array(1.0)", [False] * 3, "TypeError"),
        ("1/0", [False] * 3, "ZeroDivisionError"),
    ],
)
def test_a_result_of_a_batch_function_costs_exactly_the_samples_that_it_gives_no_score(
    patient, expression, valid, reason
):
    group, other = call_groups(patient["batch"], [f"group {expression}", "a", "b"], ["number 1", "number 2"])
    assert [o.valid for o in group] == valid and [o.score for o in other] == [1, 2]
    assert all(reason in (o.error or "") for o in group if not o.valid)


@pytest.mark.parametrize(("name", "what"), [("batch", "hang"), ("batch", "end"), ("batch_later", "hang")])
def test_a_batch_call_that_hangs_or_ends_its_process_costs_its_group_and_no_other(path, name, what):
    with contextlib.closing(RewardFunction(f"{path}:{name}", timeout_s=0.4)) as reward:
        outcomes = call_groups(reward, ["number 1"], [what, "number 2"], ["number 3", "number 4"])
    assert [[o.valid for o in group] for group in outcomes] == [[True], [False, False], [True, True]]
    assert len({o.error for o in outcomes[1]}) == 1


def test_slow_calls_are_made_in_several_processes(patient):
    outcomes = call(patient["score"], *["sleep 0.6"] * 12)
    assert len({o.score for o in outcomes}) > 1


def test_what_a_call_prints_appears(path, capsys):
    hurry(path, "return print('said')", "number 1")
    assert "said" in capsys.readouterr().out


def test_coroutines_run_together(patient):
    start = time.monotonic()
    outcomes = call(patient["later"], *(f"number {i}" for i in range(200)))
    assert time.monotonic() - start < 5  # one after the other they would take 10 s
    assert [o.score for o in outcomes] == list(range(200))


def test_a_coroutine_that_hangs_drops_its_sample_and_no_other(path):
    outcomes = hurry(path, "number 1", "hang", "number 2", name="later")
    assert [o.valid for o in outcomes] == [True, False, True]
    assert outcomes[1].error == "no result after reward.timeout_s=0.4"


def test_a_coroutine_that_blocks_its_loop_drops_its_sample_and_no_other(path):
    outcomes = hurry(path, "number 1", "block", "number 2", name="later")
    assert [o.score for o in outcomes if o.valid] == [1, 2] and not outcomes[1].valid


def test_what_a_call_started_ends_with_it_and_cannot_hold_up_the_run(path):
    outcomes = hurry(path, "child", "number 1", "end", "number 2")
    assert [o.valid for o in outcomes] == [True, True, False, True]
    child, deadline = pathlib.Path(f"/proc/{int(outcomes[0].score)}"), time.monotonic() + 5
    while child.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists()


def test_a_file_may_print_much_while_it_is_imported_and_its_last_words_appear(tmp_path, capfd):
    file = tmp_path / "loud.py"
    file.write_text("import os\nprint('x' * 200_000)\nprint('last words', flush=True)\nos._exit(5)\n")
    with pytest.raises(ValueError, match="importing it ends the process: exit code 5"):
        RewardFunction(f"{file}:score")
    assert capfd.readouterr().out.endswith("last words\n")


def test_a_function_may_take_days(patient, path):
    with contextlib.closing(RewardFunction(f"{path}:score", timeout_s=1e7)) as reward:
        assert call(reward, "number 1")[0].score == 1


def test_calls_of_a_closed_function_are_refused(path):
    reward = RewardFunction(f"{path}:score")
    reward.close()
    with pytest.raises(RewardError, match="closed"):
        call(reward, "number 1")


def test_a_function_that_is_an_object_is_called_in_a_thread_and_left_behind_where_it_hangs():
    def score(solution_str: str, **kwargs: object) -> float:
        time.sleep(3.0 if solution_str == "hang" else 0.0)
        return len(solution_str)

    with contextlib.closing(RewardFunction(score, timeout_s=0.2)) as reward:
        outcomes = call(reward, "a", "hang", "abc")
    assert [o.score for o in outcomes if o.valid] == [1, 3] and not outcomes[1].valid


def test_no_process_is_left_where_the_trainer_is_killed(path):
    script = (
        "import os, signal; from ntl_jax.rewards import RewardFunction\n"
        f"reward = RewardFunction({path + ':score'!r})\n"
        "empty = {'data_source': '', 'ground_truth': '1', 'extra_info': {}}\n"
        "(outcome,) = reward([empty | {'solution_str': 'sleep 0'}]); print(int(outcome.score), flush=True)\n"
        "reward.begin([empty | {'solution_str': 'runaway'}]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
    process, deadline = pathlib.Path("/proc", printed.strip()), time.monotonic() + 10
    while process.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert printed and not process.exists()


def test_a_function_whose_file_changes_during_the_run_is_not_replaced_by_another(tmp_path):
    file = tmp_path / "changing.py"
    text = "import time\ndef f(solution_str, **kwargs):\n    time.sleep(9 * (solution_str == 'hang'))\n    return "
    file.write_text(text + "1.0\n")
    with contextlib.closing(RewardFunction(f"{file}:f", timeout_s=0.2)) as reward:
        file.write_text(text + "2.0\n")
        with pytest.raises(RewardError, match="changed during the run"):
            call(reward, "hang", "a")


def test_keywords_that_the_function_does_not_take_are_left_out(tmp_path):
    (tmp_path / "verl.py").write_text("def f(data_source, solution_str, ground_truth, extra_info):\n    return 1\n")
    names = ("data_source", "solution_str", "ground_truth", "extra_info", "ntl_info", "tau")
    with contextlib.closing(RewardFunction(f"{tmp_path / 'verl.py'}:f")) as reward:
        (outcome,) = reward([{name: None for name in names}])
    assert outcome.score == 1


def test_an_empty_batch_has_no_outcomes(patient):
    assert call(patient["score"]) == []


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_time_limit_out_of_range_is_refused(path, timeout_s):
    with pytest.raises(ValueError, match="timeout_s"):
        hurry(path, timeout_s=timeout_s)


def test_calls_cost_next_to_nothing(patient):
    start = time.process_time()
    outcomes = call(patient["score"], *["number 1"] * 2000)
    assert time.process_time() - start < 2
    assert len(outcomes) == 2000

# SPDX-License-Identifier: Apache-2.0
"""Why a run ends before its last step, and what it says then."""

import json
import pathlib
import signal
import threading

import pytest

from ntl_jax.ending import SIGNALS
from ntl_jax.train.stops import (
    NonFiniteError,
    RewardError,
    half_unrewarded,
    noticing_signals,
    stop_if_not_finite,
    stop_if_unrewarded,
)


def test_a_step_without_any_reward_stops_the_run_with_the_first_traceback(scored, tmp_path):
    stop_if_unrewarded("ppo", 3, scored, tmp_path)
    unrewarded = scored._replace(outcomes=[scored.outcomes[-1]] * 8)
    with pytest.raises(RewardError, match=r"ppo step 3: .* on all 8 samples(.|\n)*reward_errors.jsonl(.|\n)*no reward"):
        stop_if_unrewarded("ppo", 3, unrewarded, tmp_path)


def test_half_of_the_samples_without_a_reward_is_something_to_say(scored):
    good, bad = scored.outcomes[0], scored.outcomes[-1]
    assert half_unrewarded("ppo", 3, scored._replace(outcomes=[good] * 5 + [bad] * 3)) is None
    said = half_unrewarded("ppo", 3, scored._replace(outcomes=[good] * 4 + [bad] * 4))
    assert said is not None and said.startswith("ppo step 3: 4 of 8 samples have no reward") and "\n" not in said


def test_a_loss_that_is_not_finite_stops_the_run_with_a_dump(tmp_path):
    metrics = {"non_finite": 1.0, "actor/loss": float("inf")}
    with pytest.raises(NonFiniteError, match=r"ppo step 3: .*not finite.* lower algorithm.optimizer.learning_rate"):
        stop_if_not_finite("ppo", "algorithm", 3, metrics, [7, 8], tmp_path)
    dump = json.loads((tmp_path / "non_finite.json").read_text())
    assert dump == {"stage": "ppo", "step": 3, "prompts": [7, 8], "metrics": {"actor/loss": float("inf")}}


@pytest.mark.parametrize("mark", [{"non_finite": 0.0}, {}], ids=["finite", "no update was made"])
def test_other_steps_go_on_and_lose_the_mark(tmp_path, mark):
    metrics = {"actor/loss": 1.0, **mark}
    stop_if_not_finite("ppo", "algorithm", 3, metrics, [], tmp_path)
    assert metrics == {"actor/loss": 1.0} and not list(tmp_path.iterdir())


@pytest.fixture
def handlers():
    """What handles each signal."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield lambda: {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noticed_and_said_and_what_handled_it_before_is_restored(number, handlers, capfd):
    before = handlers()
    with noticing_signals(pathlib.Path("runs/mine")) as termination:
        assert termination.requested is None
        signal.raise_signal(number)
        assert termination.requested == number
        assert set(handlers().values()) == {signal.SIG_DFL}  # a second one, of any kind, ends the process
    assert handlers() == before
    assert (
        f"{number.name}: ends when this step is done and saved in runs/mine; again: at once" in capfd.readouterr().err
    )


def test_a_signal_that_is_ignored_stays_ignored(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with noticing_signals(pathlib.Path("runs/mine")) as termination:
        signal.raise_signal(signal.SIGHUP)
    assert termination.requested is None and handlers()[signal.SIGHUP] == signal.SIG_IGN


def test_outside_the_main_thread_nothing_is_handled():
    found = []

    def look() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with noticing_signals(pathlib.Path("runs/mine")) as termination:
            found.append((signal.getsignal(signal.SIGTERM) == before, termination.requested))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(True, None)]

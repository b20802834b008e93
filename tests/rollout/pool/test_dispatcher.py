# SPDX-License-Identifier: Apache-2.0
"""How workers are kept busy, given up and replaced, with workers that answer as the test says."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from ntl_jax.records import Request, Version
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.rollout.pool.dispatcher import Dispatcher, Limits
from ntl_jax.rollout.pool.versions import StoredVersion
from tests.rollout.pool.hand_made_crew import HERE, SILENT, HandMadeCrew, sampled
from tests.rollout.pool.requests import ask

V0 = Version(0)
REQUESTS = [ask(i) for i in range(6)]


class Dies(RuntimeError):
    """A worker's process has ended."""


def does(advance: Callable[[int, list], Any]):
    """A crew's `advance` from what a worker does with its new requests, by its number."""
    return lambda worker: lambda new, stored: advance(worker, list(new))


OBEDIENT = does(lambda worker, new: sampled(new))
"""Samples at once whatever it is given."""


@pytest.fixture
def start():
    """Starts a dispatcher with a crew; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def started(
            advance=OBEDIENT,
            *,
            begin=lambda number: HERE,
            workers=2,
            capacity=4,
            **limits,
        ) -> tuple[Dispatcher, HandMadeCrew]:
            crews: list[HandMadeCrew] = []

            def make_crew(answer) -> Any:
                crews.append(HandMadeCrew(answer, begin, advance))
                return crews[0]

            dispatcher = Dispatcher(
                make_crew,
                workers,
                capacity=capacity,
                stored=lambda version: StoredVersion(version, {}, (), (), "float32"),
                limits=Limits(**limits),
            )
            stack.callback(dispatcher.close)
            return dispatcher, crews[0]

        yield started


def take_all(dispatcher: Dispatcher) -> dict[int, Any]:
    """Samples by the request's number; each comes once."""
    found = {}
    while dispatcher.unfinished:
        for ticket, samples in dispatcher.take():
            assert ticket.number not in found
            found[ticket.number] = samples
    return found


def test_everything_that_was_submitted_comes_back_once(start):
    dispatcher, crew = start()
    dispatcher.wait_until_started()
    dispatcher.submit(REQUESTS, V0)
    assert take_all(dispatcher).keys() == set(range(6))
    assert dispatcher.take() == [] and dispatcher.num_waiting == 0
    assert {version for _, new, version in crew.dealt if new} == {V0}
    assert len(dispatcher.take_reports()) >= 2 and dispatcher.take_reports() == []


def test_workers_are_asked_on_until_they_are_done(start):
    """A worker that reports nothing finished gets the next call, without new requests and without weights."""
    held: dict[int, list[tuple[int, Request]]] = {0: [], 1: []}

    def one_by_one(worker, new):
        held[worker] += new
        done, held[worker] = (held[worker][:1], held[worker][1:]) if not new else ([], held[worker])
        return sampled(done)

    dispatcher, crew = start(does(one_by_one))
    dispatcher.submit(REQUESTS, V0)
    assert take_all(dispatcher).keys() == set(range(6))
    assert any(not new and version is None for _, new, version in crew.dealt)


def test_prompts_go_to_workers_without_their_texts(start):
    seen = []

    def keep(worker, new):
        seen.extend(request.prompt for _, request in new)
        return sampled(new)

    dispatcher, _ = start(does(keep))
    dispatcher.submit([ask(0, text="a secret", draw=8)], V0)
    ((ticket, _),) = dispatcher.take()
    assert (seen[0].text, seen[0].draw) == ("", 8) and ticket.request.prompt.text == "a secret"


def test_a_dead_worker_is_replaced_and_its_requests_are_sampled_by_others(start):
    def first_dies(worker, new):
        if worker == 0:
            raise Dies("killed")
        return sampled(new)

    dispatcher, crew = start(does(first_dies))
    dispatcher.submit(REQUESTS, V0)
    assert take_all(dispatcher).keys() == set(range(6))
    assert [str(death) for death in dispatcher.deaths] == ["worker 0: killed"]
    assert dispatcher.num_restarts == 1 and crew.ended == [0] and crew.members.keys() == {1, 2}


def test_a_worker_that_stays_silent_is_given_up_and_what_it_says_later_is_not_heard(start):
    late = []

    def first_is_stuck(worker, new):
        if worker == 0:
            late.append(sampled(new))
            return SILENT
        return sampled(new)

    dispatcher, crew = start(does(first_is_stuck), timeout_s=0.3)
    dispatcher.submit(REQUESTS, V0)
    found = take_all(dispatcher)
    (death,) = dispatcher.deaths
    assert death.cause == "no answer" and 0.3 < death.silent_s < 3
    crew._answer(0, _done(late[0]))
    time.sleep(0.1)
    assert found.keys() == set(range(6)) and dispatcher.take() == []


def test_a_worker_that_is_silent_without_a_call_is_only_idle(start):
    dispatcher, _ = start(timeout_s=0.2)
    dispatcher.wait_until_started()
    time.sleep(1.3)
    assert not dispatcher.deaths


def test_a_worker_that_never_starts_is_given_up_too(start):
    dispatcher, _ = start(begin=lambda number: SILENT if number == 0 else HERE, timeout_s=0.3)
    dispatcher.wait_until_started()
    assert dispatcher.num_restarts == 1 and dispatcher.identities.keys() == {1, 2}


def test_a_request_that_kills_its_workers_is_quarantined_and_no_other(start):
    def poisoned(worker, new):
        if any(request.prompt.index == 3 for _, request in new):
            raise Dies("poisoned")
        return sampled(new)

    dispatcher, _ = start(does(poisoned))
    dispatcher.submit(REQUESTS, V0)
    found = take_all(dispatcher)
    assert found.keys() == set(range(6))
    assert [number for number, samples in found.items() if samples is None] == [3]
    assert dispatcher.num_restarts == len(dispatcher.deaths) == 3


def test_with_its_restarts_used_up_a_pool_goes_on_with_fewer(start):
    def only_the_third_lives(worker, new):
        if worker < 2:
            raise Dies("killed")
        return sampled(new)

    dispatcher, crew = start(does(only_the_third_lives), workers=3, max_restarts=0)
    dispatcher.submit(REQUESTS, V0)
    assert take_all(dispatcher).keys() == set(range(6))
    assert crew.members.keys() == {2} and dispatcher.num_restarts == 0


def test_below_the_fewest_workers_everyone_hears_of_every_death(start):
    def dies(worker, new):
        raise Dies(f"end of {worker}")

    dispatcher, _ = start(does(dies), max_restarts=1, min_workers=1)
    dispatcher.submit(REQUESTS, V0)
    message = (
        r"0 of 2 workers are left, rollout.pool.min_workers=1, and all rollout.pool.max_restarts=1 are used up. "
        r"Deaths:\n  worker \d: end of \d\n  worker \d: end of \d\n  worker \d: end of \d"
    )
    for call in (dispatcher.take, lambda: dispatcher.submit(REQUESTS, V0), lambda: dispatcher.resize(3)):
        with pytest.raises(WorkersLostError, match=message):
            call()


def test_what_was_finished_before_the_pool_failed_is_still_taken(start):
    def second_call_dies(worker, new):
        if any(request.prompt.index >= 2 for _, request in new):
            raise Dies("killed")
        return sampled(new)

    dispatcher, _ = start(does(second_call_dies), max_restarts=0, capacity=2)
    dispatcher.submit(REQUESTS, V0)
    found = {}
    with pytest.raises(WorkersLostError):
        while True:
            found |= dict((ticket.number, samples) for ticket, samples in dispatcher.take())
    assert found.keys() == {0, 1}


def test_settings_that_an_engine_refuses_end_the_pool_at_once_and_other_errors_at_the_start_do_not(start):
    def refused(number):
        raise RayTaskError("begin", "Traceback", ValueError("head_dim=16: attends with heads of 32"))

    dispatcher, _ = start(begin=refused)
    with pytest.raises(ValueError, match="head_dim=16"):
        dispatcher.wait_until_started()
    assert dispatcher.num_restarts == 0

    def fails_once(number):
        if number == 0:
            raise Dies("out of memory")
        return HERE

    dispatcher, _ = start(begin=fails_once)
    dispatcher.wait_until_started()
    assert dispatcher.num_restarts == 1


def test_workers_are_added_and_those_that_leave_finish_what_they_have(start):
    answers = {}

    def waits(worker, new):
        answers[worker] = new
        return SILENT

    dispatcher, crew = start(does(waits), workers=2, capacity=2)
    dispatcher.wait_until_started()
    dispatcher.submit(REQUESTS, V0)
    _until(lambda: len(answers) == 2)
    dispatcher.resize(3)
    _until(lambda: len(answers) == 3)
    dispatcher.resize(1)
    assert crew.members.keys() == {0, 1, 2}
    for worker in (1, 2):
        crew._answer(worker, _done(sampled(answers[worker])))
    _until(lambda: crew.members.keys() == {0})
    assert sorted(crew.ended) == [1, 2] and not dispatcher.deaths


@pytest.mark.parametrize("dying", [0, 1], ids=["the one that stays", "the one that leaves"])
def test_a_worker_that_dies_while_another_leaves_is_replaced_and_one_that_leaves_is_not(start, dying):
    answers = {}

    def waits(worker, new):
        if worker > 1:
            return sampled(new)
        answers[worker] = new
        return SILENT

    dispatcher, crew = start(does(waits), workers=2, capacity=2)
    dispatcher.wait_until_started()
    dispatcher.submit(REQUESTS[:2], V0)
    _until(lambda: len(answers) == 2)
    dispatcher.resize(1)
    crew._answer(dying, _failed(Dies("killed")))
    _until(lambda: dispatcher.deaths)
    if dying == 1:
        _until(lambda: dying in crew.ended)
        assert crew.members.keys() == {0} and dispatcher.num_restarts == 0
        return
    crew._answer(1, _done(sampled(answers[1])))
    assert take_all(dispatcher).keys() == {0, 1}
    _until(lambda: crew.members.keys() == {2})
    assert dispatcher.num_restarts == 1


def test_a_worker_that_leaves_before_it_has_started_ends_when_it_has(start):
    dispatcher, crew = start(begin=lambda number: HERE if number == 0 else SILENT)
    _until(lambda: dispatcher.identities.keys() == {0})
    dispatcher.resize(1)
    crew._answer(1, _done(HERE))
    _until(lambda: crew.ended == [1])
    assert not dispatcher.deaths


def test_a_closed_dispatcher_has_ended_its_thread_and_its_workers(start):
    dispatcher, crew = start()
    dispatcher.close()
    assert crew.closed and dispatcher._running.done()


def _done(result: Any) -> Future:
    future = Future()
    future.set_result(result)
    return future


def _failed(error: Exception) -> Future:
    future = Future()
    future.set_exception(error)
    return future


def _until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)

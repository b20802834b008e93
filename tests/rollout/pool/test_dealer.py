# SPDX-License-Identifier: Apache-2.0
"""Who gets what, and what becomes of the requests of workers that die."""

import pytest

from ntl_jax.records import Version
from ntl_jax.rollout.pool.dealer import SUSPECT_DEATHS, Dealer, Ticket
from tests.rollout.pool.requests import ask

OLD, NEW = Version(0), Version(1)


def dealer_of(*workers: str, capacity: int = 4) -> Dealer:
    dealer = Dealer(capacity)
    for worker in workers:
        dealer.join(worker)
    return dealer


def numbers(dealt: dict[str, list[Ticket]]) -> dict[str, list[int]]:
    return {worker: [ticket.number for ticket in tickets] for worker, tickets in dealt.items()}


def deal(dealer: Dealer, workers: str) -> dict[str, list[int]]:
    return numbers(dealer.deal(workers))  # pyright: ignore[reportArgumentType]


def die(dealer: Dealer, worker: str) -> list[int]:
    """A worker dies and another one of its name joins; returns what is quarantined."""
    quarantined = dealer.bury(worker)
    dealer.join(worker)
    return [ticket.number for ticket in quarantined]


def test_requests_go_in_turn_to_the_worker_with_the_fewest_samples_up_to_its_capacity():
    dealer = dealer_of("a", "b", "c", capacity=4)
    dealer.submit([ask(i) for i in range(8)], OLD)
    assert deal(dealer, "abc") == {"a": [0, 3], "b": [1, 4], "c": [2, 5]}
    assert (dealer.unfinished, dealer.num_waiting) == (8, 2)
    assert dealer.finish("b", 4).number == 4
    assert deal(dealer, "ac") == {}  # the one that has room is busy with a call
    assert deal(dealer, "abc") == {"b": [6]}
    assert [dealer.held_by(worker) for worker in "abc"] == [2, 2, 2]


def test_a_request_that_exceeds_the_capacity_has_a_worker_to_itself():
    dealer = dealer_of("a", "b", capacity=4)
    dealer.submit([ask(0, num_samples=16), ask(1, num_samples=16), ask(2, num_samples=16)], OLD)
    assert deal(dealer, "ab") == {"a": [0], "b": [1]}
    dealer.finish("b", 1)
    assert deal(dealer, "ab") == {"b": [2]}


@pytest.mark.parametrize("difference", ["version", "sampling"])
def test_a_worker_has_requests_of_one_sampling_and_one_version_and_others_wait_in_order(difference):
    dealer = dealer_of("a", "b", capacity=8)
    dealer.submit([ask(0), ask(1)], OLD)
    dealer.submit([ask(2, num_samples=1 if difference == "sampling" else 2)], OLD if difference == "sampling" else NEW)
    dealer.submit([ask(3)], OLD)
    assert deal(dealer, "ab") == {"a": [0], "b": [1]}
    dealer.finish("b", 1)
    assert deal(dealer, "ab") == {"b": [2], "a": [3]}


def test_the_versions_that_unfinished_requests_need_are_known():
    dealer = dealer_of("a")
    dealer.submit([ask(0)], OLD)
    dealer.submit([ask(1)], NEW)
    assert dealer.versions == {OLD, NEW}
    deal(dealer, "a")
    assert dealer.versions == {OLD, NEW}
    dealer.finish("a", 0)
    assert dealer.versions == {NEW}


def test_requests_of_a_dead_worker_are_dealt_again_before_all_others():
    dealer = dealer_of("a", "b")
    dealer.submit([ask(i) for i in range(6)], OLD)
    assert deal(dealer, "ab") == {"a": [0, 2], "b": [1, 3]}
    assert die(dealer, "b") == [] and dealer.unfinished == 6
    assert deal(dealer, "ab") == {"b": [1, 3]}


def test_a_finished_request_is_with_no_worker_and_a_dead_workers_answer_is_an_error():
    dealer = dealer_of("a", "b")
    dealer.submit([ask(0)], OLD)
    deal(dealer, "ab")
    dealer.finish("a", 0)
    for worker in "ab":
        with pytest.raises(KeyError):
            dealer.finish(worker, 0)


def test_a_request_on_two_dying_workers_is_sampled_alone_and_quarantined_if_that_one_dies_too():
    dealer = dealer_of("a", "b")
    dealer.submit([ask(i) for i in range(4)], OLD)
    deal(dealer, "ab")
    for death in range(1, SUSPECT_DEATHS + 1):
        assert die(dealer, "a") == []
        # The last time without the other one, which was with it.
        assert deal(dealer, "ab") == {"a": [0, 2] if death < SUSPECT_DEATHS else [0]}
    assert die(dealer, "a") == [0] and dealer.unfinished == 3
    assert deal(dealer, "ab") == {"a": [2]}  # suspected as well: also alone
    dealer.finish("a", 2)
    assert deal(dealer, "ab") == {} and dealer.unfinished == 2


def test_a_suspect_waits_until_a_worker_has_nothing_and_what_comes_after_it_waits_too():
    dealer = dealer_of("a", "b")
    dealer.submit([ask(i) for i in range(5)], OLD)
    deal(dealer, "ab")
    die(dealer, "a")
    assert deal(dealer, "a") == {"a": [0, 2]}
    dealer.bury("a")
    dealer.finish("b", 1)
    assert deal(dealer, "b") == {}  # 3 is still there
    dealer.finish("b", 3)
    assert deal(dealer, "b") == {"b": [0]}
    assert deal(dealer, "b") == {}


def test_an_innocent_request_beside_one_that_kills_is_never_quarantined():
    dealer = dealer_of("a", capacity=12)
    dealer.submit([ask(i) for i in range(6)], OLD)
    finished, quarantined = [], []
    while dealer.unfinished:
        for worker, tickets in dealer.deal("a").items():
            held = [ticket.number for ticket in tickets]
            if 3 in held:
                quarantined += die(dealer, str(worker))
            else:
                finished += [dealer.finish(worker, number).number for number in held]
    assert quarantined == [3] and sorted(finished) == [0, 1, 2, 4, 5]


def test_a_worker_that_leaves_gets_nothing_more_and_keeps_what_it_has():
    dealer = dealer_of("a", "b")
    dealer.submit([ask(i) for i in range(3)], OLD)
    assert deal(dealer, "ab") == {"a": [0, 2], "b": [1]}
    dealer.leave("a")
    dealer.submit([ask(i) for i in range(3, 9)], OLD)
    dealer.finish("a", 0)
    assert dealer.is_leaving("a") and not dealer.is_leaving("b")
    assert deal(dealer, "ab") == {"b": [3]}
    with pytest.raises(AssertionError, match="leaves with nothing"):
        dealer.release("a")


def test_a_worker_that_left_is_gone_and_one_that_dies_while_leaving_leaves_its_requests():
    dealer = dealer_of("a", "b")
    dealer.submit([ask(0), ask(1)], OLD)
    deal(dealer, "ab")
    dealer.leave("a")
    dealer.leave("b")
    dealer.finish("a", 0)
    dealer.release("a")
    assert not dealer.is_leaving("a")
    dealer.bury("b")
    assert dealer.unfinished == dealer.num_waiting == 1
    dealer.join("b")
    assert deal(dealer, "b") == {"b": [1]}

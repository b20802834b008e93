# SPDX-License-Identifier: Apache-2.0
"""No GPU trains and samples at the same time, and it is said which do which. Without a GPU."""

import pytest

from ntl_jax.rollout.pool.devices import VISIBLE, check_apart, gpus_for_workers, gpus_here
from ntl_jax.rollout.pool.worker import Identity

WORKER = Identity(host="here", pid=1, log="", cores=2, xla_flags="", gpus=("3",))


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch):
    monkeypatch.setenv(VISIBLE, "2,3,5,7")


def test_workers_get_the_gpus_that_do_not_train_by_the_names_that_the_process_knows():
    assert gpus_here() == ["2", "3", "5", "7"]
    assert gpus_for_workers((0, 2), needed=2) == ["3", "7"]
    assert gpus_for_workers((0,), needed=0) == []


def test_without_a_word_on_which_gpus_train_none_can_be_given_to_workers():
    with pytest.raises(ValueError, match=r"which has 4: say which ones train, as in trainer\.devices 0"):
        gpus_for_workers((), needed=1)


def test_too_few_gpus_for_the_workers_are_refused_with_their_numbers():
    with pytest.raises(ValueError, match=r"need 3 GPUs, and 2 of this machine's 4 do not train"):
        gpus_for_workers((0, 1), needed=3)


def test_a_cluster_that_gave_a_worker_here_a_gpu_that_trains_is_refused():
    check_apart([WORKER], "here", ["2"])
    check_apart([WORKER], "elsewhere", ["3"])
    with pytest.raises(ValueError, match=r"GPUs 3 would train and sample"):
        check_apart([WORKER], "here", ["2", "3"])


def test_an_empty_list_of_visible_gpus_means_none(monkeypatch):
    monkeypatch.setenv(VISIBLE, "")
    assert gpus_here() == []

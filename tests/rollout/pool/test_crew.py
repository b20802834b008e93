# SPDX-License-Identifier: Apache-2.0
"""What is said of a worker and of its death; real workers start, die and end in test_pool.py."""

import pytest
from ray.exceptions import RayActorError, RayTaskError

from ntl_jax.rollout.pool.crew import LOG_LINES, Death, Placement, _cause, _log_tail, user_error
from ntl_jax.rollout.pool.worker import Identity

KILLED = """The actor died unexpectedly before finishing this task.
	class_name: Worker
	pid: 123
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) it was killed"""


@pytest.mark.parametrize(
    ("placement", "demand"),
    [
        (Placement(), {"CPU": 1}),
        (Placement(cpus=0.5, gpus=2), {"CPU": 0.5, "GPU": 2}),
        (Placement(cpus=0, resources={"rollout_node": 1.0}), {"rollout_node": 1.0}),
    ],
)
def test_what_is_asked_of_ray_leaves_out_what_is_zero(placement, demand):
    assert placement.demand == demand


def test_a_death_is_told_with_the_last_lines_of_the_log_below_its_cause():
    death = Death(3, "killed", ("first", "second"), 0.5)
    assert str(death) == "worker 3: killed\n    first\n    second"
    assert str(Death(3, "killed", (), 0.5)) == "worker 3: killed"


def test_the_cause_is_one_line_of_what_ray_says():
    died = RayActorError(error_msg=KILLED)
    assert _cause(died).startswith("The actor is dead because its worker process has died. Worker exit type")
    assert _cause(died).endswith("End of file.")
    assert _cause(RayTaskError("advance", "Traceback\n  File\nKeyError: 'weight'\n", KeyError("weight"))).endswith(
        "KeyError: 'weight'"
    )
    assert _cause(TimeoutError()) == "TimeoutError()"
    assert _cause(TimeoutError("one\ntwo")) == "one"


def test_only_a_value_error_of_the_worker_is_the_users():
    refusal = ValueError("head_dim=16")
    assert user_error(RayTaskError("begin", "Traceback", refusal)) is refusal
    assert user_error(RayTaskError("begin", "Traceback", KeyError("weight"))) is None
    assert user_error(RayActorError(error_msg=KILLED)) is None
    assert user_error(refusal) is None


def test_a_log_is_read_where_it_lies_on_this_machine(tmp_path):
    log = tmp_path / "worker.err"
    log.write_text("".join(f"line {i}\n" for i in range(20)))
    identity = Identity.of_this_process()._replace(log=str(log))
    assert _log_tail(identity) == tuple(f"line {i}" for i in range(20 - LOG_LINES, 20))
    assert _log_tail(None) == _log_tail(identity._replace(host="elsewhere")) == ()
    log.unlink()
    assert _log_tail(identity) == ()

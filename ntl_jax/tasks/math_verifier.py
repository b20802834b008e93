# SPDX-License-Identifier: Apache-2.0
"""Compares answers with math-verify, in a process of its own that is ended when it takes too long."""

import importlib.util
import pathlib
import sys
import time
import weakref
from multiprocessing.connection import wait

from ntl_jax.reward_calls.outcome import RewardOutcome
from ntl_jax.reward_calls.service import Order
from ntl_jax.reward_calls.worker import ProcessWorker
from ntl_jax.tasks.task import Undecided

TIMEOUT_S = 5.0
"""Of one comparison; most take milliseconds."""
START_S = 60.0
"""Of the process, which imports sympy."""
CALL = f"{pathlib.Path(__file__).with_name('math_equality.py')}:is_equal"
"""What the process runs: named by its file, so that nothing else of this package is imported there."""


class MathVerifier:
    """Whether two answers are mathematically equal, such as ``x + 1`` and ``1 + x``.

    The process starts at once, so that a math-verify that cannot be loaded is noticed, and again after a call that it
    did not survive.

    Raises:
        ValueError: if math-verify is not installed, or the process does not start.

    Example:
        >>> verifier = MathVerifier()
        >>> verifier("1 + x", "x + 1"), verifier("2x", "x + 1")
        (True, False)
        >>> verifier.close()
    """

    def __init__(self):
        if importlib.util.find_spec("math_verify") is None:
            raise ValueError(
                "answer.verifier='math_verify' needs math-verify: pip install 'ntl_jax[math]', or set 'none'"
            )
        self._start()
        self._number = 0

    def __call__(self, answer: str, reference: str) -> bool:
        """Compares.

        Args:
            answer, reference: as texts, in LaTeX or plain.

        Raises:
            Undecided: if that takes too long, raises or ends the process.
            ValueError: if the process does not start.
        """
        if not self._end.alive:
            self._start()
        self._number += 1
        call = {"data_source": "", "solution_str": answer, "ground_truth": reference, "extra_info": {}}
        self._worker.send([(self._number, call)])
        outcome = self._outcome(self._worker)
        if outcome is None:
            self.close()
            raise Undecided(f"math-verify gives no result for {answer!r:.80} and {reference!r:.80}")
        if outcome.error is not None:
            raise Undecided(f"math-verify fails: {outcome.error.strip().splitlines()[-1]}")
        return bool(outcome.score)

    def close(self) -> None:
        """Ends the process."""
        self._end()

    def _start(self) -> None:
        self._worker = ProcessWorker(Order(CALL, (), TIMEOUT_S, sys.path))
        self._end = weakref.finalize(self, self._worker.end)  # also where a run is given up before it has begun
        try:
            self._worker.load(START_S)
        except ValueError as error:
            self._end.detach()  # it has ended
            why = str(error).removeprefix(f"reward.function={CALL!r}: ")
            raise ValueError(
                f"answer.verifier='math_verify' does not start: {why}: pip install --upgrade "
                "'ntl_jax[math]', or set 'none'"
            ) from error

    def _outcome(self, worker: ProcessWorker) -> RewardOutcome | None:
        """The outcome of the only call; None if it does not come."""
        deadline = time.monotonic() + TIMEOUT_S + 0.5
        while (left := deadline - time.monotonic()) > 0:
            sources = [worker.connection, *([] if worker.output is None else [worker.output])]
            ready = wait(sources, left)
            if worker.connection in ready:
                try:
                    number, outcome = worker.connection.recv()
                except (EOFError, OSError):
                    return None
                assert number == self._number, "one call at a time"
                worker.calls.clear()
                return outcome
            if ready:
                worker.show()
        return None

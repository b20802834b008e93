# SPDX-License-Identifier: Apache-2.0
"""math-verify compares answers in a process of its own, and what it does not decide does not stop the run."""

import math_verify
import pytest

from ntl_jax.config import AnswerSection
from ntl_jax.tasks import Calculations, JudgedTask, Undecided, math_verifier


def test_a_math_verify_that_cannot_be_loaded_is_refused_at_once(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("import nosuch\n")
    monkeypatch.setattr(math_verifier, "CALL", f"{tmp_path / 'broken.py'}:is_equal")
    with pytest.raises(ValueError, match=r"^answer\.verifier='math_verify' does not start: .*nosuch.*, or set 'none'"):
        math_verifier.MathVerifier()


@pytest.mark.slow
def test_answers_are_compared_as_mathematics_and_one_that_takes_too_long_is_undecided():
    task = JudgedTask(
        Calculations(num_train=1, num_held_out=1, seed=0),
        AnswerSection(form="box", verifier="math_verify"),
        numeric=False,
    )

    def is_correct(text: str, reference: str) -> bool:
        return task.is_correct(task.answer_of(text), reference)

    try:
        assert is_correct("so \\boxed{x + 1}", "1 + x") and is_correct("\\boxed{(1,2)}", "(1, 2)")
        assert math_verify.verify(math_verify.parse("$1 + x$"), math_verify.parse("$x + 1$"))
        assert not is_correct("\\boxed{2x}", "x + 1") and not is_correct("no idea", "x")
        assert is_correct("\\boxed{72}", "72.0")  # needs no process
        with pytest.raises(Undecided, match=r"math-verify fails: TimeoutError: no result after 3 s"):
            is_correct("\\boxed{9^{9^{9^9}}}", "5")
        assert is_correct("\\boxed{\\sqrt{4}}", "2")
    finally:
        task.close()

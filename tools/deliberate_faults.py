# SPDX-License-Identifier: Apache-2.0
"""Puts one fault at a time into a copy of the package, and reports which faults the tests notice.

python tools/deliberate_faults.py            # all faults, a few minutes
python tools/deliberate_faults.py credit     # only faults in files whose path contains a word

A fault that no test notices shows that a test is missing. Exit code 1 if there is one.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
COPIED = ("ntl_jax", "tests", "configs", "launch", "tools", "conftest.py", "pyproject.toml")


class Fault(NamedTuple):
    """Code in a file of ``ntl_jax`` to replace by wrong code; the tests of that file must notice the fault."""

    file: str
    right: str
    wrong: str


FAULTS = (
    # Which reward belongs to which token, and what it is compared with
    Fault("experience/credit.py", "[:, None] - 1", "[:, None]"),
    Fault("experience/credit.py", "by_row[:, None], 0.0)", "by_row[:, None], 1.0)"),
    Fault(
        "experience/credit.py",
        "leave_one_out_advantages(per_token.sum(axis=1)",
        "group_advantages(per_token.sum(axis=1)",
    ),
    Fault("experience/credit.py", "return whiten(advantages, mask), Values", "return advantages, Values"),
    Fault(
        "experience/credit.py",
        "gamma=algorithm.gamma, lam=algorithm.lam",
        "gamma=algorithm.lam, lam=algorithm.gamma",
    ),
    Fault("experience/credit.py", "where=valid, normalize=normalize", "normalize=normalize"),
    Fault("experience/credit.py", "0.0 - algorithm.overlong_penalty", "0.0 + algorithm.overlong_penalty"),
    Fault(
        "experience/credit.py",
        "max_tokens - algorithm.overlong_buffer), 0)",
        "max_tokens - algorithm.overlong_buffer), 1)",
    ),
    # What is built before the first update
    Fault("experience/builder.py", "        old = rollout\n", "        old = rollout * 0.0\n"),
    Fault(
        "experience/builder.py",
        "per_token, reference = per_token - divergence",
        "per_token, reference = per_token + divergence",
    ),
    Fault("experience/builder.py", "targets._replace(mask=mask)", "targets._replace(mask=targets.mask)"),
    Fault("experience/builder.py", "keep = scored.valid & samples.learned", "keep = scored.valid | samples.learned"),
    Fault("experience/builder.py", 't.finish_reason != "length"', 't.finish_reason != "stop"'),
    Fault("experience/builder.py", "is_response, kl_weight * KL", "mask, kl_weight * KL"),
    Fault("experience/builder.py", "scores = scored.scores + penalties", "scores = scored.scores - penalties"),
    Fault("experience/off_policy.py", "jnp.where(kept, weights, 0.0)", "jnp.where(mask, weights, 0.0)"),
    Fault("experience/off_policy.py", 'else 0.0\n', 'else section.low\n'),
    # Samples and their rewards
    Fault("experience/collector.py", "~found, kind=", "found, kind="),
    Fault("experience/collector.py", "epoch * self._draws_per_epoch + prompt.index", "prompt.index"),
    Fault("experience/collector.py", "learned &= np.repeat(responses.valid", "learned |= np.repeat(responses.valid"),
    Fault("experience/scorer.py", "if i in reasons else x", "if i not in reasons else x"),
    Fault("experience/digits/numpy_losses.py", "np.abs(DIGITS - truth[:, None])", "(DIGITS - truth[:, None])"),
    Fault("experience/digits/ntl_info.py", "MAX_LOSS[method] * unmatched", "MAX_LOSS[method] * missing"),
    Fault("experience/digits/source.py", "if not self._runs or (", "if not self._runs and ("),
    # The update
    Fault(
        "update/step.py",
        "updates, opt_state = learner.optimizer.update(grads",
        "updates, opt_state = learner.optimizer.update(model.params",
    ),
    Fault("update/step.py", "step=state.step + 1", "step=state.step"),
    Fault("update/step.py", "sums = loss + loss_of_part,", "sums = loss_of_part,"),
    Fault("update/step.py", "num_parts, *x.shape[1:]).swapaxes(0, 1)", "num_parts, *x.shape[1:])[::-1].swapaxes(0, 1)"),
    Fault("update/step.py", "return x.swapaxes(0, 1).reshape(-1", "return x.reshape(-1"),
    Fault("update/step.py", "finite = jnp.all(", "finite = jnp.any("),
    Fault("update/average.py", "a + (1.0 - decay) * (", "a + decay * ("),
    Fault("update/terms.py", "of_surrogate = of_surrogate * corrections", "of_surrogate = of_surrogate"),
    Fault(
        "update/objectives.py",
        "loss -= self.algorithm.entropy_weight * stats.entropy",
        "loss += self.algorithm.entropy_weight * stats.entropy",
    ),
    Fault(
        "update/objectives.py",
        "return self.weight * jnp.where(targets.has_number, weights.numbers *",
        "return self.weight * jnp.where(targets.has_number, weights.loss *",
    ),
    Fault("update/surrogate.py", "(too_high & (advantages > 0)) | (too_low & (advantages < 0))", "too_high | too_low"),
    Fault("update/surrogate.py", "log_probs - log_ratio", "log_probs + log_ratio"),
    # Rows
    Fault("rows/packing.py", "rows.predictors) + places.position[:, None]", "rows.predictors)"),
    Fault(
        "rows/padding.py",
        "first = np.array([len(p) - 1 for p in prompts])",
        "first = np.array([len(p) for p in prompts])",
    ),
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 every fault was noticed, 1 some were not.
    """
    words = argv or [""]
    faults = [fault for fault in FAULTS if any(word in fault.file for word in words)]
    unnoticed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        for fault in faults:
            noticed = is_noticed(fault, copy)
            print(f"{'noticed  ' if noticed else 'UNNOTICED'} {fault.file}: {fault.right.strip()}", flush=True)
            unnoticed += [] if noticed else [fault]
    print(f"{len(faults) - len(unnoticed)} of {len(faults)} faults noticed")
    return 1 if unnoticed else 0


def is_noticed(fault: Fault, copy: pathlib.Path) -> bool:
    """Whether the file's tests fail with the fault in the copy, which is restored afterwards."""
    path = copy / "ntl_jax" / fault.file
    source = path.read_text(encoding="utf-8")
    assert source.count(fault.right) == 1, f"{fault.file}: {fault.right!r} must occur exactly once"
    path.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")
    package, _, name = fault.file.rpartition("/")
    tests = [f"tests/{package}/test_{name}", f"tests/{package}"]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    try:
        for chosen in tests:  # the file's own tests first: they are the quickest to notice
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", chosen]
            run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
            if run.returncode == 1:
                return True
        return False
    finally:
        path.write_text(source, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

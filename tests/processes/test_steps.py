# SPDX-License-Identifier: Apache-2.0
"""A step in several processes is the step of one."""

import numpy as np
import pytest

from tests.processes.programs import __file__ as programs
from tests.processes.together import together


@pytest.fixture(scope="module")
def of_one(tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "steps.npz"
    together(1, programs, "steps", str(out))
    return dict(np.load(out))


@pytest.mark.processes
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [2, 4])
def test_losses_and_gradients_of_a_step_are_those_of_one_process(count, of_one, tmp_path):
    together(count, programs, "steps", str(tmp_path / "steps.npz"))
    found = dict(np.load(tmp_path / "steps.npz"))
    assert len(found) == 2 * len(of_one) > 100
    for name, value in found.items():
        _, stage, key = name.split(" ", 2)
        bound = 2e-6 if key.endswith("loss") or ".mu" in key else 1e-5
        np.testing.assert_allclose(value, of_one[f" {stage} {key}"], rtol=bound, atol=bound, err_msg=name)

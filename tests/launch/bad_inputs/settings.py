# SPDX-License-Identifier: Apache-2.0
"""Settings that are wrong by themselves or together."""

from tests.launch.bad_inputs.case import BadInput

CASES = [
    BadInput("a learning rate of NaN", ("--config.algorithm.optimizer.learning_rate=nan",), ("learning_rate", "nan")),
]

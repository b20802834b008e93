# SPDX-License-Identifier: Apache-2.0
"""One response with a wrong step and a wrong answer, whose metrics and rewards are worked out by hand."""

import numpy as np
import pytest

from ntl_jax.experience.digits.ntl_info import build_ntl_info
from ntl_jax.numerals import find_answer, label_response
from ntl_jax.records import NTLInfo

TEXT = "1+4=6 #### 73"


def on_two(low: int, high: int, share_of_high: float) -> np.ndarray:
    """Log-probs of ten digits; all but two are impossible."""
    probs = np.full(10, 1e-30)
    probs[low], probs[high] = 1 - share_of_high, share_of_high
    return np.log(probs)


@pytest.fixture(scope="session")
def info() -> NTLInfo:
    """Response and truths: the step's 6 should be 5, the answer's 73 should be 172.

    Shares: at 6: 5 has 0.2, 6 has 0.8. At 7: 7 has 0.9. At 3: 2 has 0.6, 3 has 0.4.
    """
    rows = np.full((len(TEXT), 10), -1.0)
    rows[4], rows[11], rows[12] = on_two(5, 6, 0.8), on_two(1, 7, 0.9), on_two(2, 3, 0.4)
    starts = np.arange(len(TEXT))
    digits = np.array([int(c) if c.isdigit() else -1 for c in TEXT])
    label = label_response(TEXT, starts, digits, "172", answer=find_answer(TEXT), mode="hybrid")
    return build_ntl_info([rows.astype(np.float32)], [label], [TEXT])

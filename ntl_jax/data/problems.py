# SPDX-License-Identifier: Apache-2.0
"""What every source of problems delivers: a question, its reference solution and the true answer."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Problem:
    """One word problem in GSM8K's format.

    Args:
        index: identifies the problem in its data set: the row of its file, or its place in the generator's sequence.
        question: the text that is asked.
        solution: the full reference text; its last line is ``#### N``.
        ground_truth: the text after ``####``, as written (``1,200`` keeps its comma).
        source: where it comes from; rewards receive it as ``data_source``.

    Example:
        >>> Problem(0, "2+3?", "2+3=<<2+3=5>>5.\\n#### 5", "5", "gsm8k").ground_truth
        '5'
    """

    index: int
    question: str
    solution: str
    ground_truth: str
    source: str

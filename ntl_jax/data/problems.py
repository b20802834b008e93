# SPDX-License-Identifier: Apache-2.0
"""What every source of problems delivers: a question, its reference solution and the true answer."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

Split = Literal["train", "held_out"]
"""Problems to learn from, or to evaluate on."""
Message = dict[str, str]
"""One turn of a chat: ``role`` and ``content``."""
MOST_LISTED = 20
"""How many faults an error lists."""
MOST_PLACES = 3
"""How many rows with one fault it names."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One question with its true answer.

    Args:
        index: identifies the problem in its data set: the row of its file, or its place in the generator's sequence.
        question: the text that is asked, or the turns of a chat before the response.
        solution: the full reference text, with its answer marked as the task's texts mark it.
        ground_truth: the answer alone, as written (``1,200`` keeps its comma).
        data_source: name of its data set, for rewards and metrics.
        extra_info: further data of the row, for rewards.
        source_index: which of the sources that a setting names it comes from, counted from 0.
        place: where its row is, for people; empty for a generated problem.

    Example:
        >>> Problem(0, "2+3?", "2+3=<<2+3=5>>5.\\nAnswer: 5", "5", "mine").ground_truth
        '5'
    """

    index: int
    question: str | tuple[Message, ...]
    solution: str
    ground_truth: str
    data_source: str
    extra_info: Mapping[str, object] = dataclasses.field(default_factory=dict)
    source_index: int = 0
    place: str = dataclasses.field(default="", compare=False)

    @property
    def text(self) -> str:
        """Everything that is asked, in one text.

        Example:
            >>> turns = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+3?"}
            >>> Problem(0, turns, "5", "5", "mine").text
            'Be brief.\\n2+3?'
        """
        return self.question if isinstance(self.question, str) else "\n".join(turn["content"] for turn in self.question)


def check_faults(faults: Sequence[tuple[str, str]], num_good: int, on_bad_row: Literal["error", "skip"]) -> None:
    """Raises for malformed rows, unless they are to be skipped and good rows remain.

    Args:
        faults: where each malformed row is, and what is wrong with it; rows with the same fault share a line.
        num_good: number of well-formed rows.
        on_bad_row: setting ``data.on_bad_row``; it is proposed where it would help.

    Raises:
        ValueError: listing the faults.

    Example:
        >>> check_faults([("train.jsonl:3", "no `question`")], num_good=7, on_bad_row="skip")
        >>> check_faults([("train.jsonl:3", "no `question`")], num_good=7, on_bad_row="error")
        Traceback (most recent call last):
        ...
        ValueError: 1 of 8 rows are malformed (data.on_bad_row=skip leaves them out):
          train.jsonl:3: no `question`
    """
    if not faults or (on_bad_row == "skip" and num_good):
        return
    places: dict[str, list[str]] = {}
    for place, fault in faults:
        places.setdefault(fault, []).append(place)
    listed = [f"{_some(where)}: {fault}" for fault, where in places.items()]
    most = MOST_LISTED if num_good else 1  # where no row is good, one cause is likely
    if len(listed) > most:
        listed[most:] = [f"and {len(listed) - most} more"]
    advice = " (data.on_bad_row=skip leaves them out)" if num_good else ""
    raise ValueError(f"{len(faults)} of {len(faults) + num_good} rows are malformed{advice}:\n  " + "\n  ".join(listed))


def _some(places: Sequence[str]) -> str:
    more = len(places) - MOST_PLACES
    return ", ".join(places[:MOST_PLACES]) + (f" and {more} more" if more > 0 else "")

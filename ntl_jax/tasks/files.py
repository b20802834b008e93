# SPDX-License-Identifier: Apache-2.0
"""The task of files and data sets. With the user's own reward function, answers may be any text, such as ``Paris``."""

from collections.abc import Sequence

from ntl_jax.config import FieldsSection
from ntl_jax.data import Problem, Split
from ntl_jax.data.files import OnBadRow, load_problems
from ntl_jax.numerals import Answer, find_answer, find_text_answer
from ntl_jax.tasks.task import Task

SETTINGS: dict[Split, str] = {"train": "data.train", "held_out": "data.eval"}
"""What names the sources of a split."""


class Files(Task):
    """Problems of sources, which are read at once: a wrong file is found before anything else is made.

    Args:
        train, held_out: sources of the splits (see `ntl_jax.data.files.load_problems`); empty for a split that is not
            loaded.
        fields: names of the fields; None: those of known data sets.
        on_bad_row: whether malformed rows raise an error, or are left out and counted.
        numeric: whether references and answers must be numbers. If not, they may be texts; numbers are still compared
            as numbers.

    Raises:
        ValueError: naming setting and source, if a source is not usable.

    Example:
        >>> task = Files((), (), numeric=False)
        >>> answer = task.answer_of("It lies on the Seine.\\n#### Paris")
        >>> answer.text, task.is_correct(answer, "Paris"), task.is_correct(task.answer_of("#### 72.0"), "72")
        ('Paris', True, True)
    """

    def __init__(
        self,
        train: Sequence[str],
        held_out: Sequence[str],
        *,
        fields: FieldsSection | None = None,
        on_bad_row: OnBadRow = "error",
        numeric: bool = True,
    ):
        self._numeric = numeric
        given: dict[Split, Sequence[str]] = {"train": train, "held_out": held_out}
        reading = {"on_bad_row": on_bad_row, "numeric": numeric, "markers": self.markers}
        self._loaded: dict[Split, tuple[list[Problem], int]] = {
            split: load_problems(sources, fields, purpose=split, setting=SETTINGS[split], **reading)
            for split, sources in given.items()
            if sources
        }

    def load(self, split: Split) -> tuple[list[Problem], int]:
        if split not in self._loaded:
            raise ValueError(f"no source of the {split} split is given: set {SETTINGS[split]} to a file or a data set")
        return self._loaded[split]

    def answer_of(self, text: str) -> Answer | None:
        return find_answer(text, self.markers) if self._numeric else find_text_answer(text, self.markers)

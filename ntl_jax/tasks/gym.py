# SPDX-License-Identifier: Apache-2.0
"""Problems of reasoning-gym's generators whose answers are numbers, judged by the generator's own scorer.

A checksum of its text decides whether a question is for training or held out, and the two come from different seeds.
"""

import ast
import dataclasses
import difflib
import importlib.util
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ntl_jax.data import Problem, Split
from ntl_jax.numerals import Answer, find_answer, reference_number
from ntl_jax.tasks.task import Task, Undecided

NUMERIC = (
    "aiw", "basic_arithmetic", "binary_alternation", "chain_sum", "circuit_logic", "coin_flip", "count_bits",
    "count_primes", "decimal_arithmetic", "decimal_chain_sum", "dice", "fraction_simplification", "gcd", "gsm_symbolic",
    "largest_island", "lcm", "leg_counting", "letter_counting", "maze", "number_format", "number_sequence",
    "power_function", "products", "rectangle_count", "rotten_oranges", "self_reference", "simple_equations",
    "simple_geometry",
)  # fmt: skip
"""The generators whose answers are numbers."""
QUANTITIES = (
    "basic_arithmetic", "chain_sum", "count_primes", "decimal_arithmetic", "decimal_chain_sum", "gcd", "gsm_symbolic",
    "lcm", "leg_counting", "number_sequence", "products", "simple_equations", "simple_geometry",
)  # fmt: skip
"""Of these, the ones that compute a quantity, which an answer can be close to, and take any way to write it."""
HELD_OUT_ONE_IN = 4
"""Share of all questions that are held out."""
HELD_OUT_SEED = 2**40
"""Added to the seed for held-out problems: problem i of seed s is problem 0 of seed s + i."""
BLOCK = 1024
"""Problems that are generated at a time; some generators prepare all of them."""
PATIENCE = 2_000
"""Problems without a new one among them that imply that hardly any is left."""
MOST_FAILURES = 10
"""Problems in a row that it cannot make; single ones are stepped over."""
ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a generator raises for options that it does not take, or with which it finds no problem."""


def is_installed() -> bool:
    """Whether the package is."""
    return importlib.util.find_spec("reasoning_gym") is not None


class ReasoningGym(Task):
    """A generator of reasoning-gym.

    An answer is right if the generator's scorer gives it 1. Numbers are handed to it in their simplest form, fractions
    and powers as they are written: a fraction that is to be simplified is not right otherwise.

    Args:
        name: of the generator.
        num_train, num_held_out: number of problems in each split; all, if there are fewer.
        seed: seed of the generator.
        options: its options by name, each as it was typed.

    Raises:
        ValueError: if the package is missing, there is no such generator, its answers are no numbers, or it does not
            take the options.

    Example:
        >>> task = ReasoningGym("chain_sum", num_train=4, num_held_out=2, seed=0, options={"max_terms": "3"})
        >>> (problem, *_), _ = task.load("train")
        >>> task.is_correct(task.answer_of(f"It is {problem.ground_truth}."), problem.ground_truth)
        True
    """

    def __init__(self, name: str, *, num_train: int, num_held_out: int, seed: int, options: Mapping[str, str]):
        self._given = f"data.task='reasoning_gym:{name}'"
        self._name, self._seed = name, seed
        self._typed = tuple(f"{key}={value}" for key, value in options.items())
        self._sizes: dict[Split, int] = {"train": num_train, "held_out": num_held_out}
        try:
            from reasoning_gym import factory
        except ImportError as error:
            raise ValueError(f"{self._given} needs reasoning-gym: pip install 'ntl_jax[data]'") from error
        _check_name(self._given, name, list(factory.DATASETS))
        self._create = factory.create_dataset
        self._options = _read_options(self._given, options, factory.DATASETS[name][1])
        self._scorer = self._block(0)
        self._entries: dict[str, Mapping[str, Any]] = {}

    def load(self, split: Split) -> tuple[list[Problem], int]:
        found: dict[str, Mapping[str, Any]] = {}
        misses = 0
        for entry in self._entries_from(self._seed + (HELD_OUT_SEED if split == "held_out" else 0)):
            if len(found) == self._sizes[split] or misses > PATIENCE:
                break
            is_new = _split_of(entry["question"]) == split and entry["question"] not in found
            misses = 0 if is_new else misses + 1
            if is_new:
                found[entry["question"]] = entry
        if self._sizes[split] and not found:
            which = "to train on" if split == "train" else "held out, and none is a file's in data.eval"
            raise ValueError(
                f"{self._given}: with data.task_options={self._typed!r} there are so few problems that none is "
                f"{which}: give it options with more"
            )
        return [self._problem(i, entry) for i, entry in enumerate(found.values())], 0

    def answer_of(self, text: str) -> Answer | None:
        answer = find_answer(text, self.markers)
        return None if answer is None else self.as_written(answer, text)

    def as_written(self, answer: Answer, text: str) -> Answer:
        if answer.numeral is None or answer.numeral.exact is None:
            return answer
        sign = "-" if answer.numeral.negative else ""
        return answer._replace(text=sign + text[answer.start : answer.end])

    def is_correct(self, answer: Answer | None, reference: str) -> bool:
        if answer is None or reference not in self._entries:
            return super().is_correct(answer, reference)
        true = reference_number(reference)
        is_plain = answer.numeral is not None and answer.numeral.exact is None and true is not None
        equal = is_plain and true is not None and answer.text == true.canonical
        try:
            return self._scorer.score_answer(reference if equal else answer.text, self._entries[reference]) == 1
        except ERRORS as error:
            raise Undecided(f"{self._given}: its scorer fails with {answer.text!r:.80}: {_what(error)}") from error

    def _problem(self, index: int, entry: Mapping[str, Any]) -> Problem:
        answer = str(entry["answer"])
        if reference_number(answer) is None:
            raise ValueError(f"{self._given}: with these options it has an answer that is no number, {answer!r:.80}")
        self._entries.setdefault(answer, entry)
        return Problem(index, entry["question"], answer, answer, self._name)

    def _entries_from(self, seed: int) -> Iterator[Mapping[str, Any]]:
        while True:
            block, failures = self._block(seed), 0
            for i in range(BLOCK):
                try:
                    entry = block[i]
                except ERRORS as error:
                    failures += 1
                    if failures == MOST_FAILURES:
                        raise ValueError(
                            f"data.task_options={self._typed!r}: {self._name} takes them, and then makes none of "
                            f"{failures} problems: {_what(error):.200}; give it options that are easier to meet"
                        ) from error
                else:
                    failures = 0
                    yield entry
            seed += BLOCK

    def _block(self, seed: int) -> Any:  # noqa: ANN401  a class of a package that is optional
        try:
            return self._create(self._name, size=BLOCK, seed=seed, **self._options)
        except ERRORS as error:
            raise ValueError(f"data.task_options: {self._name} does not take them: {_what(error)}") from error


def _check_name(given: str, name: str, known: Sequence[str]) -> None:
    if name in NUMERIC and name in known:
        return
    near = difflib.get_close_matches(name, NUMERIC, n=3, cutoff=0.5)
    others = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(NUMERIC)}"
    why = "its answers are not numbers" if name in known else "there is no such generator"
    raise ValueError(f"{given}: {why}; {others}")


def _read_options(given: str, options: Mapping[str, str], config: type) -> dict[str, object]:
    """The values of the options: numbers, lists and the like as Python writes them, else texts."""
    known = [field.name for field in dataclasses.fields(config) if field.name not in ("seed", "size")]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"data.task_options: {given} has no option {unknown[0]}; it has {', '.join(known)}")
    values: dict[str, object] = {}
    for name, text in options.items():
        try:
            values[name] = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
        except (ValueError, SyntaxError):
            values[name] = text
    return values


def _what(error: Exception) -> str:
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"


def _split_of(question: str) -> Split:
    return "held_out" if zlib.crc32(question.encode()) % HELD_OUT_ONE_IN == 0 else "train"

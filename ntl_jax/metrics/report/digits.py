# SPDX-License-Identifier: Apache-2.0
"""How good a policy's digits are: what it expected where a digit was due, by place, by length of the number, over time.

Read from the logged samples: every digit that has a true value, and whose ten probabilities were captured. The expected
digit is the mean of 0 to 9 under these probabilities, rounded; a digit is right if the most likely one is the true one.
"""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ntl_jax.numerals import find_numerals

PLACES = ("units", "tens", "hundreds", "thousands and above", "decimals")
LENGTHS = ("1", "2", "3", "4", "5 or more")
"""Digits before the decimal point of the number that was written."""
NUM_WINDOWS, NUM_BINS = 10, 10


class Digit(NamedTuple):
    """One digit of a response.

    Args:
        truth: the digit that should stand there.
        place, length: indices into `PLACES` and `LENGTHS`.
        probabilities: of 0 to 9.
    """

    truth: int
    place: int
    length: int
    probabilities: Float[np.ndarray, "10"]


def digits_of(sample: Mapping[str, Any]) -> Iterable[Digit]:
    """The digits of a logged sample that have a true value and captured probabilities.

    Raises:
        ValueError, TypeError, KeyError, IndexError: if the sample is not as `LoggedSample` writes it.

    Example:
        >>> sample = {"response": "is 42", "token_starts": [0, 3, 4], "digit_positions": [1, 2], "digit_truth": [4, 1],
        ...           "digit_probabilities": np.eye(10)[[4, 2]].tolist()}
        >>> [(PLACES[digit.place], digit.truth) for digit in digits_of(sample)]
        [('tens', 4), ('units', 1)]
    """
    positions, all_truths, all_probabilities = (
        sample[f"digit_{name}"] or () for name in ("positions", "truth", "probabilities")
    )
    known = zip(positions, all_truths, all_probabilities, strict=False)
    truths: dict[int, tuple[Any, Any]] = {t: (truth, p) for t, truth, p in known if truth is not None}
    if not truths:
        return
    starts = sample["token_starts"]
    for numeral in find_numerals(sample["response"]):
        length = min(max(numeral.num_integer, 1), len(LENGTHS)) - 1
        for offset, place in zip(numeral.offsets, numeral.places, strict=True):
            if found := truths.get(bisect.bisect_right(starts, offset) - 1):
                truth, probabilities = int(found[0]), np.array(found[1], float)
                if probabilities.shape != (10,) or not 0 <= truth <= 9 or not probabilities.min() >= 0:
                    raise ValueError(f"truth {truth} of probabilities {probabilities}")
                if 0 < (total := probabilities.sum()) < np.inf:
                    yield Digit(truth, min(place, 3) if place >= 0 else 4, length, probabilities / total)


def count_digits(iterations: Sequence[int], digits: Sequence[Sequence[Digit]]) -> dict[str, Any] | None:
    """Counts for the page, by window of iterations; None if there are no digits.

    Args:
        iterations: in their order.
        digits: of each iteration.
    """
    if not any(digits):
        return None
    parts = np.array_split(np.arange(len(iterations)), min(NUM_WINDOWS, len(iterations)))
    counts = [_count([digit for i in part for digit in digits[i]]) for part in parts]
    return {
        "iterations": [[iterations[part[0]], iterations[part[-1]]] for part in parts],
        "places": PLACES,
        "lengths": LENGTHS,
        **{name: [of_window[name] for of_window in counts] for name in counts[0]},
    }


def _count(digits: Sequence[Digit]) -> dict[str, Any]:
    confusion = np.zeros((len(PLACES), 10, 10), int)
    calibration = np.zeros((NUM_BINS, 3))
    by_place, by_length = np.zeros((len(PLACES), 2), int), np.zeros((len(LENGTHS), 2), int)
    if digits:
        truth, place, length = (np.array([getattr(d, name) for d in digits]) for name in ("truth", "place", "length"))
        shares = np.stack([digit.probabilities for digit in digits])
        np.add.at(confusion, (place, truth, np.rint(shares @ np.arange(10)).astype(int)), 1)
        right = shares.argmax(axis=1) == truth
        for table, index in ((by_place, place), (by_length, length)):
            np.add.at(table, index, np.stack([right, np.ones_like(right)], axis=1))
        hits = truth[:, None] == np.arange(10)
        bins = np.minimum((shares * NUM_BINS).astype(int), NUM_BINS - 1)
        np.add.at(calibration, bins.ravel(), np.stack([np.ones_like(shares), shares, hits], axis=-1).reshape(-1, 3))
    tables = {"confusion": confusion, "by_place": by_place, "by_length": by_length}
    return {name: table.tolist() for name, table in tables.items()} | {"calibration": calibration.round(4).tolist()}

# SPDX-License-Identifier: Apache-2.0
"""Sampling parameters."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to draw responses.

    Args:
        num_samples: samples per prompt, G.
        max_tokens: longest response; a response that reaches it ends with finish_reason "length".
        temperature: 0 is greedy: no truncation, and the log-probs are those of temperature 1.
        top_p: keep the most likely tokens that together have this probability; 1: all.
        top_k: keep this many of the most likely tokens; 0: all.
        min_p: keep tokens with at least this fraction of the top token's probability. The order is temperature, min_p,
            top_k, top_p; the remaining probabilities are renormalized, and captured in this form.
        stop_token_ids: a response ends with, and includes, the first of these tokens.
        stop_strings: a response ends with the token that completes one of these; special tokens become stop ids.
        capture_digits: record the log-probs of the ten digits.
        capture_entropy: record the entropy.
        capture_alternatives: record the five most likely tokens.

    Raises:
        ValueError: listing every setting that is out of range.

    Example:
        >>> Sampling(num_samples=8, max_tokens=64).temperature
        1.0
    """

    num_samples: int
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop_token_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    capture_digits: bool = True
    capture_entropy: bool = False
    capture_alternatives: bool = False

    @property
    def is_truncated(self) -> bool:
        """Whether truncation excludes tokens from sampling; the trainer's head cannot score such a distribution."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    def __post_init__(self) -> None:
        checks = {
            f"num_samples={self.num_samples}: at least 1": self.num_samples >= 1,
            f"max_tokens={self.max_tokens}: at least 1": self.max_tokens >= 1,
            f"temperature={self.temperature}: at least 0 (0 is greedy) and finite": 0 <= self.temperature < np.inf,
            f"top_p={self.top_p}: in (0, 1]; 1 keeps all tokens": 0 < self.top_p <= 1,
            f"top_k={self.top_k}: at least 0; 0 keeps all tokens": self.top_k >= 0,
            f"min_p={self.min_p}: in [0, 1]; 0 keeps all tokens": 0 <= self.min_p <= 1,
            f"stop_token_ids={self.stop_token_ids}: ids are not negative": all(i >= 0 for i in self.stop_token_ids),
            f"stop_strings={self.stop_strings!r}: a tuple of texts, none empty": not isinstance(self.stop_strings, str)
            and all(self.stop_strings),
        }
        if problems := [text for text, ok in checks.items() if not ok]:
            raise ValueError("Sampling settings out of range: " + "; ".join(problems))

# SPDX-License-Identifier: Apache-2.0
"""Checks real tokenizers for what the tests check on small ones: python tools/check_tokenizers.py FOLDER...

For each: decoding token by token gives the tokenizer's own text, for texts and for random ids; every digit has its
token; number tokens have the values that they write; a folder named in tests/numerals/number_tokens.json has the number
tokens listed there.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from ntl_jax.data import load_tokenizer
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.numerals import NumberTable, TokenDecoder

NUMBER_TOKENS = pathlib.Path(__file__).parents[1] / "tests" / "numerals" / "number_tokens.json"
TEXTS = (
    "She pays 48/2=<<48/2=24>>24 dollars.\n#### 24",
    "7 2 中文 é 🍎🍎 \u00a0\u200b ’–×  3",
    " #### 1,234.50",
    "",
)
NUM_RANDOM, MOST_IDS = 2000, 40


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 if every check passes, 1 if not.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=pathlib.Path, nargs="+")
    num_problems = 0
    for folder in parser.parse_args(argv).folders:
        problems = list(find_problems(load_tokenizer(str(folder)), folder.name))
        print(f"{folder}: {len(problems)} problems", *problems[:20], sep="\n  ")
        num_problems += len(problems)
    return int(num_problems > 0)


def find_problems(tokenizer: Tokenizer, name: str) -> Iterator[str]:
    """The failed checks of a tokenizer, one line each."""
    decoder, rng = TokenDecoder(tokenizer), np.random.default_rng(0)
    size = max(tokenizer.get_vocab().values()) + 1
    texts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    for ids in [*texts, *(rng.integers(0, size + 20, rng.integers(MOST_IDS)).tolist() for _ in range(NUM_RANDOM))]:
        text, starts = decoder(ids)
        own = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if text != own or np.any(np.diff([0, *starts, len(text)]) < 0):
            yield f"{ids} decodes to {text!r}, by itself to {own!r}"
    digits = NumberTable.from_tokenizer(tokenizer, "digits", size)
    if set(digits.values.tolist()) != set(map(float, range(10))):
        yield f"digits are {sorted(set(digits.values.tolist()))}"
    numbers = NumberTable.from_tokenizer(tokenizer, "numbers", size)
    for token_id, value in zip(numbers.ids.tolist(), numbers.values.tolist(), strict=True):
        if np.float32(int(str(tokenizer.decode([token_id])))) != value:
            yield f"id {token_id} writes {tokenizer.decode([token_id])!r}, its number is {value}"
    if facts := json.loads(NUMBER_TOKENS.read_text()).get(name):
        vocab = dict(zip(facts["pieces"].split(" "), facts["ids"], strict=True))
        committed = NumberTable.from_vocab(vocab, "numbers", facts["vocab_size"])
        if committed.ids.tolist() != numbers.ids.tolist():
            yield f"{NUMBER_TOKENS.name} has {committed.ids.size} number tokens, the tokenizer {numbers.ids.size}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

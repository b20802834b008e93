# SPDX-License-Identifier: Apache-2.0
"""Trains the built-in tokenizer on the generator's text: ``python tools/train_tokenizer.py [FOLDER]``.

It uses BPE over bytes, so any text has an encoding and decodes exactly. Every digit is its own token, and so is every
word of the templates with its leading space: BPE runs until nothing is left to merge. Re-running writes the same files,
byte for byte.
"""

import json
import pathlib
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from ntl_jax.tasks.arithmetic.generator import generate_problems

FOLDER = pathlib.Path(__file__).parents[1] / "ntl_jax" / "data" / "tokenizer"
PAD, EOS = "<|pad|>", "<|endoftext|>"
NUM_PROBLEMS = 4_000
"""Number of problems: enough for every word of every template to occur."""

MOST_TOKENS = 768
"""The vocabulary head costs a tiny policy more than anything else, so the vocabulary must stay small."""

# Words with their space, GSM8K's marks, punctuation with the line end after it, white space one by one.
PIECES = Regex(r" ?\p{L}+|####|<<|>>|[^\s\p{L}\p{N}]\n?|\s")


def train() -> Tokenizer:
    """The tokenizer, trained on problems of all tiers.

    Raises:
        ValueError: if some word is not a single token within ``MOST_TOKENS``.
    """
    problems = generate_problems(NUM_PROBLEMS, seed=0, tiers=(1, 2, 3, 4))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MOST_TOKENS,
        min_frequency=1,
        show_progress=False,
        special_tokens=[AddedToken(text, normalized=False) for text in (PAD, EOS)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator((f"{p.question}\n{p.solution}" for p in problems), trainer)
    if tokenizer.get_vocab_size() == MOST_TOKENS:
        raise ValueError(f"{MOST_TOKENS} tokens do not hold every word of the templates: use fewer words")
    return tokenizer


def save(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """Writes the two files that transformers loads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": EOS,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    tokenizer = train()
    save(tokenizer, folder)
    print(f"{tokenizer.get_vocab_size()} tokens in {folder}")

# SPDX-License-Identifier: Apache-2.0
"""A policy of random weights and its problems, on disk: what the trainers that are compared read."""

import dataclasses
import itertools
import json
import pathlib

import numpy as np
from flax import nnx
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ntl_jax.models import Decoder, ModelConfig, save_hf

TRUTH = "5"
PROBLEMS = 64


@dataclasses.dataclass(frozen=True)
class Workload:
    """An iteration: prompts, samples of each, tokens of a response and of a prompt."""

    num_prompts: int = 8
    num_samples: int = 8
    max_tokens: int = 64
    prompt_tokens: int = 32


@dataclasses.dataclass(frozen=True)
class Files:
    """What every trainer reads: a folder with a policy in Hugging Face's format, the problems and the workload."""

    folder: pathlib.Path

    @property
    def policy(self) -> pathlib.Path:
        return self.folder / "policy"

    @property
    def problems(self) -> pathlib.Path:
        return self.folder / "problems.jsonl"

    @property
    def held_out(self) -> pathlib.Path:
        return self.folder / "held_out.jsonl"

    @property
    def workload(self) -> Workload:
        return Workload(**json.loads((self.folder / "workload.json").read_text()))

    def questions(self) -> list[str]:
        return [json.loads(line)["question"] for line in self.problems.read_text().splitlines()]


def byte_tokenizer(num_tokens: int) -> PreTrainedTokenizerFast:
    """Texts are single bytes; ids beyond the bytes stand for longer texts, without digits."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    no_digits = [letter for letter in letters if not letter.isdecimal()]
    longer = itertools.chain.from_iterable(itertools.product(no_digits, repeat=length) for length in (2, 3))
    texts = map("".join, itertools.islice(longer, max(0, num_tokens - len(letters) - 1)))
    tokens = ["<|endoftext|>", *letters, *texts]
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=tokens[0], pad_token=tokens[0])


def write_files(model: ModelConfig, folder: pathlib.Path, workload: Workload) -> Files:
    """A policy of random weights with a tokenizer of bytes, and problems of as many letters as a prompt has tokens."""
    files = Files(folder)
    decoder = nnx.jit(lambda: Decoder(model, rngs=nnx.Rngs(0)))()
    save_hf(decoder, files.policy, tokenizer=byte_tokenizer(model.vocab_size))
    (folder / "workload.json").write_text(json.dumps(dataclasses.asdict(workload)))
    rng = np.random.default_rng(0)
    questions = ("".join(rng.choice(list("abcdefgh "), workload.prompt_tokens - 1)) + "?" for _ in range(PROBLEMS))
    rows = [json.dumps({"question": question, "answer": f"#### {TRUTH}"}) + "\n" for question in questions]
    files.problems.write_text("".join(rows))
    files.held_out.write_text(json.dumps({"question": "?", "answer": f"#### {TRUTH}"}) + "\n")  # ours needs one
    return files

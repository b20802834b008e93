# SPDX-License-Identifier: Apache-2.0
"""Where problems come from, and how they become token ids and batches."""

from ntl_jax.data.batching import DataCursor
from ntl_jax.data.generator import generate_problems
from ntl_jax.data.gsm8k import load_gsm8k
from ntl_jax.data.problems import Problem
from ntl_jax.data.prompts import encode_prompts, encode_solutions
from ntl_jax.data.special_tokens import plain_problems, special_tokens
from ntl_jax.data.tokenizer import load_tokenizer

__all__ = [
    "DataCursor",
    "Problem",
    "encode_prompts",
    "encode_solutions",
    "generate_problems",
    "load_gsm8k",
    "load_tokenizer",
    "plain_problems",
    "special_tokens",
]

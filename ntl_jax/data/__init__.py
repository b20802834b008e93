# SPDX-License-Identifier: Apache-2.0
"""Problems as token ids and batches: tokenizer, prompts, solutions, the order of rows."""

from ntl_jax.data.cursor import DataCursor
from ntl_jax.data.problems import Message, Problem, Split
from ntl_jax.data.prompts import encode_prompts, encode_solutions
from ntl_jax.data.special_tokens import plain_problems, special_tokens
from ntl_jax.data.template import Template, load_template
from ntl_jax.data.tokenizer import load_tokenizer
from ntl_jax.data.writer import PromptWriter

__all__ = [
    "DataCursor",
    "Message",
    "Problem",
    "PromptWriter",
    "Split",
    "Template",
    "encode_prompts",
    "encode_solutions",
    "load_template",
    "load_tokenizer",
    "plain_problems",
    "special_tokens",
]

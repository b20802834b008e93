# SPDX-License-Identifier: Apache-2.0
"""What is asked: files of problems, and a generator of them."""

from ntl_jax.tasks.arithmetic.generator import generate_problems
from ntl_jax.tasks.gsm8k import load_gsm8k

__all__ = ["generate_problems", "load_gsm8k"]

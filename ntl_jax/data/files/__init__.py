# SPDX-License-Identifier: Apache-2.0
"""Files and data sets of problems: their formats, the fields of their rows, and the problems in them."""

from ntl_jax.data.files.fields import DEFAULTS
from ntl_jax.data.files.formats.parquet import as_parquet
from ntl_jax.data.files.load import OnBadRow, load_problems
from ntl_jax.data.files.source import Source, are_same_rows, find_source

__all__ = ["DEFAULTS", "OnBadRow", "Source", "are_same_rows", "as_parquet", "find_source", "load_problems"]

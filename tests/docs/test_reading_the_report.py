# SPDX-License-Identifier: Apache-2.0
"""docs/reading_the_report.md: what it asks of a log of samples is answered."""

import gzip
import pathlib
import re

import jq

from ntl_jax.metrics.samples.log import SAMPLES_FILE
from tests.logged import write_run

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reading_the_report.md"


def test_the_samples_of_an_iteration_are_found_with_jq(tmp_path):
    (program,) = re.findall(r"\| jq -c '(.+)'", PAGE.read_text())
    lines = gzip.decompress((write_run(tmp_path) / SAMPLES_FILE).read_bytes()).decode()
    found = jq.compile(program.replace("12", "3")).input_text(lines).all()
    assert [sample["response"] for sample in found] == ["42", "41", "is 42", "7"] and found[0]["reward"] == 1

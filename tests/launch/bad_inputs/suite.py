# SPDX-License-Identifier: Apache-2.0
"""Command lines of launch/eval.py that ask a suite wrongly, in a run folder without checkpoints."""

import json

from ntl_jax.config import RunConfig, config_to_json
from tests.launch.bad_inputs.case import BadInput

CONFIG = config_to_json(RunConfig())
FILES = {
    "config.json": CONFIG,
    "other/config.json": CONFIG,
    "texts.jsonl": json.dumps({"question": "Capital of France?", "answer": "Paris"}),
}

ASKED = {
    "a suite that is none": (("--suite=numeric_suite",), ("--suite", "'numeric_suite'", "'numeric'")),
    "a suite without a name": (("--suite",), ("--suite", "expected")),
    "a suite twice": (("--suite=numeric", "--suite=numeric"), ("--suite is given twice", "give it once")),
    "two policies without a suite": (
        ("--against={folder}/other",),
        ("--against={folder}/other", "add --suite=numeric"),
    ),
    "two policies without --against": (("{folder}/other", "--suite=numeric"), ("other' is not understood",)),
    "a policy against itself": (
        ("--suite=numeric", "--against={folder}/other/.."),
        ("is RUN_OR_MODEL itself", "name another"),
    ),
    "a policy against nothing": (("--suite=numeric", "--against="), ("--against is empty",)),
    "a policy against a folder that is not there": (
        ("--suite=numeric", "--against=no/such"),
        ("--against='no/such'", "is not a folder"),
    ),
    "a policy against a run without a checkpoint": (
        ("--suite=numeric", "--problems=1", "--against={folder}/other"),
        ("{folder}/other has no checkpoint yet",),
    ),
    "a suite and a task": (
        ("--suite=numeric", "--task=calculations"),
        ("--task=calculations and --suite=numeric both say what is asked", "give one"),
    ),
    "no problems of a part": (("--suite=numeric", "--problems=0"), ("--problems=0", "lie in [1,")),
    "more problems than a part has": (("--suite=numeric", "--problems=1001"), ("--problems=1001", "at most 1,000")),
    "a temperature without samples": (
        ("--suite=numeric", "--samples=0", "--temperature=0.5"),
        ("--temperature=0.5", "--samples above 0"),
    ),
    "a file that is not there": (("--suite=numeric", "--data=no.jsonl"), ("--data='no.jsonl' does not exist",)),
    "a file with texts": (
        ("--suite=numeric", "--data={folder}/texts.jsonl"),
        ("--data='{folder}/texts.jsonl'", "texts.jsonl:1", "'Paris'"),
    ),
    "fields of no file": (("--suite=numeric", "--fields.answer=x"), ("--fields.answer='x'", "no effect", "--data")),
    "settings for a run": (("--suite=numeric", "--config=gsm8k_ntl"), ("--config=gsm8k_ntl: {folder} is a run",)),
    "a folder that is in use": (
        ("--suite=numeric", "--output={folder}"),
        ("--output={folder} already exists and is not empty",),
    ),
    "a run without a checkpoint": (("--suite=numeric", "--problems=1"), ("{folder} has no checkpoint yet",)),
}
"""Options, and what the answer names."""

CASES = [
    BadInput(f"suite: {name}", ("{folder}", *words), says, FILES, command="eval")
    for name, (words, says) in ASKED.items()
]

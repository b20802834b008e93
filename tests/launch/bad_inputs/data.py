# SPDX-License-Identifier: Apache-2.0
"""Files of problems, and folders to write to."""

import gzip
import json
import os
import pathlib
import pickle

from tests.launch.bad_inputs.case import BadInput

ROW = {"question": "2+3?", "answer": "2+3=<<2+3=5>>5.\n#### 5"}
LINE = json.dumps(ROW)
GOOD = "\n".join(json.dumps(ROW | {"question": f"{number}?"}) for number in range(40))
LIGHT = "\n".join(GOOD.splitlines()[:3])
TRAIN = ("--config.data.train={folder}/train.jsonl", "--config.data.eval={folder}/eval.jsonl")
SKIP = "--config.data.on_bad_row=skip"
NO_HOME = (
    ("--workdir", "--workdir", ""),
    ("--config", "--config", ".py"),
    ("--config.data.eval", "data.eval", ".jsonl"),
    ("--config.data.tokenizer", "data.tokenizer", ""),
    ("--config.model.path", "model.path", ""),
    ("--config.trainer.compilation_cache", "trainer.compilation_cache", ""),
    ("--config.reward.function", "reward.function", ".py:score"),
)
"""Options of paths, the settings that answers name and the ends of the paths."""
CSV = 'question,answer\n"2+3?","#### 5"\n'


def of_kind(name: str, content: str | bytes, *says: str) -> BadInput:
    """A training file that holds something else than JSON lines."""
    return BadInput(
        name, TRAIN, ("data.train='{folder}/train.jsonl'", *says), {"train.jsonl": content, "eval.jsonl": GOOD}
    )


def of_row(name: str, row: object, *says: str) -> BadInput:
    """A training file with one malformed row, the second."""
    line = row if isinstance(row, str) else json.dumps(row)
    content = f"{LINE}\n{line}\n{LINE}\n"
    fault = (
        "data.train='{folder}/train.jsonl': 1 of 3 rows are malformed",
        "{folder}/train.jsonl:2",
        "data.on_bad_row=skip",
        *says,
    )
    return BadInput(name, TRAIN, fault, {"train.jsonl": content, "eval.jsonl": GOOD})


def of_path(name: str, path: str, *says: str) -> BadInput:
    """A path of held-out problems that is no file of problems, beside train.jsonl."""
    paths = (TRAIN[0], f"--config.data.eval={path}")
    return BadInput(name, paths, ("data.eval=", *says), {"train.jsonl": GOOD, "more/test.jsonl": GOOD})


def link(folder: pathlib.Path) -> None:
    """A held-out file that is a link to the training file."""
    (folder / "eval.jsonl").symlink_to("train.jsonl")


def pipe(folder: pathlib.Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "pipe.jsonl")


CASES = [
    # Files that hold something else
    of_kind("a gzip file", gzip.compress(GOOD.encode()), "compressed with gzip", "gunzip"),
    of_kind("a bzip2 file", b"BZh91AY", "bunzip2"),
    of_kind("an xz file", b"\xfd7zXZ\x00\x00", "unxz"),
    of_kind("a zstd file", b"\x28\xb5\x2f\xfd\x00", "unzstd"),
    of_kind("a zip file", b"PK\x03\x04\x00", "zip archive", "unpack"),
    of_kind("a parquet file", b"PAR1\x15\x04", "is a parquet file", "to_json"),
    of_kind("an arrow file", b"ARROW1\0\0", "is an arrow file", "to_json"),
    of_kind("a pickle", pickle.dumps([ROW]), "is a pickle", "json.dumps"),
    of_kind("an SQLite database", b"SQLite format 3\x00", "SQLite"),
    of_kind("a pointer of git-lfs", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    of_kind("UTF-16 with a mark", GOOD.encode("utf-16"), "encoded in UTF-16", "iconv"),
    of_kind("UTF-16 without a mark", GOOD.encode("utf-16-le"), "encoded in UTF-16LE", "iconv"),
    of_kind("UTF-16 of the other order", GOOD.encode("utf-16-be"), "encoded in UTF-16BE"),
    of_kind("UTF-32", GOOD.encode("utf-32"), "encoded in UTF-32"),
    of_kind("other binary data", b"{\x00\x01\x02\x00", "binary data"),
    of_kind("a JSON array on one line", json.dumps([ROW]), "is one JSON array", "jq -c .[]"),
    of_kind("a JSON array on several lines", json.dumps([ROW, ROW], indent=2), "is one JSON array"),
    of_kind("a JSON array with a row a line", f"[\n{LINE},\n{LINE}\n]", "is one JSON array"),
    of_kind("pretty-printed JSON", json.dumps(ROW, indent=2), "spread over several lines", "jq -c ."),
    of_kind("pretty-printed rows", "\n".join([json.dumps(ROW, indent=4)] * 3), "spread over several lines"),
    of_kind("a csv file", CSV, "commas (csv)", "to_json"),
    of_kind("a tsv file", CSV.replace(",", "\t"), "tabs (tsv)"),
    of_kind("a csv file with semicolons", CSV.replace(",", ";"), "semicolons (csv)"),
    of_kind("a web page", "<!DOCTYPE html>\n<html>", "web page"),
    of_kind("rows that Python has printed", f"{ROW}\n{ROW}\n", "Python dicts", "json.dumps"),
    of_kind("a text", "Two and three?\nFive.\n", "holds no JSON", "'Two and three?'"),
    of_kind("lines that end in carriage returns", GOOD.replace("\n", "\r"), "carriage returns"),
    of_kind("an empty file", "", "is empty"),
    of_kind("a file of blank lines", "\n \n", "is empty"),
    of_kind("terminal escapes in a text", "\x1b]0;owned\x07 \x1b[2J\n", r"\x1b]0;owned\x07"),
    BadInput("a file without a good row", TRAIN,
             ("data.train='{folder}/train.jsonl': 2 of 2 rows are malformed:\n", "an empty object"),
             {"train.jsonl": "{}\n{}", "eval.jsonl": GOOD}),
    BadInput("the same advice twice", (*TRAIN, SKIP),
             ("data.train='{folder}/train.jsonl': 2 of 2 rows are malformed:\n",),
             {"train.jsonl": "{}\n{}", "eval.jsonl": GOOD}),
    BadInput("a held-out file that is gzip", TRAIN, ("data.eval='{folder}/eval.jsonl'", "gunzip"),
             {"train.jsonl": GOOD, "eval.jsonl": gzip.compress(b"")}),
    BadInput("a held-out row that is malformed", TRAIN,
             ("data.eval='{folder}/eval.jsonl': 1 of 2 rows", "{folder}/eval.jsonl:1: no `answer`"),
             {"train.jsonl": GOOD, "eval.jsonl": f'{{"question": "1"}}\n{LINE}'}),
    BadInput("gzip with rows to skip", (*TRAIN, SKIP), ("gunzip",), {"train.jsonl": b"\x1f\x8b", "eval.jsonl": GOOD}),
    # Rows
    of_row("a row cut in two", '{"question": "q"', "bad JSON"),
    of_row("a row that is a list", [1], "must be a JSON object, is a list"),
    of_row("a row of another data set", {"prompt": "1", "completion": "2"},
           "no `question`, only `prompt`, `completion`"),
    of_row("a question as a number", ROW | {"question": 7}, "`question` must be a string, is a number"),
    of_row("an answer as a list", ROW | {"answer": ["5"]}, "`answer` must be a string, is a list"),
    of_row("an empty question", ROW | {"question": " "}, "`question` is empty"),
    of_row("an answer without its mark", ROW | {"answer": "5"}, "`answer` has no line `#### N`"),
    of_row("an answer that is no number", ROW | {"answer": "#### five"}, "must be a number, is 'five'",
           "reward.function"),
    of_row("an answer of a million digits", ROW | {"answer": "#### " + "9" * 10**6}, "1,000,000 characters", "300"),
    of_row("half a character", '{"question": "\\ud800", "answer": "#### 1"}', "surrogate"),
    BadInput("a question with a special token", TRAIN,
             ("data.train='{folder}/train.jsonl': 1 of 41", "'<|endoftext|>'"),
             {"train.jsonl": f"{GOOD}\n" + LINE.replace("2+3?", "<|endoftext|>"), "eval.jsonl": GOOD}),
    of_row("a row with terminal escapes", ROW | {"answer": "\x1b[2J\u202e\n#### \x1b[31m5"}, r"\x1b[31m5"),
    of_row("a key with terminal escapes", {"\x1b[2J": 1}, r"`\x1b[2J`"),
    of_row("a row of a megabyte", ROW | {"answer": "#### " + "x" * 10**6}, "must be a number"),
    of_row("brackets without an end", "[" * 10**5, "bad JSON"),
    of_row("a script", ROW | {"answer": "<script>alert(1)</script>"}, "`answer` has no line"),
    # Paths
    of_path("a file that does not exist", "{folder}/none.jsonl", "{folder}/none.jsonl' does not exist"),
    of_path("a name with a slip", "{folder}/trian.jsonl", "did you mean {folder}/train.jsonl?"),
    of_path("a folder", "{folder}/more", "{folder}/more' is a folder, with test.jsonl"),
    of_path("a file below the home folder", "~/none/eval.jsonl", "'~/none/eval.jsonl' does not exist"),
    of_path("an address as the file", "https://example.org/a.jsonl", "is an address", "download it first"),
    of_path("a name of the hub", "openai/gsm8k", "'openai/gsm8k' does not exist"),
    of_path("a device", "/dev/null", "is no regular file"),
    of_path("a path with terminal escapes", "{folder}/\x1b[2J\u202e.jsonl", r"\x1b[2J\u202e.jsonl' does not exist"),
    of_path("a path of a megabyte", "x" * 10**6, "characters"),
    of_path("a path with a zero byte", "a\0b", r"a\x00b' does not exist"),
    BadInput("a pipe that nobody writes to", (TRAIN[0], "--config.data.eval={folder}/pipe.jsonl"),
             ("data.eval", "is no regular file"), {"train.jsonl": GOOD}, prepare=pipe),
    BadInput("no held-out file", TRAIN[:1], ("data.eval=None", "held-out"), {"train.jsonl": GOOD}),
    BadInput("one file as both", (TRAIN[0], "--config.data.eval={folder}/train.jsonl"),
             ("data.eval='{folder}/train.jsonl'", "data.train", "other problems"), {"train.jsonl": GOOD}),
    BadInput("one file by two names", TRAIN, ("data.eval", "is the file of data.train"), {"train.jsonl": GOOD},
             prepare=link),
    *(BadInput(f"a home folder that is not there: {option}", (f"{option}=~nobody_here/x{end}",),
               (f"{setting}='~nobody_here/x{end}' cannot be found", "no home folder ~nobody_here", "the whole path"))
      for option, setting, end in NO_HOME),
    BadInput("an empty training file name", ("--config.data.train=",), ("--config.data.train is empty",)),
    BadInput("an empty held-out file name", ("--config.data.eval=",), ("--config.data.eval is empty",)),
    BadInput("an empty template", ("--config.prompt.template=",), ("--config.prompt.template is empty",)),
    BadInput("too few problems", TRAIN, ("rollout.prompts_per_step=32", "3 training prompts"),
             {"train.jsonl": LIGHT, "eval.jsonl": GOOD}),
    BadInput("prompts that are all too long", (*TRAIN, "--config.data.max_prompt_tokens=1"),
             ("data.train=", "data.max_prompt_tokens=1", "raise data.max_prompt_tokens"), {"train.jsonl": GOOD,
             "eval.jsonl": GOOD + " "}),
    # Folders
    BadInput("an empty run folder name", ("--workdir=",), ("--workdir is empty", "leave it out")),
    BadInput("a blank run folder name", ("--workdir= ",), ("--workdir is empty", "leave it out")),
    BadInput("a run folder that is a file", ("--workdir={folder}/notes",), ("--workdir={folder}/notes is a file",),
             {"notes": ""}),
    BadInput("a foreign folder as run folder", ("--workdir={folder}/thesis",), ("holds 'thesis.tex'", "empty folder"),
             {"thesis/thesis.tex": ""}),
    BadInput("to resume in a foreign folder", ("--workdir={folder}/thesis", "--resume"), ("holds no run",),
             {"thesis/thesis.tex": ""}),
    BadInput("to resume a model", ("--workdir={folder}/model", "--resume"), ("Hugging Face model, not of a run",),
             {"model/config.json": '{"model_type": "llama"}'}),
    BadInput("a run name with a path", ("--config.name=../../etc",), ("name='../../etc'", "without /")),
    BadInput("a run name that climbs", ("--config.name=..",), ("name='..'", "not . or ..")),
    BadInput("a run name with terminal escapes", ("--config.name=\x1b[2J",), (r"name='\x1b[2J'", "printable")),
    BadInput("a run name that turns the direction", ("--config.name=\u202egpj",), (r"\u202egpj", "printable")),
    BadInput("a run name of a megabyte", ("--config.name=" + "x" * 10**6,), ("of 1 to 100 printable",)),
    # Evaluation
    BadInput("gzip to evaluate on", ("{folder}/none", "--data={folder}/a.jsonl"),
             ("--data='{folder}/a.jsonl'", "gunzip"),
             {"a.jsonl": b"\x1f\x8b"}, command="eval"),
    BadInput("an empty file name to evaluate on", ("{folder}/none", "--data="), ("--data is empty",),
             command="eval"),
    BadInput("an empty output folder", ("{folder}/none", "--output="), ("--output is empty: give a value",),
             command="eval"),
]  # fmt: skip

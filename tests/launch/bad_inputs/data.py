# SPDX-License-Identifier: Apache-2.0
"""Files of problems, and folders to write to."""

import bz2
import gzip
import json
import lzma
import os
import pathlib
import pickle

from tests.launch.bad_inputs.case import BadInput

ROW = {"question": "2+3?", "answer": "2+3=<<2+3=5>>5.\n#### 5"}
LINE = json.dumps(ROW)
GOOD = "\n".join(json.dumps(ROW | {"question": f"{number}?"}) for number in range(40))
LIGHT = "\n".join(GOOD.splitlines()[:3])
TRAIN = ("--config.data.train={folder}/train.jsonl", "--config.data.eval={folder}/eval.jsonl")
PREPARE, SHOW = ("prepare", "{folder}/a.jsonl"), ("show", "{folder}/a.jsonl")
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
    """A training file that is not read, or is damaged."""
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


def of_command(name: str, words: tuple[str, ...], *says: str) -> BadInput:
    """A command line of launch/data.py, beside a file of rows."""
    return BadInput(f"data: {name}", tuple(filter(None, words)), says, {"a.jsonl": GOOD}, command="data")


def link(folder: pathlib.Path) -> None:
    """A held-out file that is a link to the training file."""
    (folder / "eval.jsonl").symlink_to("train.jsonl")


def pipe(folder: pathlib.Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "pipe.jsonl")


CASES = [
    # Files that hold something else
    of_kind("half a gzip file", gzip.compress(GOOD.encode())[:-9], "compressed with gzip", "cut off", "again"),
    of_kind("a damaged gzip file", gzip.compress(GOOD.encode())[:40] + b"\0" * 40, "compressed with gzip", "damaged"),
    of_kind("half a bzip2 file", bz2.compress(GOOD.encode())[:-9], "compressed with bzip2", "cut off"),
    of_kind("half an xz file", lzma.compress(GOOD.encode())[:-9], "compressed with xz", "cut off"),
    of_kind("a gzip file in a gzip file", gzip.compress(gzip.compress(b"{}")), "binary data"),
    of_kind("nothing in a gzip file", gzip.compress(b""), "is empty"),
    of_kind("a zstd file", b"\x28\xb5\x2f\xfd\x00", "unzstd"),
    of_kind("a zip file", b"PK\x03\x04\x00", "zip archive", "unpack"),
    of_kind("a parquet file's beginning", b"PAR1\x15\x04", "is a parquet file", "damaged or cut off"),
    of_kind("an arrow file", b"ARROW1\0\0", "is an arrow file", "to_json"),
    of_kind("a pickle", pickle.dumps([ROW]), "is a pickle", "json.dumps"),
    of_kind("an SQLite database", b"SQLite format 3\x00", "SQLite"),
    of_kind("a pointer of git-lfs", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    of_kind("UTF-16 with a mark", GOOD.encode("utf-16"), "encoded in UTF-16", "iconv"),
    of_kind("UTF-16 without a mark", GOOD.encode("utf-16-le"), "encoded in UTF-16LE", "iconv"),
    of_kind("UTF-16 of the other order", GOOD.encode("utf-16-be"), "encoded in UTF-16BE"),
    of_kind("UTF-32", GOOD.encode("utf-32"), "encoded in UTF-32"),
    of_kind("other binary data", b"{\x00\x01\x02\x00", "binary data"),
    of_kind("half a JSON array", json.dumps([ROW, ROW], indent=2)[:-9], "JSON array that is damaged or cut off"),
    of_kind("an empty JSON array", "[]", "is empty"),
    of_kind("a JSON array of numbers", "[1, 2]", "2 of 2 rows", "must be a JSON object, is a number"),
    of_kind("two arrays of rows", json.dumps({"a": [ROW], "b": [ROW]}), "several arrays of rows, a, b"),
    of_kind("pretty-printed rows", "\n".join([json.dumps(ROW, indent=4)] * 3), "spread over several lines"),
    BadInput("a csv file without a header", (TRAIN[0].replace("jsonl", "csv"), TRAIN[1]),
             ("no `question`", "only `2+3?`, `#### 5`", "first line names its columns"),
             {"train.csv": CSV.partition("\n")[2] * 2, "eval.jsonl": GOOD}),
    of_kind("a csv file with other columns", CSV.replace("answer", "result"), "only `question`, `result`",
            "data.fields.answer"),
    of_kind("a csv file with two columns of a name", CSV.replace("answer", "question"), "does not name its columns"),
    of_kind("a csv file without an end", CSV[:-3], "line 2", "unexpected end"),
    of_kind("a csv file without rows", CSV.partition("\n")[0], "is empty"),
    of_kind("a csv file in Latin-1", "question,answer\n\xe9?,5\n".encode("latin-1"), "not UTF-8", "iconv"),
    of_kind("a web page", "<!DOCTYPE html>\n<html>", "web page"),
    of_kind("rows with commas between them", f"{LINE},\n{LINE}\n", "comma after each row", "remove the commas"),
    of_kind("rows that Python has printed", f"{ROW}\n{ROW}\n", "Python dicts", "json.dumps"),
    of_kind("a text", "Two and three?\nFive.\n", "neither JSON nor a table", "'Two and three?'"),
    of_kind("lines that end in carriage returns", GOOD.replace("\n", "\r"), "carriage returns"),
    of_kind("an empty file", "", "is empty"),
    of_kind("a file of blank lines", "\n \n", "is empty"),
    of_kind("terminal escapes in a text", "\x1b]0;owned\x07 \x1b[2J\n", r"\x1b]0;owned\x07"),
    BadInput("a file without a good row", TRAIN,
             ("data.train='{folder}/train.jsonl': 2 of 2 rows are malformed:\n", "no `question`", "an empty object"),
             {"train.jsonl": "{}\n{}", "eval.jsonl": GOOD}),
    BadInput("the same advice twice", (*TRAIN, SKIP),
             ("data.train='{folder}/train.jsonl': 2 of 2 rows are malformed:\n",),
             {"train.jsonl": "{}\n{}", "eval.jsonl": GOOD}),
    BadInput("a held-out file that is empty", TRAIN, ("data.eval='{folder}/eval.jsonl' is empty",),
             {"train.jsonl": GOOD, "eval.jsonl": gzip.compress(b"")}),
    BadInput("a held-out row that is malformed", TRAIN,
             ("data.eval='{folder}/eval.jsonl': 1 of 2 rows", "{folder}/eval.jsonl:1: no `answer`"),
             {"train.jsonl": GOOD, "eval.jsonl": f'{{"question": "1"}}\n{LINE}'}),
    BadInput("half a gzip file with rows to skip", (*TRAIN, SKIP), ("cut off",),
             {"train.jsonl": b"\x1f\x8b", "eval.jsonl": GOOD}),
    # Rows
    of_row("a row cut in two", '{"question": "q"', "bad JSON"),
    of_row("a row that is a list", [1], "must be a JSON object, is a list"),
    of_row("a row of another data set", {"prompt": "1", "completion": "2"},
           "no `answer`, `reward_model.ground_truth`, `ground_truth` or `solution`, only `prompt`, `completion`"),
    of_row("a field with a slip", {"qestion": "1", "answer": "2"}, "did you mean data.fields.question=qestion?"),
    of_row("a question as a number", ROW | {"question": 7}, "`question` must be a string or a list of messages"),
    of_row("an answer as a list", ROW | {"answer": ["5"]}, "`answer` must be a string or a number, is a list"),
    of_row("an answer that is true", ROW | {"answer": True}, "`answer` must be a string or a number, is a boolean"),
    of_row("an answer that is not a number", '{"question": "1?", "answer": NaN}', "must be a finite number, is nan"),
    of_row("an answer of two numbers", ROW | {"answer": "3 or 4"}, "must be a number", "is '3 or 4'"),
    of_row("a message without a role", ROW | {"question": [{"content": "1?"}]}, "`question.0`", "`role` and `content`"),
    of_row("no messages", ROW | {"question": []}, "`question` is empty"),
    of_row("a message with a picture", ROW | {"question": [{"role": "user", "content": [{"type": "image"}]}]},
           "must consist of texts"),
    of_row("a chat that has its response", ROW | {"question": [{"role": "assistant", "content": "5"}]},
           "must end with a message of the user, and ends with one of the assistant"),
    of_row("further data that are a text", ROW | {"extra_info": "{}"}, "`extra_info` must be an object"),
    of_row("an empty question", ROW | {"question": " "}, "`question` is empty"),
    of_row("a solution without its mark", ROW | {"answer": "It is 5."}, "or a solution that marks one with `#### N`"),
    of_row("an answer that is no number", ROW | {"answer": "#### five"}, "must be a number, is 'five'",
           "reward.function"),
    of_row("an answer of a million digits", ROW | {"answer": "#### " + "9" * 10**6}, "1,000,000 characters", "300"),
    of_row("half a character", '{"question": "\\ud800", "answer": "#### 1"}', "surrogate"),
    BadInput("a question with a special token", TRAIN,
             ("data.train='{folder}/train.jsonl': 1 of 41", "{folder}/train.jsonl:41", "'<|endoftext|>'"),
             {"train.jsonl": f"{GOOD}\n" + LINE.replace("2+3?", "<|endoftext|>"), "eval.jsonl": GOOD}),
    of_row("a row with terminal escapes", ROW | {"answer": "\x1b[2J\u202e\n#### \x1b[31m5"}, r"\x1b[31m5"),
    of_row("a key with terminal escapes", {"\x1b[2J": 1}, r"`\x1b[2J`"),
    of_row("a row of a megabyte", ROW | {"answer": "#### " + "x" * 10**6}, "must be a number"),
    of_row("brackets without an end", "[" * 10**5, "bad JSON"),
    of_row("a script", ROW | {"answer": "<script>alert(1)</script>"}, "`answer` must be a number"),
    # Paths
    of_path("a file that does not exist", "{folder}/none.jsonl", "{folder}/none.jsonl' does not exist"),
    of_path("a name with a slip", "{folder}/trian.jsonl", "did you mean {folder}/train.jsonl?"),
    of_path("a folder", "{folder}/more", "{folder}/more' is a folder, with test.jsonl"),
    of_path("a file below the home folder", "~/none/eval.jsonl", "'~/none/eval.jsonl' does not exist"),
    of_path("an address as the file", "https://example.org/a.jsonl", "is an address", "download it first"),
    of_path("a name of the hub that cannot be fetched", "nobody/nothing", "'nobody/nothing'"),
    of_path("a split of a file", "{folder}/train.jsonl:test", "train.jsonl:test' does not exist"),
    BadInput("a folder of no data set as one of two", (f"{TRAIN[0]}", "--config.data.eval", "{folder}/eval.jsonl", "."),
             ("data.eval='.' is a folder, with eval.jsonl, train.jsonl",), {"train.jsonl": GOOD, "eval.jsonl": GOOD}),
    of_path("files with a comma between them", "{folder}/train.jsonl,{folder}/more/test.jsonl", "blanks between them"),
    of_path("files with a star", "{folder}/*.jsonl", "does not exist", "a shell fills in *"),
    of_path("a device", "/dev/null", "is no regular file"),
    of_path("a path with terminal escapes", "{folder}/\x1b[2J\u202e.jsonl", r"\x1b[2J\u202e.jsonl' does not exist"),
    of_path("a path of a megabyte", "x" * 10**6, "characters"),
    of_path("a path with a zero byte", "a\0b", r"a\x00b' does not exist"),
    BadInput("a pipe that nobody writes to", (TRAIN[0], "--config.data.eval={folder}/pipe.jsonl"),
             ("data.eval", "is no regular file"), {"train.jsonl": GOOD}, prepare=pipe),
    BadInput("no held-out file", TRAIN[:1], ("data.eval=()", "held-out"), {"train.jsonl": GOOD}),
    BadInput("one file as both", (TRAIN[0], "--config.data.eval={folder}/train.jsonl"),
             ("data.eval='{folder}/train.jsonl'", "data.train", "other problems"), {"train.jsonl": GOOD}),
    BadInput("one split of a data set as both",
             ("--config.data.train={folder}/saved", "--config.data.eval={folder}/saved:train"),
             ("data.eval='{folder}/saved:train' is a source of data.train too", "other problems"),
             {"saved/dataset_dict.json": '{"splits": ["train", "test"]}'}),
    BadInput("a message of a row that the template leaves out",
             (*TRAIN, "--config.prompt.template={folder}/last.jinja"),
             ("{folder}/train.jsonl:1: the chat template {folder}/last.jinja leaves out what the system says",
              "system, user", "another prompt.template"),
             {"train.jsonl": json.dumps(ROW | {"question": [{"role": "system", "content": "Add."},
                                                            {"role": "user", "content": "2+3?"}]}),
              "eval.jsonl": GOOD, "last.jinja": "{{ messages[-1].content }}"}),
    BadInput("one file by two names", TRAIN, ("data.eval", "is a source of data.train too"), {"train.jsonl": GOOD},
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
    # Preparing and showing
    of_command("no command", ("",), "a command is missing", "prepare SOURCE OUT"),
    of_command("a command with a slip", ("prepar", "{folder}/a.jsonl"), "'prepar' is no command", "show SOURCE"),
    of_command("nowhere to write to", ("prepare", "{folder}/a.jsonl"), "OUT"),
    of_command("an option with a slip", (*SHOW, "--feilds.answer=x"), "did you mean --fields.answer?"),
    of_command("a format that is not written", (*PREPARE, "{folder}/b.csv"), "b.csv", "must end in .jsonl or .parquet"),
    of_command("a file that is there", (*PREPARE, "{folder}/a.jsonl"), "OUT={folder}/a.jsonl already exists"),
    of_command("a folder to write to that is not there", (*PREPARE, "{folder}/none/b.jsonl"), "make it first"),
    of_command("a source that is not there", ("prepare", "{folder}/c.jsonl", "{folder}/b.jsonl"),
               "SOURCE='{folder}/c.jsonl' does not exist; did you mean {folder}/a.jsonl?"),
    of_command("a field that rows lack", (*PREPARE, "{folder}/b.jsonl", "--fields.answer=anwser"),
               "did you mean --fields.answer=answer?"),
    BadInput("data: texts that are not allowed", (*PREPARE, "{folder}/b.jsonl"), ("--texts",),
             {"a.jsonl": '{"question": "Where?", "answer": "Paris"}\n'}, command="data"),
    of_command("no number to hold out", (*PREPARE, "{folder}/b.jsonl", "--hold-out", "x", "{folder}/c.jsonl"),
               "--hold-out=x: must be a whole number"),
    of_command("all rows to hold out", (*PREPARE, "{folder}/b.jsonl", "--hold-out", "99", "{folder}/c.jsonl"),
               "--hold-out=99", "lower it"),
    of_command("rows held out to the same file", (*PREPARE, "{folder}/b.jsonl", "--hold-out", "1", "{folder}/b.jsonl"),
               "--hold-out names {folder}/b.jsonl", "another file"),
    BadInput("data: rows held out to the same file by another name",
             (*PREPARE, "{folder}/b.jsonl", "--hold-out", "1", "{folder}/s/../b.jsonl"),
             ("--hold-out names {folder}/s/../b.jsonl", "another file"), {"a.jsonl": GOOD, "s/x": ""}, command="data"),
    BadInput("data: a question to hold out that all rows ask",
             (*PREPARE, "{folder}/b.jsonl", "--hold-out", "1", "{folder}/c.jsonl"),
             ("--hold-out=1: no rows can be held out", "those of a question stay together"),
             {"a.jsonl": f"{LINE}\n{LINE}"}, command="data"),
    BadInput("data: further data that parquet would change", (*PREPARE, "{folder}/b.parquet"),
             ("`extra_info` has other fields in row", "write a jsonl file"),
             {"a.jsonl": "\n".join(json.dumps(ROW | {"extra_info": {name: 1}}) for name in "ab")}, command="data"),
    BadInput("data: further data without fields in parquet", (*PREPARE, "{folder}/b.parquet"),
             ("the rows fit no parquet file", "write a jsonl file"),
             {"a.jsonl": json.dumps(ROW | {"extra_info": {"meta": {}}})}, command="data"),
    of_command("a limit of nothing", (*PREPARE, "{folder}/b.jsonl", "--limit=0"), "--limit=0"),
    of_command("no rows to show", (*SHOW, "--rows=0"), "--rows=0: must lie in [1, 1,000]"),
    of_command("a configuration that is not there", (*SHOW, "--config=none"), "--config=none", "configs/ has"),
    of_command("a model that is not there", (*SHOW, "--model={folder}/none"), "--model='{folder}/none'"),
    of_command("a tokenizer that is not there to show with", (*SHOW, "--tokenizer={folder}/none"), "--tokenizer="),
    of_command("a configuration and a model", (*SHOW, "--config=gsm8k_ntl", "--model={folder}"), "give one"),
    # Evaluation
    BadInput("half a gzip file to evaluate on", ("{folder}/none", "--data={folder}/a.jsonl"),
             ("--data='{folder}/a.jsonl'", "cut off"),
             {"a.jsonl": b"\x1f\x8b"}, command="eval"),
    BadInput("a field that rows to evaluate on lack", ("{folder}/none", "--data={folder}/a.jsonl", "--fields.answer=x"),
             ("--data='{folder}/a.jsonl'", "no `x`, only `question`, `answer`"), {"a.jsonl": GOOD}, command="eval"),
    BadInput("an empty file name to evaluate on", ("{folder}/none", "--data="), ("--data is empty",),
             command="eval"),
    BadInput("an empty output folder", ("{folder}/none", "--output="), ("--output is empty: give a value",),
             command="eval"),
]  # fmt: skip

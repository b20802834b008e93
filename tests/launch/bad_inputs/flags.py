# SPDX-License-Identifier: Apache-2.0
"""Command lines and configuration files that are wrong."""

import json
from pathlib import Path

from ntl_jax.config import RewardSection, RunConfig, config_to_json
from tests.launch.bad_inputs.case import BadInput

START = "from ntl_jax.config import *\n\n\n"
SETS_UP = f"{START}def get_config():\n    return RunConfig(seed=5)\n"

TYPED = {
    "no configuration": (("--config",), ("--config=NAME is missing", "gsm8k_ntl", "path of a .py file")),
    "a misspelled configuration": (("--config=gsm8k_nlt",), ("gsm8k_nlt", "did you mean --config=gsm8k_ntl?")),
    "a named configuration with .py": (("--config=gsm8k_ntl.py",), ("did you mean --config=gsm8k_ntl?",)),
    "a configuration file that is not there": (("--config=no/such.py",), ("there is no no/such.py", "configs/ has")),
    "a name too long for the file system": (("--config=" + "x" * 300,), ("File name too long", "xxx")),
    "a configuration without --": (("gsm8k_ntl_all",), ("'gsm8k_ntl_all'", "did you mean --config=gsm8k_ntl_all?")),
    "a setting without --": (("trainer.steps=3",), ("'trainer.steps=3'", "did you mean --config.trainer.steps?")),
    "a setting with config. and without --": (("config.seed=3",), ("did you mean --config.seed?",)),
    "a setting with one -": (("-config.trainer.steps=3",), ("did you mean --config.trainer.steps?",)),
    "a setting without config.": (("--trainer.steps=3",), ("--trainer.steps", "did you mean --config.trainer.steps?")),
    "a setting without its section": (("--config.num_samples=4",), ("did you mean --config.rollout.num_samples?",)),
    "a misspelled setting": (("--config.rollout.num_sample=4",), ("did you mean --config.rollout.num_samples?",)),
    "a setting in upper case": (("--config.SEED=4",), ("did you mean --config.seed?",)),
    "an option of another kind": (("--verbose",), ("there is no option --verbose", "--help lists all options")),
    "a section": (("--config.ntl=false",), ("there is no option --config.ntl",)),
    "a setting twice": (("--config.seed=1", "--config.seed=2"), ("--config.seed is given twice", "give it once")),
    "a setting twice, spelled differently": (
        ("--config.rollout.num-samples=4", "--config.rollout.num_samples", "8"),
        ("--config.rollout.num_samples is given twice", "give it once"),
    ),
    "a configuration twice": (("--config=gsm8k_ntl", "--config=gsm8k_ppo"), ("--config is given twice",)),
    "a folder twice": (("--config=gsm8k_ntl", "--workdir=a", "--workdir=b"), ("--workdir is given twice",)),
    "a list twice": (("--config.data.tiers", "1", "--config.data.tiers", "2"), ("--config.data.tiers A B",)),
    "a switch with a value": (("--resume=true",), ("--resume takes no value", "write --resume alone")),
    "a setting without a value": (("--config.seed",), ("--config.seed has no value", "a whole number")),
    "an empty value": (("--config.data.train=",), ("--config.data.train is empty",)),
    "spaces around =": (
        ("--config=gsm8k_ntl", "--config.seed", "=", "3"),
        ("'3' belongs to no option", "without spaces"),
    ),
    "too few values": (("--config.model.mesh", "1", "1"), ("--config.model.mesh=1 1", "3 values, each a whole number")),
    "too many values": (
        ("--config.model.mesh", "1", "1", "1", "1"),
        ("'1' belongs to no option", "--config.model.mesh takes 3 values"),
    ),
    "--resume without a folder": (("--resume", "--workdir"), ("--resume needs --workdir=DIR",)),
    "--resume in a folder without a run": (("--resume", "--workdir={folder}"), ("{folder} holds no run",)),
    "iterations to trace as one number": (
        ("--config=gsm8k_ntl", "--profile=3"),
        ("--profile=3: must be", "10:10 for one"),
    ),
    "iterations to trace the wrong way round": (("--config=gsm8k_ntl", "--profile=12:10"), ("such as 10:12",)),
    "iterations to trace from 0": (("--config=gsm8k_ntl", "--profile=0:2"), ("--profile=0:2", "from 1 on")),
    "iterations to trace that are none": (("--config=gsm8k_ntl", "--profile="), ("--profile is empty",)),
    "iterations to trace after the last": (
        ("--config=gsm8k_ntl", "--profile=9999:10000"),
        ("--profile=9999:10000", "iterations (trainer.steps): choose iterations up to"),
    ),
    "iterations to trace without PPO": (
        ("--config=gsm8k_ntl", "--profile=1:2", "--config.trainer.steps=0"),
        ("--profile=1:2", "trainer.steps=0", "leave --profile out"),
    ),
    "a switch of resumed runs": (("--allow-changed-data",), ("--allow-changed-data only applies", "add --resume")),
}
"""What was typed, and what the answer names."""

WRITTEN = {
    "a syntax error": ("def get_config(:\n", ("own.py:1: SyntaxError",)),
    "an indentation error": (f"{START}def get_config():\nreturn RunConfig()\n", ("own.py:5: IndentationError",)),
    "a module that is not there": ("import no_such_module\n", ("own.py:1: ModuleNotFoundError", "no_such_module")),
    "a name that is not there": ("from ntl_jax.config import NoSection\n", ("own.py:1: ImportError", "NoSection")),
    "an exception at its top": ("\n\nLAYERS = {}['width']\n", ("own.py:3: KeyError: 'width'",)),
    "an exception in get_config": (f"{START}def get_config():\n    return 1 / 0\n", ("own.py:5: ZeroDivisionError",)),
    "an exit": ("import sys\n\nsys.exit(3)\n", ("own.py:3: SystemExit: 3",)),
    "an unknown setting": (
        f"{START}def get_config():\n    return RunConfig(sed=3)\n",
        ("own.py:5: TypeError", "'sed'"),
    ),
    "arguments of get_config": (
        f"{START}def get_config(seed):\n    return RunConfig()\n",
        ("own.py:4: TypeError", "seed"),
    ),
    "no get_config": ("CONFIG = 3\n", ("own.py: there is no get_config()", "gsm8k_ntl.py")),
    "another result": (
        f"{START}def get_config():\n    return {{}}\n",
        ("own.py:4: get_config() returns dict", "RunConfig"),
    ),
    "a wrong type": (
        f"{START}def get_config():\n    return RunConfig(seed='3')\n",
        ("own.py:4", "seed='3': must be int"),
    ),
    "a wrong value": (
        f"{START}def get_config():\n    return RunConfig(seed=-3)\n",
        ("own.py:4", "seed=-3: must lie in"),
    ),
    "bytes that are no text": (b"\xff\xfe\x00\x01", ("own.py", "get_config()")),
}
"""Contents of a configuration file of one's own, and what the answer names."""

EVALUATED = {
    "no folder": (("no/such",), ("no/such", "is not a folder")),
    "an option twice": (("{folder}", "--samples=2", "--samples=4"), ("--samples is given twice", "give it once")),
    "an option without --": (("{folder}", "samples=8"), ("'samples=8'", "did you mean --samples?")),
    "a misspelled option": (("{folder}", "--sampels=8"), ("'--sampels=8'", "did you mean --samples?")),
    "an empty value": (("{folder}", "--data="), ("--data is empty",)),
    "a value of another type": (("{folder}", "--samples=many"), ("--samples", "'many'")),
    "a checkpoint that has no name": (("{folder}", "--checkpoint=last"), ("--checkpoint", "newest", "best")),
    "no problems": (("{folder}", "--problems=0"), ("--problems=0", "None or lie in [1, 1,000,000]")),
    "fewer than no samples": (("{folder}", "--samples=-1"), ("--samples=-1", "at least 0")),
    "a temperature without samples": (("{folder}", "--temperature=0.5"), ("--temperature=0.5", "--samples above 0")),
    "a template without the question": (("{folder}", "--template=Solve it."), ("--template", "{question}")),
    "two answers to what is asked": (
        ("{folder}", "--task=calculations", "--data=a.jsonl"),
        ("--task=calculations and --data=a.jsonl", "give one"),
    ),
    "a task that is none": (("{folder}", "--task=sums"), ("--task='sums'", "calculations, reasoning_gym:NAME")),
    "fields of a task": (
        ("{folder}", "--task=calculations", "--fields.answer=x"),
        ("--fields.answer='x'", "no effect", "--data"),
    ),
    "a form that is none": (("{folder}", "--answer.form=boxed"), ("--answer.form", "'line'", "'box'")),
    "a pattern without a group": (("{folder}", "--answer.pattern=is"), ("--answer.pattern='is'", "exactly one group")),
    "a form and a pattern": (
        ("{folder}", "--answer.form=box", "--answer.pattern=is (.*)"),
        ("--answer.form='box'", "--answer.pattern='is (.*)'"),
    ),
    "a tolerance in percent": (("{folder}", "--answer.tolerance=5"), ("--answer.tolerance=5", "[0, 1)")),
    "an empty stop string": (("{folder}", "--stop-strings="), ("--stop-strings is empty",)),
    "an empty stop string of several": (
        ("{folder}", "--stop-strings", "Q:", ""),
        ("--stop-strings=('Q:', '')", "none of them empty"),
    ),
    "a folder that is in use": (
        ("{folder}", "--output={folder}"),
        ("--output={folder} already exists and is not empty", "name another folder"),
    ),
    "a file as output": (
        ("{folder}", "--output={folder}/config.json"),
        ("config.json already exists", "another folder"),
    ),
    "a folder inside a file": (
        ("{folder}", "--output={folder}/config.json/results"),
        ("cannot be made in {folder}/config.json",),
    ),
    "vLLM that is not installed": (("{folder}", "--engine=vllm"), ("--engine='vllm' needs the package vllm",)),
    "problems that are not there": (
        ("{folder}", "--data=no.jsonl"),
        ("--data='no.jsonl' does not exist", "give a file of problems"),
    ),
    "responses beyond memory": (
        ("{folder}", "--problems=2", "--max-tokens=1000000000"),
        ("the cache does not fit", "--max-tokens=1000000000 or --max-prompt-tokens=384"),
    ),
    "a mesh of more devices": (("{folder}", "--problems=2", "--mesh", "64", "1", "1"), ("'data': 64", "at most 8")),
    "a run without a checkpoint": (("{folder}", "--problems=2"), ("{folder} has no checkpoint yet",)),
}
"""Arguments of launch/eval.py in a run folder without checkpoints, and what the answer names."""

EXPORTED = {
    "no run": (("{folder}/none", "{folder}/new"), ("{folder}/none holds no run",)),
    "a folder that is in use": (("{folder}", "{folder}"), ("DIR={folder} already exists", "name another folder")),
    "a folder inside a file": (("{folder}", "{folder}/config.json/new"), ("cannot be made in {folder}/config.json",)),
    "a checkpoint that has no name": (("{folder}", "{folder}/new", "--checkpoint=last"), ("newest", "best")),
    "an option twice": (
        ("{folder}", "{folder}/new", "--checkpoint=best", "--checkpoint=newest"),
        ("--checkpoint is given twice",),
    ),
    "a run without a checkpoint": (("{folder}", "{folder}/new"), ("{folder} has no checkpoint yet",)),
}
"""Arguments of launch/export.py there."""

ASKED = {
    "no folder": (("no/such", "2+2?"), ("no/such", "is not a folder")),
    "an empty question": (("{folder}", ""), ("QUESTION is empty",)),
    "a question without quotes": (("{folder}", "Tom", "has", "3"), ("'has'", "in quotes")),
    "a question that looks like an option": (("{folder}", "-2+2=?"), ("'-2+2=?'", "after -- if it begins with -")),
    "an option twice": (("{folder}", "2+2?", "--n=2", "--n=4"), ("--n is given twice", "give it once")),
    "a misspelled option": (("{folder}", "2+2?", "--temprature=1"), ("did you mean --temperature?",)),
    "no samples": (("{folder}", "2+2?", "--n=0"), ("--n=0", "[1, 10,000]")),
    "very many samples": (("{folder}", "2+2?", "--n=1000000"), ("--n=1000000", "[1, 10,000]")),
    "a group of greedy responses": (("{folder}", "2+2?", "--n=4", "--temperature=0"), ("--n=4", "all the same")),
    "a temperature below 0": (("{folder}", "2+2?", "--temperature=-1"), ("--temperature=-1", "at least 0 (greedy)")),
    "no number as temperature": (("{folder}", "2+2?", "--temperature=nan"), ("--temperature=nan", "at least 0")),
    "a share for a greedy response": (("{folder}", "2+2?", "--top-p=0.9"), ("--top-p=0.9", "--n or --temperature")),
    "a share above 1": (("{folder}", "2+2?", "--n=2", "--top-p=1.5"), ("--top-p=1.5", "(0, 1]")),
    "a pattern with two groups": (
        ("{folder}", "2+2?", "--answer.pattern=(a) (b)"),
        ("--answer.pattern='(a) (b)'", "exactly one group"),
    ),
    "empty responses": (("{folder}", "2+2?", "--max-tokens=0"), ("--max-tokens=0", "at least 1")),
    "a negative seed": (("{folder}", "2+2?", "--seed=-1"), ("--seed=-1",)),
    "a question with a special token": (
        ("{folder}", "2+2?<|endoftext|>"),
        ("'2+2?<|endoftext|>'", "special token '<|endoftext|>'", "leave it out"),
    ),
    "a question that is too long": (
        ("{folder}", "1 + " * 300),
        ("longer than --max-prompt-tokens=384 tokens", "raise --max-prompt-tokens"),
    ),
    "no prompts": (("{folder}", "2+2?", "--max-prompt-tokens=0"), ("--max-prompt-tokens=0", "at least 1")),
    "a mesh of more devices to ask": (("{folder}", "2+2?", "--mesh", "64", "1", "1"), ("'data': 64", "at most 8")),
    "a conversation without a chat template": (
        ("{folder}", "2+2?", "--chat"),
        ("--chat needs a chat template", "--template=FILE.jinja"),
    ),
    "a conversation of several answers": (("{folder}", "2+2?", "--chat", "--n=2"), ("--chat", "leave out --n")),
    "a truth that is no number": (("{folder}", "2+2?", "--truth=four"), ("--truth='four'", "must be a number")),
    "an empty truth": (("{folder}", "2+2?", "--truth="), ("--truth is empty",)),
    "responses beyond memory": (
        ("{folder}", "2+2?", "--max_tokens=1000000000"),
        ("the cache does not fit", "--max-tokens=1000000000"),
    ),
    "vLLM that is not installed": (("{folder}", "2+2?", "--engine=vllm"), ("--engine='vllm' needs the package vllm",)),
    "a run without a checkpoint": (("{folder}", "2+2?"), ("{folder} has no checkpoint yet",)),
}
"""Arguments of launch/sample.py there."""

RUN = {"config.json": config_to_json(RunConfig())}
NO_EXAMPLES = ("--few-shot=2: {folder} is a model", "--config=FILE.py", "--task=NAME")
MODEL = {"config.json": json.dumps({"architectures": ["Qwen2ForCausalLM"]})}


def _with_file_beside(folder: Path) -> None:
    (folder / "mine.py").write_text(SETS_UP)


CASES = [
    *(BadInput(name, arguments, says) for name, (arguments, says) in TYPED.items()),
    BadInput(
        "a file of one's own without .py",
        ("--config=mine",),
        ("did you mean --config=mine.py?",),
        prepare=_with_file_beside,
    ),
    *(
        BadInput(f"a file with {name}", ("--config={folder}/own.py",), ("{folder}/own.py", *says), {"own.py": text})
        for name, (text, says) in WRITTEN.items()
    ),
    *(BadInput(f"eval: {name}", words, says, RUN, command="eval") for name, (words, says) in EVALUATED.items()),
    *(BadInput(f"sample: {name}", words, says, RUN, command="sample") for name, (words, says) in ASKED.items()),
    BadInput(
        "sample: a reward function that is gone",
        ("{folder}", "2+2?", "--truth=4"),
        ("reward.function='gone.py:score'", "there is no file"),
        {"config.json": config_to_json(RunConfig(reward=RewardSection(function="gone.py:score")))},
        command="sample",
    ),
    BadInput(
        "sample: a checkpoint of a model",
        ("{folder}", "2+2?", "--checkpoint=best"),
        ("--checkpoint=best: {folder} is a model", "leave it out"),
        MODEL,
        command="sample",
    ),
    BadInput(
        "eval: a checkpoint of a model",
        ("{folder}", "--checkpoint=best"),
        ("--checkpoint=best: {folder} is a model", "leave it out"),
        MODEL,
        command="eval",
    ),
    BadInput(
        "eval: examples of no training problems", ("{folder}", "--few-shot=2"), NO_EXAMPLES, MODEL, command="eval"
    ),
    BadInput(
        "sample: examples of no problems",
        ("{folder}", "2+2?", "--few-shot=2"),
        NO_EXAMPLES,
        MODEL,
        command="sample",
    ),
    *(BadInput(f"export: {name}", words, says, RUN, command="export") for name, (words, says) in EXPORTED.items()),
]

# SPDX-License-Identifier: Apache-2.0
"""Prompts, answers and tasks that are not what they should be."""

import json
import pathlib
import shutil
from collections.abc import Callable

from ntl_jax.data.tokenizer import BUILT_IN
from tests.launch.bad_inputs.case import BadInput

FEW = "--config.data.num_train=32"
FILE = ("--config.prompt.template={folder}/mine.jinja", FEW)
EACH = "{% for m in messages %}{{ m.content }}{% endfor %}"
TASK = """
from ntl_jax.data import Problem
from ntl_jax.tasks import Task


class Mine(Task):
    def load(self, split):
        return [Problem(i, f"{i}?", str(i), str(i), "mine") for i in range(40)], 0
"""

TEMPLATES = {
    "a template that does not end": ("{% for m in messages %}{{ m.content }}", ("fails in line 1", "endfor")),
    "a template with a filter that is not there": (EACH + "\n{{ 1 | mine }}", ("fails in line 2", "'mine'")),
    "a template that refuses": ("{{ raise_exception('not today') }}", ("fails: not today", "prompt.template=none")),
    "a template that fails": ("{{ messages[7].content }}", ("fails:", "no element 7")),
    "a template of an unknown variable": ("{{ question }}", ("prints question", "messages", "add_generation_prompt")),
    "a template with a misspelled variable": (EACH + "{{ bos_tokn }}", ("prints bos_tokn", "bos_token")),
    "a template without the question": ("Solve it.", ("leaves out or changes", "{{ message['content'] }}")),
    "a template that changes the question": ("{{ messages[0].content | upper }}", ("leaves out or changes",)),
    "a template that is empty": ("", ("leaves out or changes",)),
    "a template that is not UTF-8": (b"\xff\xfe", ("not UTF-8",)),
}
"""Files of templates, and what the answer names beside prompt.template."""

LEFT_OUT = {
    "a system message without a place": ("{{ messages[-1].content }}", "prompt.system=Add.", "prompt.system='Add.'"),
    "a system message that is refused": (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + EACH,
        "prompt.system=Add.",
        "no system here",
    ),
    "examples without a place": ("{{ messages[-1].content }}", "prompt.few_shot=2", "prompt.few_shot=2"),
    "turns that must alternate otherwise": (
        "{% if messages | length > 1 %}{{ raise_exception('one turn alone') }}{% endif %}" + EACH,
        "prompt.few_shot=2",
        "one turn alone",
    ),
}
"""A template, a setting that it has no place for, and what the answer names."""

SETTINGS = {
    "a template that is a word": (("prompt.template=chatml",), ("prompt.template='chatml'", "auto, none")),
    "a template with two braces": (("prompt.template=Q: {{question}}",), ("{question}", "in single braces")),
    "a template that is not there": (("prompt.template={folder}/no.jinja",), ("no.jinja' does not exist",)),
    "a template that is a folder": (("prompt.template={folder}/a.jinja",), ("a.jinja' is a folder",)),
    "too many examples": (("prompt.few_shot=32",), ("prompt.few_shot=32", "only 32 different", "lower it")),
    "fewer than no examples": (("prompt.few_shot=-1",), ("prompt.few_shot=-1", "lie in [0, 1,000]")),
    "examples that are a word": (("prompt.few_shot=some",), ("prompt.few_shot=some", "a whole number")),
    "examples that make prompts too long": (
        ("prompt.few_shot=30", "data.max_prompt_tokens=64"),
        ("32 of 32 prompts are longer than data.max_prompt_tokens=64", "raise"),
    ),
    "an empty suffix": (("prompt.suffix=",), ("prompt.suffix is empty",)),
    "a form that is none": (("answer.form=boxed",), ("answer.form=boxed", "auto, line, box, last_number")),
    "a pattern that is none": (("answer.pattern=answer is (",), ("answer.pattern='answer is ('", "exactly one group")),
    "a pattern without a group": (("answer.pattern=answer",), ("answer.pattern='answer'", "exactly one group")),
    "a pattern with two groups": (("answer.pattern=(a) (b)",), ("exactly one group", "(?:...)")),
    "a pattern and a form": (
        ("answer.pattern=is (.*)", "answer.form=box"),
        ("answer.form='box'", "answer.pattern=None"),
    ),
    "a tolerance below 0": (("answer.tolerance=-0.1",), ("answer.tolerance=-0.1", "[0, 1)")),
    "a tolerance in percent": (("answer.tolerance=5",), ("answer.tolerance=5", "[0, 1)")),
    "a verifier that is none": (("answer.verifier=sympy",), ("answer.verifier=sympy", "none, math_verify")),
    "a task that is none": (("data.task=sums",), ("data.task='sums'", "calculations", "reasoning_gym:NAME")),
    "a generator that is none": (
        ("data.task=reasoning_gym:chain_sums",),
        ("no such generator", "did you mean chain_sum"),
    ),
    "a generator of texts": (("data.task=reasoning_gym:caesar_cipher",), ("its answers are not numbers",)),
    "a generator without a name": (("data.task=reasoning_gym:",), ("reasoning_gym:NAME",)),
    "an option of a generator that is none": (
        ("data.task=reasoning_gym:chain_sum", "data.task_options=terms=3"),
        ("data.task_options", "no option terms", "min_terms"),
    ),
    "an option of a generator out of range": (
        ("data.task=reasoning_gym:chain_sum", "data.task_options=min_terms=0"),
        ("data.task_options", "min_terms must be"),
    ),
    "an option without a value": (
        ("data.task=reasoning_gym:chain_sum", "data.task_options=terms"),
        ("data.task_options=('terms',)", "NAME=VALUE"),
    ),
    "options without a task": (
        ("data.task_options=a=1",),
        ("data.task_options=('a=1',)", "data.task to 'reasoning_gym:NAME'"),
    ),
    "operations without their task": (("data.operations=*",), ("data.operations=('*',)", "data.task='calculations'")),
    "an operation that is none": (
        ("data.task=calculations", "data.operations=/"),
        ("data.operations=/", "one of +, -, *"),
    ),
    "a task and a file": (
        ("data.task=calculations", "data.train=a.jsonl", "data.eval=b.jsonl"),
        ("data.task='calculations'", "data.train=()"),
    ),
    "a task that is not there": (("data.task={folder}/no.py:Mine",), ("there is no file '{folder}/no.py'",)),
    "a task without its class": (("data.task={folder}/mine.py",), ("PATH.py:Class",)),
    "a misspelled class": (("data.task={folder}/mine.py:Mien",), ("has no 'Mien'; did you mean 'Mine'?",)),
    "a class of another kind": (("data.task={folder}/mine.py:Problem",), ("derived from ntl_jax.tasks.Task",)),
    "a keyword that the class does not take": (
        ("data.task={folder}/mine.py:Mine", "data.task_options=a=1"),
        ("Mine(a='1') fails", "it takes ()"),
    ),
    "a number of problems with a task of its own": (
        ("data.task={folder}/mine.py:Mine", "data.num_train=8"),
        ("data.num_train=8", "this one has its own number"),
    ),
}
"""Settings, and what the answer names."""

OWN = {
    "a task that is not Python": ("class Mine(:\n", ("line 1 of {folder}/mine.py: SyntaxError",)),
    "a task that fails": (TASK.replace("range(40)", "rnge(40)"), ("load('train') fails at line 8", "NameError")),
    "a task without problems": (TASK.replace("range(40)", "range(0)"), ("load('train') returns no problems",)),
    "a task that returns something else": (TASK.replace("], 0", "]"), ("must return a list of Problem",)),
    "a question that is a number": (TASK.replace('f"{i}?"', "i"), ("question must be a text or a tuple", "is 0")),
    "turns without content": (TASK.replace('f"{i}?"', '({"role": "user"},)'), ("of problem 0, question", "`content`")),
    "further data that are none": (TASK.replace('"mine")', '"mine", None)'), ("extra_info must be a mapping", "None")),
    "further data that no process takes": (TASK.replace('"mine")', '"mine", {"f": lambda: 1})'), ("cannot be sent",)),
    "a task that asks nothing": (
        TASK + "\n    def render(self, problem):\n        pass\n",
        ("render of the question '0?'", "is None"),
    ),
    "a task that asks something without content": (
        TASK + "\n    def render(self, problem):\n        return [{'role': 'user'}]\n",
        ("`content`",),
    ),
    "a task that reads its question": (
        TASK + "\n    def render(self, problem):\n        return problem.question + str(int(problem.question[:-1]))\n",
        ("'{question}' fails, which stands for any question", "at line 11 of {folder}/mine.py", "invalid literal"),
    ),
    "a task whose answers are texts": (
        TASK + "\n    def answer_of(self, text):\n        return text\n",
        ("answer_of must return an Answer or None",),
    ),
    "markers that are a text": (TASK + "\n    markers = '####'\n", ("markers must be AnswerMarkers, is '####'",)),
    "a default reward that is none": (
        TASK + "\n    def default_reward(self, ntl):\n        pass\n",
        ("default_reward must return a text, not None",),
    ),
    "a task that finds its own solutions wrong": (TASK.replace("str(i), str(i)", "'7', str(i)"), ("'7'", "is not '0'")),
}
"""Files of tasks, and what the answer names beside data.task."""

GENERATORS = {
    "a generator that makes no problem": ("maze", ("min_dist=90", "max_dist=99"), ("none of 10 problems", "easier")),
    "a generator without a problem to hold out": (
        "coin_flip",
        ("min_trials=2", "max_trials=2"),
        ("data.task='reasoning_gym:coin_flip'", "none is held out"),
    ),
}
"""Options of a generator that it takes, and what the answer names beside them."""


def chat_template(source: str) -> Callable[[pathlib.Path], None]:
    """A tokenizer with a chat template."""

    def write(folder: pathlib.Path) -> None:
        shutil.copytree(BUILT_IN, folder / "tokenizer")
        path = folder / "tokenizer" / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": source}))

    return write


def folder_of(name: str) -> Callable[[pathlib.Path], None]:
    return lambda folder: (folder / name).mkdir()


def options(settings: tuple[str, ...]) -> tuple[str, ...]:
    given = tuple(f"--config.{setting}" for setting in settings)
    own = any(word in setting for setting in settings for word in ("num_train", ".py", "data.train"))
    return given if own else (*given, FEW)


CASES = [
    *(BadInput(name, FILE, ("prompt.template=", *says), {"mine.jinja": source})
      for name, (source, says) in TEMPLATES.items()),
    *(BadInput(f"{name}, of the tokenizer", ("--config.data.tokenizer={folder}/tokenizer", FEW),
               ("prompt.template='auto'", *says), prepare=chat_template(source))
      for name, (source, says) in TEMPLATES.items() if source and isinstance(source, str)),
    *(BadInput(name, (*FILE, f"--config.{setting}"), (setting.split("=")[0], says), {"mine.jinja": source})
      for name, (source, setting, says) in LEFT_OUT.items()),
    *(BadInput(name, options(settings), says, {"mine.py": TASK}, folder_of("a.jinja"))
      for name, (settings, says) in SETTINGS.items()),
    *(BadInput(name, (f"--config.data.task=reasoning_gym:{task}", FEW, "--config.data.task_options", *given),
               (f"data.task_options={given!r}", *says)) for name, (task, given, says) in GENERATORS.items()),
    *(BadInput(name, ("--config.data.task={folder}/mine.py:Mine",), ("data.task=", *says), {"mine.py": source})
      for name, (source, says) in OWN.items()),
]  # fmt: skip

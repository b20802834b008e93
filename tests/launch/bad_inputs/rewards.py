# SPDX-License-Identifier: Apache-2.0
"""Reward functions that cannot be used."""

from tests.launch.bad_inputs.case import BadInput

LISTS = "data_sources, solution_strs, ground_truths, extra_infos"
TAKEN = "data_source, solution_str, ground_truth, extra_info=None"
FUNCTION = ("--config.reward.function={folder}/mine.py:score",)


SMALL = "--config.data.num_train=100"


def named(name: str, function: str, *says: str) -> BadInput:
    """A function that cannot be found."""
    return BadInput(name, (f"--config.reward.function={function}", SMALL), says)


def case(name: str, source: str | bytes, *says: str, function: str = "score") -> BadInput:
    """A file with a reward function."""
    arguments = (f"--config.reward.function={{folder}}/mine.py:{function}", SMALL)
    return BadInput(name, arguments, ("reward.function=", *says), {"mine.py": source})


def returning(name: str, value: str, *says: str) -> BadInput:
    """A function whose trial call returns this expression."""
    text = f"import math, os, sys\ndef score({TAKEN}, **kwargs):\n    return {value}\n"
    return case(name, text, "a trial call with the reference solution", *says)


GDPO = "--config.algorithm.advantage=gdpo"
KEYS = "--config.algorithm.gdpo_reward_keys"


def of_gdpo(name: str, *options: str, says: tuple[str, ...]) -> BadInput:
    """Several rewards that cannot be learned from together."""
    return BadInput(f"gdpo: {name}", (GDPO, SMALL, *options), says)


def returning_for_group(name: str, value: str, *says: str) -> BadInput:
    """A function in batch form whose trial call, for a group of one sample, returns this expression."""
    text = f"def score({LISTS}, **kwargs):\n    return {value}\n"
    return case(name, text, "a trial call with the reference solution", *says)


CASES = [
    named("no name", "mine.py", "'path.py:name' or 'package.module:name'"),
    named("no file", "{folder}/mine.py:score", "there is no file", "mine.py"),
    named("no module", "nowhere.at_all:score", "there is no module 'nowhere'"),
    named("no such builtin", "ntl_jax.rewards:exact_mach", "did you mean 'exact_match'"),
    BadInput("no time", (*FUNCTION, "--config.reward.timeout_s=0"), ("reward.timeout_s=0",)),
    BadInput("no workers", (*FUNCTION, "--config.reward.workers=0"), ("reward.workers=0",)),
    BadInput("a time limit without a function", ("--config.reward.timeout_s=5",), ("no effect", "reward.function")),
    case("no such function", f"def scores({TAKEN}): return 1.0\n", "has no 'score'", "did you mean 'scores'"),
    case("not a function", "score = 3\n", "is a int: a function is needed"),
    case("too few parameters", "def score(solution_str): return 1.0\n", "does not take the trainer's call"),
    case("too many parameters", f"def score({TAKEN}, *, tokenizer): return 1.0\n", "does not take", "tokenizer"),
    case("positional only", "def score(a, b, c, d, /): return 1.0\n", "does not take the trainer's call"),
    case("a syntax error", "def score(:\n", "line 1 of", "is not Python"),
    case("tabs and spaces", "def f():\n\tx = 1\n        y = 2\n", "line 3 of", "is not Python"),
    case("another encoding", "é = 1\n".encode("latin-1"), "is not Python"),
    case(
        "a missing package",
        "import math\nimport no_such_package\n",
        "line 2 of",
        "Install it, or put no_such_package.py",
    ),
    case("a relative import", "from . import helper\n", "line 1 of", "write `import name` for a file beside it"),
    case("an exit", "import sys\nsys.exit(0)\n", "line 2 of", "if __name__ == '__main__'"),
    case("a hard exit", "import os\nos._exit(9)\n", "importing it ends the process: exit code 9"),
    case("a killed process", "import os\nos.kill(os.getpid(), 9)\n", "importing it ends the process: exit code -9"),
    case("an exception", "x = {}\nx['key']\n", "line 2 of", "KeyError: 'key'"),
    case("an exception of two lines", "raise ValueError('one\\ntwo')\n", "line 1 of", "ValueError: one two"),
    case("recursion", "def f(): f()\nf()\n", "RecursionError"),
    returning("raises", "1 / 0", "ZeroDivisionError: division by zero"),
    returning("exits", "sys.exit(3)", "SystemExit: 3"),
    returning("ends the process", "os._exit(3)", "the call ended its process: exit code 3"),
    returning("nothing", "None", "score None of type NoneType: a number is needed"),
    returning("text", "'1.0'", "score '1.0' of type str: a number is needed"),
    returning("a list", "[1.0]", "of type list: a number is needed"),
    returning("NaN", "math.nan", "score nan: a number from -1e+06 to 1e+06 is needed"),
    returning("infinite", "-math.inf", "score -inf: a number from"),
    returning("too large", "1e30", "score 1e+30: a number from"),
    returning("a dict without score", "{'reward': 1.0}", "a dict without 'score', but with ['reward']"),
    returning("a dict with text", "{'score': 'good'}", "score 'good' of type str"),
    returning("another key of the record", "kwargs['ntl_info']['loss']", "KeyError"),
    case(
        "a list beside a single sample", "def score(solution_strs, ground_truth): return [1.0]\n", "for a group", LISTS
    ),
    case("too many lists", f"def score({LISTS}, prompts): return [1.0]\n", "does not take", "prompts", "ntl_infos"),
    case("lists by position", f"def score({LISTS}, /): return [1.0]\n", "does not take the trainer's call"),
    returning_for_group("a number for a group", "1.0", "result 1.0 of type float: a list with one score per sample"),
    returning_for_group("too many scores", "[1.0, 2.0]", "a result for 1 sample has 2 scores"),
    returning_for_group("no scores", "[]", "a result for 1 sample has 0 scores"),
    returning_for_group("a text in a list", "['good']", "score 'good' of type str"),
    returning_for_group("a dict of lists", "{'score': [1.0]}", "of type dict: a list with one score per sample"),
    returning_for_group("a batch that raises", "1 / 0", "ZeroDivisionError"),
    case("a coroutine that raises", f"async def score({TAKEN}):\n    raise OSError('no judge')\n", "OSError: no judge"),
    of_gdpo(
        "a function that returns a number",
        "--config.reward.function=ntl_jax.rewards:exact_match",
        says=("'ntl_jax.rewards:exact_match'", "no finite number under 'exact_match'", "there are score"),
    ),
    of_gdpo("a default without closeness", "--config.ntl.enabled=false", says=("'exact_match'", "there are score")),
    of_gdpo("an unknown key", KEYS, "closeness", "exact", says=("under 'exact'", "exact_match, closeness")),
    of_gdpo("a single key", KEYS, "score", says=("gdpo_reward_keys=('score',)", "two or more different keys")),
    of_gdpo("a key twice", KEYS, "score", "score", says=("two or more different keys",)),
    of_gdpo(
        "a weight for one of two",
        "--config.algorithm.gdpo_reward_weights=1",
        says=("gdpo_reward_weights=(1.0,)", "one number for each key", "('exact_match', 'closeness')"),
    ),
    of_gdpo("a weight of 0", "--config.algorithm.gdpo_reward_weights", "1", "0", says=("finite numbers above 0",)),
    of_gdpo("a length penalty", "--config.algorithm.overlong=penalty", says=("algorithm.overlong='penalty'", "'keep'")),
    of_gdpo(
        "a divergence in the reward",
        "--config.algorithm.kl.weight=0.1",
        "--config.algorithm.kl.place=reward",
        says=("algorithm.kl.place='reward'", "kl.place='loss'"),
    ),
    of_gdpo("one sample a prompt", "--config.rollout.num_samples=1", says=("algorithm.advantage=gdpo", "at least 2")),
    BadInput("keys without gdpo", (KEYS, "score", "closeness"), ("gdpo_reward_keys", "no effect", "='gdpo'")),
]

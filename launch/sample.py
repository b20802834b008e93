# SPDX-License-Identifier: Apache-2.0
"""Asks a policy: python launch/sample.py RUN_OR_MODEL "Tom has 3 apples and buys 4. How many has he?"

RUN_OR_MODEL is a run folder of launch/train.py, or a model (a folder, a GGUF file, or a name on the hub). Without a
question, questions are read from standard input, one a line. Prints the response and, for each digit in it, the
probabilities of all ten digits. With --truth the response is judged and rewarded as in training. Settings are those of
the run, or the defaults; the options below override them.
"""

from ntl_jax.ending import end_at_signals, explain, leave

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import argparse
import contextlib
import dataclasses
import functools
import itertools
import math
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ntl_jax.command_line import Once, announce, parse_once
from ntl_jax.config import RolloutSection, RunConfig, changed, printable
from ntl_jax.console import command
from ntl_jax.policy_options import AskedPolicy, add_policy_options, as_options, policy_settings

if TYPE_CHECKING:
    from ntl_jax.data import Message
    from ntl_jax.train.asking.asker import Asker, Sample

OPTIONS = {"seed": "seed", "n": "rollout.num_samples", "top_p": "rollout.top_p"}
"""The settings that the options change, besides those of `ntl_jax.policy_options`."""
MOST_SAMPLES = 10_000
MOST_TEXT = 10_000_000
"""Characters of standard input, which may have no end."""
AT_ONCE = 256
"""Questions whose responses are waited for together."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message.
    """
    args = parse_once(_parser(), argv)
    try:
        sample(args)
    except BrokenPipeError:  # whoever reads the answers has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError):
            from ntl_jax.train import OutOfMemoryError, RewardError, WorkersLostError  # loaded by now, if it is one

            if not isinstance(error, OutOfMemoryError | RewardError | WorkersLostError):
                raise
        message = explain(error, pathlib.Path("standard output"), "ask again")
        return leave(f"error: {as_options(message, args.policy, OPTIONS)}", code=1)
    return 0


def sample(args: argparse.Namespace) -> None:
    """Answers the questions of a command line.

    Raises:
        ValueError: for an argument that is neither a run nor a model, a run without a checkpoint, questions that
            cannot be asked, or wrong settings.
    """
    if sys.stdout is None:
        raise ValueError("standard output is closed, to which answers are written: open it, or send it to a file")
    asked = AskedPolicy.of(args.policy, args.checkpoint, config=args.config)
    config, temperature = _settings(args, asked), _temperature(args, asked.config)
    config.validate(asked.config)
    questions = _questions(args)
    if args.chat and (args.n > 1 or args.truth is not None):
        raise ValueError(
            "--chat continues from a single answer, which is not judged: leave out --n and --truth, or --chat"
        )
    announce(f"asking {args.policy}", file=sys.stderr)
    # Imported here: importing JAX would make --help take seconds.
    from ntl_jax.train.asking.asker import Asker

    with contextlib.closing(Asker(asked, config, num_samples=args.n, temperature=temperature)) as asker:
        if args.chat:
            asker.check_chat()
        prompts = [] if args.chat else asker.encode(questions or [], args.truth or "")
        how = "greedy" if temperature == 0 else f"temperature {temperature:g}{_truncation(config)}"
        print(f"{printable(asker.load())}, {how}; compiling and sampling", file=sys.stderr, flush=True)
        if args.chat or questions is None:
            _answer_one_by_one(asker, itertools.chain(questions or [], _typed()), args)
            return
        for first in range(0, len(prompts), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            for question, samples in zip(questions[part], asker(prompts[part]), strict=True):
                _show(question, samples, args, titled=len(prompts) > 1)


def _answer_one_by_one(asker: "Asker", questions: Iterable[str], args: argparse.Namespace) -> None:
    """Answers questions as they come, with --chat as turns of one conversation.

    Raises:
        ValueError: for a question that cannot be asked; who types is told, and goes on.
    """
    turns: list[Message] = []  # what the template writes before the next question
    for question in questions:
        conversation = [*turns, {"role": "user", "content": question}]
        try:
            prompts = asker.encode([conversation if args.chat else question])
            (samples,) = asker(prompts)
        except ValueError as error:
            if not _is_typed():
                raise
            leave(f"error: {as_options(str(error), args.policy, OPTIONS)}", code=1)
            continue
        _show(question, samples, args, titled=False)
        turns = [*conversation, {"role": "assistant", "content": samples[0].text}]


def _show(question: str, samples: Sequence["Sample"], args: argparse.Namespace, *, titled: bool) -> None:
    from rich.console import Console

    from ntl_jax.metrics.atomic_files import as_line
    from ntl_jax.train.asking.display import as_rows, print_samples

    if args.json:
        print(*map(as_line, as_rows(question, samples, args.truth or "")), sep="", end="", flush=True)
        return
    if titled:
        print(f"question: {printable(question)}")
    print_samples(samples, Console(highlight=False))
    sys.stdout.flush()


def _questions(args: argparse.Namespace) -> list[str] | None:
    """The argument, or the lines of standard input; None: they are typed at a terminal, one after the other."""
    if args.question is not None:
        return [args.question]
    if sys.stdin is None:
        raise ValueError("standard input is closed: give the question as an argument, in quotes")
    if _is_typed():
        if args.truth is not None:
            raise ValueError(f"--truth={args.truth} is the answer to one question: give it as an argument, in quotes")
        return None
    try:
        text = sys.stdin.read(MOST_TEXT + 1)
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text: {error}") from error
    if len(text) > MOST_TEXT:
        raise ValueError(f"standard input has more than {MOST_TEXT:,} characters, or no end: split it")
    questions = [line.strip() for line in text.split("\n") if line.strip()]
    if not questions:
        raise ValueError("standard input has no question: write one a line, or give it as an argument, in quotes")
    if args.truth is not None and len(questions) > 1:
        raise ValueError(f"--truth={args.truth} is the answer to one question, and there are {len(questions):,}")
    return questions


def _is_typed() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _typed() -> Iterator[str]:
    """What is typed at a terminal, until the end of the input."""
    if not _is_typed():
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  lets a line be edited
    with contextlib.suppress(EOFError):
        while True:
            if question := input("question: ").strip():
                yield question


def _settings(args: argparse.Namespace, asked: AskedPolicy) -> RunConfig:
    """The settings of the run or model, changed by the options. A truncated distribution need not be trained on."""
    config = policy_settings(args, asked)
    own_log_probs = None if args.top_p is None else "recompute"
    return dataclasses.replace(
        config,
        seed=config.seed if args.seed is None else args.seed,
        rollout=changed(config.rollout, top_p=args.top_p),
        algorithm=changed(config.algorithm, old_log_probs=own_log_probs),
    )


def _truncation(config: RunConfig) -> str:
    """The settings that keep samples to likely tokens, in words that follow the temperature."""
    rollout, keeps_all = config.rollout, RolloutSection()
    kept = {name: getattr(rollout, name) for name in ("top_p", "top_k", "min_p")}
    return "".join(f", {name} {value:g}" for name, value in kept.items() if value != getattr(keeps_all, name))


def _temperature(args: argparse.Namespace, base: RunConfig) -> float:
    """Of sampling: greedy for one response, and as in training for several, unless it is given."""
    if not 1 <= args.n <= MOST_SAMPLES:
        raise ValueError(f"--n={args.n}: must lie in [1, {MOST_SAMPLES:,}]")
    if args.top_p is not None and args.n == 1 and not args.temperature:
        raise ValueError(
            f"--top-p={args.top_p:g} has no effect on a greedy response: leave it out, or give --n or --temperature"
        )
    if args.temperature is None:
        return 0.0 if args.n == 1 else base.rollout.temperature
    if not 0 <= args.temperature < math.inf:
        raise ValueError(f"--temperature={args.temperature:g}: must be at least 0 (greedy) and finite")
    if args.temperature == 0 and args.n > 1:
        raise ValueError(f"--n={args.n} with --temperature=0: greedy responses are all the same: leave out one of them")
    return args.temperature


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("sample"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_policy_options(parser)
    add = functools.partial(parser.add_argument, action=Once)
    add("question", metavar="QUESTION", nargs="?", help="in quotes; by default, standard input has one a line")
    add(
        "--n",
        type=int,
        default=1,
        metavar="N",
        help="responses per question; with several, also how often each answer came",
    )
    add("--truth", metavar="ANSWER", help="the true answer: responses are judged and rewarded")
    add("--temperature", type=float, metavar="X", help="0: greedy, the default for one response; else the run's")
    add(
        "--top-p",
        type=float,
        metavar="X",
        help="keep samples to the likeliest tokens of this share; default: the run's",
    )
    add("--seed", type=int, metavar="N", help="of sampling; default: the run's")
    parser.add_argument("--chat", action="store_true", help="questions are turns of one conversation")
    parser.add_argument("--json", action="store_true", help="one JSON object a response, with its ids and log-probs")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

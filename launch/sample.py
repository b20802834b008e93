# SPDX-License-Identifier: Apache-2.0
"""Asks a policy: python launch/sample.py RUN_OR_MODEL "Tom has 3 apples and buys 4. How many has he?"

RUN_OR_MODEL is a run folder of launch/train.py, or a Hugging Face model (a folder, or a name on the hub). Without a
question, questions are read from standard input, one a line. Prints the response and, for each digit in it, the
probabilities of all ten digits. With --truth the response is judged and rewarded as in training.
"""

from ntl_jax.ending import end_at_signals, explain, leave

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import argparse
import contextlib
import dataclasses
import functools
import math
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ntl_jax.command_line import Once, announce, parse_once
from ntl_jax.config import PolicySource, RunConfig, as_options, changed, printable

if TYPE_CHECKING:
    from ntl_jax.train.asking.asker import Asker, Sample

SOURCE = "RUN_OR_MODEL"
OPTIONS = {
    "max_tokens": "rollout.max_tokens", "max_prompt_tokens": "data.max_prompt_tokens", "seed": "seed",
    "engine": "rollout.engine", "mesh": "model.mesh", "n": "rollout.num_samples",
}  # fmt: skip
"""The settings that the options change."""
MOST_SAMPLES = 10_000
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
            from ntl_jax.train import RewardError, WorkersLostError  # loaded by now, if it is one of them

            if not isinstance(error, RewardError | WorkersLostError):
                raise
        message = explain(error, pathlib.Path("standard output"), "ask again")
        named = message.replace(f"model.path={args.source!r}", f"{SOURCE}={args.source!r}")
        return leave(f"error: {as_options(named, OPTIONS)}", code=1)
    return 0


def sample(args: argparse.Namespace) -> None:
    """Answers the questions of a command line.

    Raises:
        ValueError: for a source that is neither a run nor a model, a run without a checkpoint, questions that cannot be
            asked, or wrong settings.
    """
    source = PolicySource.of(args.source, args.checkpoint)
    config, temperature = _settings(args, source.config), _temperature(args, source.config)
    config.validate(source.config)
    questions = _questions(args)
    announce(f"asking {args.source}", file=sys.stderr)
    # Imported here: importing JAX would make --help take seconds.
    from ntl_jax.train.asking.asker import Asker

    with contextlib.closing(Asker(source, config, num_samples=args.n, temperature=temperature)) as asker:
        prompts = asker.encode(questions or [], args.truth or "")
        how = "greedy" if temperature == 0 else f"temperature {temperature:g}"
        print(f"{printable(asker.load())}, {how}; compiling and sampling", file=sys.stderr, flush=True)
        if questions is None:
            _answer_typed(asker, args)
            return
        for first in range(0, len(prompts), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            for question, samples in zip(questions[part], asker(prompts[part]), strict=True):
                _show(question, samples, args, titled=len(prompts) > 1)


def _answer_typed(asker: "Asker", args: argparse.Namespace) -> None:
    """Answers what is typed at a terminal, until the end of the input; a question that cannot be asked is named."""
    for question in _typed():
        try:
            (prompt,) = asker.encode([question])
        except ValueError as error:
            leave(f"error: {as_options(str(error), OPTIONS)}", code=1)
            continue
        _show(question, asker([prompt])[0], args, titled=False)


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
    if sys.stdin.isatty():
        if args.truth is not None:
            raise ValueError(f"--truth={args.truth} is the answer to one question: give it as an argument, in quotes")
        return None
    try:
        questions = [line.strip() for line in sys.stdin if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text: {error}") from error
    if not questions:
        raise ValueError("standard input has no question: write one a line, or give it as an argument, in quotes")
    if args.truth is not None and len(questions) > 1:
        raise ValueError(f"--truth={args.truth} is the answer to one question, and there are {len(questions):,}")
    return questions


def _typed() -> Iterator[str]:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  lets a line be edited
    with contextlib.suppress(EOFError):
        while True:
            if question := input("question: ").strip():
                yield question


def _settings(args: argparse.Namespace, base: RunConfig) -> RunConfig:
    """The settings of the run or model, changed by the options; responses may be shorter than a penalty's tail."""
    return dataclasses.replace(
        base,
        seed=base.seed if args.seed is None else args.seed,
        model=changed(base.model, mesh=args.mesh and tuple(args.mesh)),
        data=changed(base.data, max_prompt_tokens=args.max_prompt_tokens),
        rollout=changed(base.rollout, max_tokens=args.max_tokens, engine=args.engine),
        algorithm=dataclasses.replace(base.algorithm, overlong="keep"),
    )


def _temperature(args: argparse.Namespace, base: RunConfig) -> float:
    """Of sampling: greedy for one response, and as in training for several, unless it is given."""
    if not 1 <= args.n <= MOST_SAMPLES:
        raise ValueError(f"--n={args.n}: must lie in [1, {MOST_SAMPLES:,}]")
    if args.temperature is None:
        return 0.0 if args.n == 1 else base.rollout.temperature
    if not 0 <= args.temperature < math.inf:
        raise ValueError(f"--temperature={args.temperature:g}: must be at least 0 (greedy) and finite")
    if args.temperature == 0 and args.n > 1:
        raise ValueError(f"--n={args.n} with --temperature=0: greedy responses are all the same: leave out one of them")
    return args.temperature


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launch/sample.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = functools.partial(parser.add_argument, action=Once)
    add("source", metavar=SOURCE, help="run folder, model folder or name on the hub")
    add("question", metavar="QUESTION", nargs="?", help="in quotes; by default, standard input has one a line")
    add("--checkpoint", choices=("newest", "best"), help="of a run's last stage, newest by default; best: held-out")
    add("--n", type=int, default=1, metavar="N", help="responses to a question; for several, how often which answer")
    add("--truth", metavar="ANSWER", help="the true answer: responses are judged and rewarded")
    add("--temperature", type=float, metavar="X", help="0: greedy, the default for one response; else the run's")
    add("--max-tokens", type=int, metavar="N", help="longest response; default: the run's, or 512 for a model")
    add("--max-prompt-tokens", type=int, metavar="N", help="longest prompt; default: the run's, or 2048 for a model")
    add("--seed", type=int, metavar="N", help="of sampling; default: the run's")
    add("--engine", choices=("jax", "vllm", "pool"), help="rollout engine; default: the run's, or jax for a model")
    add("--mesh", type=int, nargs=3, metavar="N", help="devices along data, fsdp and tensor")
    parser.add_argument("--json", action="store_true", help="one JSON object a response, with its ids and log-probs")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""Prepares and shows problems: python launch/data.py prepare SOURCE OUT, or python launch/data.py show SOURCE

SOURCE is a file (jsonl, json, csv, tsv, parquet, also compressed), a saved data set of Hugging Face, or one of its hub,
as in data.train (docs/data.md). `prepare` checks every row and writes those that are left to a new jsonl or parquet
file, which data.train takes without further settings. `show` prints rows as the policy will see them.
"""

from ntl_jax.ending import end_at_signals, explain, leave

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import argparse
import collections
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ntl_jax.command_line import Once, PathOnce, announce, parse_once
from ntl_jax.config import FieldsSection, RunConfig, changed, from_home, printable
from ntl_jax.config_files import load_config
from ntl_jax.console import command
from ntl_jax.policy_options import AskedPolicy

if TYPE_CHECKING:
    from ntl_jax.data import Problem
    from ntl_jax.data.marked import Piece

ROLES = tuple(field.name for field in dataclasses.fields(FieldsSection))
COMMANDS = ("prepare", "show")
ENDINGS = (".jsonl", ".parquet")
"""Of files that are written."""
MOST_ROWS = 1000
"""To show."""
STYLES = {"plain": "", "special": "bold magenta", "number": "cyan", "truth": "bold green"}
LEGEND = "[[special token]], {number token}, {number token:what should stand there}"


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message, 2 the command line is wrong.
    """
    if not argv or argv[0] not in COMMANDS:
        if {"-h", "--help"} & set(argv):
            print(f"{__doc__}\n{command('data')} prepare --help and ... show --help list their options")
            return 0
        given = f"{argv[0]!r} is no command" if argv else "a command is missing"
        ways = f"{command('data')} prepare SOURCE OUT, or {command('data')} show SOURCE"
        return leave(f"error: {given}: {ways}", code=2)
    name = argv[0]
    args = parse_once(_parser(name), argv[1:])
    try:
        lines = prepare(args) if name == "prepare" else show(args)
    except (ValueError, OSError) as error:
        out = args.out if name == "prepare" else pathlib.Path()
        return leave(f"error: {_with_options(explain(error, out, 'start again'))}", code=1)
    print(printable("\n".join(lines)))
    return 0


def prepare(args: argparse.Namespace) -> list[str]:
    """Reads, checks and writes; returns what to say.

    Raises:
        ValueError: for a source or rows that cannot be used, and files that are there or cannot be written.
    """
    if args.limit is not None and args.limit < 1:
        raise ValueError(f"--limit={args.limit}: must be at least 1")
    count, other = (0, None) if args.hold_out is None else (_count(args.hold_out[0]), from_home(args.hold_out[1]))
    files = [file for file in (args.out, other) if file is not None]
    for name, file in zip(("OUT", "--hold-out"), files, strict=False):
        _check_new(name, file)
    if len({file.resolve() for file in files}) < len(files):
        raise ValueError(f"--hold-out names {other}, to which the other rows are written: name another file")
    announce(f"reading {args.source}")
    from ntl_jax.data.files import load_problems
    from ntl_jax.data.files.write import split_off

    reading = {"on_bad_row": args.on_bad_row, "numeric": not args.texts, "setting": "SOURCE"}
    problems, skipped = load_problems([args.source], _fields(args), **reading)
    num_rows, problems = len(problems) + skipped, problems[: args.limit]
    if count >= len(problems):
        raise ValueError(f"--hold-out={count}: there are {len(problems):,} rows, and some must be left: lower it")
    parts = split_off(problems, count, args.seed)[: len(files)]
    if not parts[-1]:
        raise ValueError(
            f"--hold-out={count}: no rows can be held out, since every question has more rows than that, and those of "
            "a question stay together: raise it, or leave repeated rows out"
        )
    _write(files, [_content(file, part) for file, part in zip(files, parts, strict=True)])
    again = sum(count - 1 for count in collections.Counter(problem.text for problem in problems).values())
    wrote = " and ".join(f"{len(part):,} to {file}" for file, part in zip(files, parts, strict=True))
    counts = f"{skipped:,} malformed and left out, {again:,} with a question of an earlier row"
    return [f"read {num_rows:,} rows: {counts}; wrote {wrote}"]


def show(args: argparse.Namespace) -> list[str]:
    """Prints rows as the policy will see them; returns what to say after them.

    Raises:
        ValueError: for a source, rows, a configuration or a policy that cannot be used.
    """
    if not 1 <= args.rows <= MOST_ROWS:
        raise ValueError(f"--rows={args.rows}: must lie in [1, {MOST_ROWS:,}]")
    config = _config(args)
    config.validate(config)
    announce(f"reading {args.source}")
    # Imported here: importing JAX would make --help take seconds.
    import numpy as np
    from rich.console import Console
    from rich.text import Text

    from ntl_jax.data import encode_solutions
    from ntl_jax.data.marked import mark_tokens
    from ntl_jax.numerals import TokenDecoder, label_response, sampled_numbers
    from ntl_jax.train.factory import build_task
    from ntl_jax.train.policy import build_policy
    from ntl_jax.train.prompts import build_prompts

    task, policy = build_task(config, new=False), build_policy(config)
    prompts = build_prompts(config, task, policy.tokenizer, trains=False)
    around = {"reply": prompts.reply, "end": prompts.end}
    solutions, _ = encode_solutions(prompts.held_out, policy.tokenizer, max_tokens=sys.maxsize, **around)
    console, decode = Console(highlight=False), TokenDecoder(policy.tokenizer)
    values = np.asarray(policy.table.token_values)

    def print_pieces(pieces: Sequence["Piece"]) -> None:
        console.print(Text.assemble(*((printable(str(x)), STYLES[x.mark]) for x in pieces)), soft_wrap=True)

    console.print(Text(f"marks: {LEGEND}"), soft_wrap=True)
    for prompt, ids in solutions:
        text, starts = decode(ids)
        labels = label_response(
            text, starts, sampled_numbers(ids, values), prompt.ground_truth,
            answer=task.answer_of(text), mode="hybrid", markers=task.markers,
        )  # fmt: skip
        about = f"row {prompt.index + 1} of {prompt.data_source}: true answer {prompt.ground_truth!r}, prompt of "
        about += f"{len(prompt.ids):,} tokens, solution of {len(ids):,}"
        console.print(Text(f"\n{printable(about)}", "bold"), soft_wrap=True)
        print_pieces(mark_tokens(prompt.ids, policy.tokenizer, values))
        console.print(Text("solution:", "bold"))
        print_pieces(mark_tokens(ids, policy.tokenizer, values, labels.truth.tolist()))
    left_out = prompts.about.partition("; left out: ")[2]
    return ["", f"rows shown: {len(prompts.held_out):,}" + (f"; left out: {left_out}" if left_out else "")]


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{command('data')} {name}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = functools.partial(parser.add_argument, action=Once)
    add("source", metavar="SOURCE", help="file, folder of a saved data set, or OWNER/NAME, OWNER/NAME:SPLIT, ...")
    if name == "prepare":
        parser.add_argument("out", metavar="OUT", action=PathOnce, help="new file, .jsonl or .parquet")
        add("--limit", type=int, metavar="N", help="only the first N rows")
        add("--hold-out", nargs=2, metavar=("N", "FILE"), help="N rows, drawn at random, go to another file")
        add("--seed", type=int, default=0, metavar="N", help="seed of that draw, 0 by default")
    else:
        add("--rows", type=int, default=3, metavar="N", help="how many rows, 3 by default")
        add("--config", metavar="NAME", help="a configuration, as for launch/train.py")
        add("--model", metavar="RUN_OR_MODEL", help="a run folder, or a model whose tokenizer writes the prompts")
        add("--tokenizer", metavar="DIR", help="another tokenizer")
    for role in ROLES:
        add(f"--fields.{role}", metavar="NAME", help=f"field that holds the {role} (default: found by its usual names)")
    add("--on-bad-row", choices=("error", "skip"), default="error", help="malformed rows stop, or are left out")
    parser.add_argument("--texts", action="store_true", help="answers may be texts, for a reward function of your own")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError(f"--hold-out={text}: must be a whole number of rows, at least 1, before the file")
    return int(text)


def _check_new(name: str, file: pathlib.Path) -> None:
    """Raises a ValueError unless the file is new and can be written in a format that is read."""
    if file.suffix not in ENDINGS:
        raise ValueError(f"{name}={file}: must end in {' or '.join(ENDINGS)}, which says how to write it")
    if os.path.lexists(file):
        raise ValueError(f"{name}={file} already exists: name another file, or remove it first")
    above = file.absolute().parent
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(f"{name}={file} cannot be written: {above} is no folder that you may write to; make it first")


def _content(file: pathlib.Path, problems: Sequence["Problem"]) -> str | bytes:
    from ntl_jax.data.files import as_parquet
    from ntl_jax.data.files.write import problem_row
    from ntl_jax.metrics.atomic_files import as_line

    rows = [problem_row(problem) for problem in problems]
    if file.suffix == ".parquet":
        return as_parquet(rows)
    try:
        return "".join(map(as_line, rows))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: `extra_info` holds what JSON has not ({error}): write a .parquet file") from error


def _write(files: Sequence[pathlib.Path], contents: Sequence[str | bytes]) -> None:
    """Writes all of the files or, if one cannot be written, none."""
    from ntl_jax.metrics.atomic_files import write_whole

    for i, (file, content) in enumerate(zip(files, contents, strict=True)):
        try:
            write_whole(file, content)
        except OSError:
            for written in files[:i]:
                written.unlink()
            raise


def _fields(args: argparse.Namespace, base: FieldsSection | None = None) -> FieldsSection:
    return changed(base or FieldsSection(), **{role: vars(args)[f"fields.{role}"] for role in ROLES})


def _config(args: argparse.Namespace) -> RunConfig:
    """The settings of the configuration, run or model, with the source as held-out problems."""
    if args.config is not None and args.model is not None:
        raise ValueError(f"--config={args.config} and --model={args.model} both say how prompts are made: give one")
    base = RunConfig()
    if args.config is not None:
        base = load_config(args.config)
    elif args.model is not None:
        base = AskedPolicy.of(args.model).config
    limit = base.data.max_prompt_tokens if args.config or args.model else sys.maxsize
    data = dataclasses.replace(
        base.data,
        max_prompt_tokens=limit,
        train=base.data.train if base.prompt.few_shot else (),
        eval=(args.source,),
        weights=(),
        fields=_fields(args, base.data.fields),
        num_train=max(base.rollout.prompts_per_step, base.prompt.few_shot + 1),
        on_bad_row=args.on_bad_row,
        tokenizer=args.tokenizer or base.data.tokenizer,
    )
    reward = dataclasses.replace(base.reward, function="own:own") if args.texts else base.reward
    trainer = dataclasses.replace(base.trainer, eval_problems=args.rows)
    return dataclasses.replace(base, data=data, reward=reward, trainer=trainer)


def _with_options(message: str) -> str:
    """A message about settings with the names of the arguments that set them."""
    for setting, option in {
        "data.eval=": "SOURCE=", "data.fields.": "--fields.", "data.on_bad_row=": "--on-bad-row=",
        "model.path=": "--model=", "data.tokenizer=": "--tokenizer=",
        "texts need a reward.function of your own": "--texts allows texts, for a reward function of your own",
    }.items():  # fmt: skip
        message = message.replace(setting, option)
    return message


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

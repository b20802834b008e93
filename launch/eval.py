# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy on held-out problems: python launch/eval.py RUN_OR_MODEL

RUN_OR_MODEL is a run folder of launch/train.py, or a model (a folder, such as launch/export.py makes, a GGUF file, or a
name on the hub). Settings are those of the run, or the defaults; the options below override them. Prints a table and
writes a folder with metrics.json and examples.jsonl: every problem with its responses.
"""

from ntl_jax.ending import end_at_signals, explain, leave, warn

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import argparse
import contextlib
import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ntl_jax.command_line import Once, PathOnce, announce, check_unused, parse_once
from ntl_jax.config import FieldsSection, RunConfig, changed, printable
from ntl_jax.policy_options import PolicySource, add_policy_options, as_options, policy_settings
from ntl_jax.run_folder import new_folder

if TYPE_CHECKING:
    from ntl_jax.train.evaluation import Evaluation

ROLES = tuple(field.name for field in dataclasses.fields(FieldsSection))
OPTIONS = {
    **{f"fields.{role}": f"data.fields.{role}" for role in ROLES},
    "data": "data.eval", "problems": "trainer.eval_problems", "samples": "trainer.eval_samples",
    "temperature": "trainer.eval_temperature", "top_p": "trainer.eval_top_p",
}  # fmt: skip
"""The settings that the options change, besides those of `ntl_jax.policy_options`."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message.
    """
    args = parse_once(_parser(), argv)
    try:
        print(printable(f"written to {evaluate(args)}"))
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError):
            from ntl_jax.train import OutOfMemoryError, RewardError, WorkersLostError  # loaded by now, if it is one

            if not isinstance(error, OutOfMemoryError | RewardError | WorkersLostError):
                raise
        message = explain(error, args.output or pathlib.Path("runs"), "evaluate again")
        return leave(f"error: {as_options(message, args.source, OPTIONS)}", code=1)
    return 0


def evaluate(args: argparse.Namespace) -> pathlib.Path:
    """Evaluates, prints, writes; returns the folder.

    Raises:
        ValueError: for a source that is neither a run nor a model, a run without a checkpoint, an output folder that
            is in use, or wrong settings.
    """
    source = PolicySource.of(args.source, args.checkpoint, config=args.config)
    check_unused(args.output, "--output")
    config = _settings(args, source.config)
    config.validate(source.config)
    announce(f"evaluating {args.source}")
    about, evaluation = _evaluation(source, config)
    from ntl_jax.metrics import finite, print_comparison, write_rows, write_whole
    from ntl_jax.train.evaluation import evaluation_metrics, examples, unrewarded

    metrics = evaluation_metrics(evaluation)
    print_comparison(("value",), {name: (f"{value:.4g}",) for name, value in metrics.items()})
    folder = args.output or new_folder(f"eval-{config.name}")
    write_rows(folder / "examples.jsonl", examples(evaluation))
    summary = about | {"metrics": finite(metrics), "config": dataclasses.asdict(config)}
    write_whole(folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
    if said := unrewarded(evaluation):
        warn(f"{said}; {folder / 'examples.jsonl'} holds every reason")
    return folder


def _evaluation(source: PolicySource, config: RunConfig) -> tuple[dict[str, str], "Evaluation"]:
    """What was evaluated how, for people, and the responses."""
    # Imported here: importing JAX would make --help take seconds.
    from ntl_jax.compilation_cache import keep_programs
    from ntl_jax.data import encode_solutions
    from ntl_jax.metrics import print_header
    from ntl_jax.records import Version, Weights
    from ntl_jax.train.asking.source import source_policy, source_weights
    from ntl_jax.train.engines import build_engine, check_cache, check_packages
    from ntl_jax.train.factory import build_evaluator, build_scoring, build_task, check_lengths
    from ntl_jax.train.header import describe_evaluation, describe_prompt
    from ntl_jax.train.journal.memory_use import explained, sampling_uses
    from ntl_jax.train.prompts import build_prompts

    check_packages(config)
    keep_programs(config.trainer.compilation_cache)
    task, policy = build_task(config, new=False), source_policy(source, config)
    prompts = build_prompts(config, task, policy.tokenizer, trains=False)
    check_lengths(config, policy, prompts)
    cache = check_cache(config, policy, max_prompt_tokens=prompts.longest, num_held_out=len(prompts.held_out))
    with contextlib.ExitStack() as stack:
        stack.enter_context(explained(sampling_uses(config, policy, cache)))
        scorer, digits = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
        stack.callback(scorer.close)
        asked, around = prompts.held_out[:1], {"gap": prompts.gap, "end": prompts.end}
        ((first, solution_ids),), _ = encode_solutions(asked, policy.tokenizer, max_tokens=sys.maxsize, **around)
        scorer.try_out(first, solution_ids)
        name, params = source_weights(source, policy, seed=config.seed)
        about = {
            "policy": name,
            "prompts": prompts.written,
            "first prompt": describe_prompt(first, policy.tokenizer),
            "evaluation": describe_evaluation(config, len(prompts.held_out)),
        }
        print_header(about)
        print("compiling and sampling", flush=True)
        engine = stack.enter_context(
            contextlib.closing(build_engine(config, policy, max_prompt_tokens=prompts.longest))
        )
        evaluator = build_evaluator(config, policy, prompts, engine, scorer, digits)
        return about, evaluator(Weights(Version(0), params))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launch/eval.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_policy_options(parser)
    add = functools.partial(parser.add_argument, action=Once)
    add("--data", nargs="+", metavar="SOURCE", help="whole files or data sets instead of the run's held-out problems")
    for role in ROLES:
        add(f"--fields.{role}", metavar="NAME", help=f"field that holds the {role} (default: found by its usual names)")
    add("--problems", type=int, metavar="N", help="only the first N problems")
    add("--samples", type=int, metavar="K", help="samples per problem, besides the greedy one: mean@K, maj@K, pass@k")
    add("--temperature", type=float, metavar="X", help="of the samples")
    add("--top-p", type=float, metavar="X", help="of the samples")
    add("--output", action=PathOnce, metavar="DIR", help="folder to write to; by default runs/eval-NAME-TIME-SUFFIX")
    return parser


def _settings(args: argparse.Namespace, base: RunConfig) -> RunConfig:
    """The settings of the run or model, changed by the options.

    Training problems are only read where a prompt shows some of them.
    """
    config = policy_settings(args, base)
    few_shot = config.prompt.few_shot
    data = config.data if few_shot else dataclasses.replace(config.data, train=(), weights=())
    standard = base.trainer.eval_problems if args.data is None else None  # a file is used whole
    num_problems = standard if args.problems is None else args.problems
    return dataclasses.replace(
        config,
        data=changed(
            data,
            eval=args.data and tuple(args.data),
            fields=changed(base.data.fields, **{role: vars(args)[f"fields.{role}"] for role in ROLES}),
            num_train=max(base.rollout.prompts_per_step, few_shot + 1),
        ),
        trainer=changed(
            dataclasses.replace(base.trainer, eval_problems=num_problems),
            eval_samples=args.samples,
            eval_temperature=args.temperature,
            eval_top_p=args.top_p,
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

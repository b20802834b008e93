# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy on held-out problems: python launch/eval.py RUN_OR_MODEL

RUN_OR_MODEL is a run folder of launch/train.py, or a model (a folder, such as launch/export.py makes, a GGUF file, or a
name on the hub). Settings are those of the run, or the defaults; the options below override them. Prints a table and
writes a folder with metrics.json and examples.jsonl: every problem with its responses.

With --suite=numeric the policy answers generated arithmetic by operation and size of numbers, problems of reasoning-gym
and, with --data, of files; the table says how near its answers are. --against=OTHER compares two policies there.
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
from ntl_jax.config import (
    DataSection,
    FieldsSection,
    RunConfig,
    TrainerSection,
    changed,
    from_home,
    holds_run,
    is_own,
    printable,
)
from ntl_jax.console import command
from ntl_jax.policy_options import RUN_OR_MODEL, AskedPolicy, add_policy_options, as_options, policy_settings
from ntl_jax.run_folder import new_folder

if TYPE_CHECKING:
    from ntl_jax.tasks import NumericSuite
    from ntl_jax.train.evaluation import Evaluation

ROLES = tuple(field.name for field in dataclasses.fields(FieldsSection))
OPTIONS = {
    **{f"fields.{role}": f"data.fields.{role}" for role in ROLES},
    "data": "data.eval", "problems": "trainer.eval_problems", "samples": "trainer.eval_samples",
    "temperature": "trainer.eval_temperature", "top_p": "trainer.eval_top_p",
}  # fmt: skip
"""The settings that the options change, besides those of `ntl_jax.policy_options`."""


SUITE_PROBLEMS, SUITE_SAMPLES = 32, 4
"""Of each part of a suite, unless it is a file; and of each problem, unless the run says it."""
MOST_OF_PART = 1_000


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message.
    """
    args = parse_once(_parser(), argv)
    try:
        folder = evaluate(args) if args.suite is None else evaluate_suite(args)
        print(printable(f"written to {folder}"))
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError):
            from ntl_jax.train import OutOfMemoryError, RewardError, WorkersLostError  # loaded by now, if it is one

            if not isinstance(error, OutOfMemoryError | RewardError | WorkersLostError):
                raise
        message = explain(error, args.output or pathlib.Path("runs"), "evaluate again")
        message = message.replace(f"model.path={args.against!r}", f"--against={args.against!r}")
        return leave(f"error: {as_options(message, args.policy, OPTIONS)}", code=1)
    return 0


def evaluate(args: argparse.Namespace) -> pathlib.Path:
    """Evaluates, prints, writes; returns the folder.

    Raises:
        ValueError: for an argument that is neither a run nor a model, a run without a checkpoint, an output folder
            that is in use, or wrong settings.
    """
    if args.against is not None:
        raise ValueError(f"--against={args.against} compares answers to a suite: add --suite=numeric, or leave it out")
    asked = AskedPolicy.of(args.policy, args.checkpoint, config=args.config)
    check_unused(args.output, "--output")
    config = _settings(args, asked)
    config.validate(asked.config)
    announce(f"evaluating {args.policy}")
    about, evaluation = _evaluation(asked, config)
    from ntl_jax.metrics import finite, print_comparison, write_rows, write_whole
    from ntl_jax.train.evaluation import evaluation_metrics, evaluation_rows, unrewarded

    metrics = evaluation_metrics(evaluation)
    print_comparison(("value",), {name: (f"{value:.4g}",) for name, value in metrics.items()})
    folder = args.output or new_folder(f"eval-{config.name}")
    write_rows(folder / "examples.jsonl", evaluation_rows(evaluation))
    summary = about | {"metrics": finite(metrics), "config": dataclasses.asdict(config)}
    write_whole(folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
    if said := unrewarded(evaluation):
        warn(f"{said}; {folder / 'examples.jsonl'} holds every reason")
    return folder


def evaluate_suite(args: argparse.Namespace) -> pathlib.Path:
    """Evaluates one policy on a suite, or compares two, prints, writes; returns the folder.

    Raises:
        ValueError: as `evaluate`, and for two answers to what is asked, or a policy that is compared with itself.
    """
    asked = _asked_by_suite(args)
    check_unused(args.output, "--output")
    settings = [_settings(args, policy) for policy in asked]
    for policy, config in zip(asked, settings, strict=True):
        config.validate(policy.config)
    announce(f"evaluating {' against '.join(policy.given for policy in asked)}")
    from ntl_jax.metrics import write_rows, write_whole
    from ntl_jax.tasks import NumericSuite
    from ntl_jax.train.asking.asked_policy import check_asked
    from ntl_jax.train.asking.suite import measure, report, suite_settings
    from ntl_jax.train.evaluation import evaluation_rows

    config = settings[0]
    trained = asked[0].config.data if asked[0].is_run or args.config is not None else None
    files = {"files": config.data.eval if args.data else (), "fields": config.data.fields}
    files |= {"num_of_file": args.problems, "on_bad_row": config.data.on_bad_row}
    suite = NumericSuite(config.trainer.eval_problems or SUITE_PROBLEMS, trained, **files)
    for policy, own in reversed([*zip(asked, settings, strict=True)]):  # the other would be found late
        check_asked(policy, own)
    folder, summary, measured = args.output or new_folder(f"suite-{config.name}"), {"suite": args.suite}, []
    for name, policy, own in zip(("policy", "against"), asked, settings, strict=False):
        about, evaluation = _evaluation(policy, suite_settings(own), suite)
        measured.append(measure(evaluation))
        write_rows(folder / ("examples.jsonl" if name == "policy" else "against.jsonl"), evaluation_rows(evaluation))
        summary |= {name: about.pop("policy"), f"{name}_asked": about, f"{name}_config": dataclasses.asdict(own)}
    summary["rows"] = report(suite.parts, *measured)
    write_whole(folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
    return folder


def _asked_by_suite(args: argparse.Namespace) -> list[AskedPolicy]:
    """The policy and the one it is compared with; options that only fit a run, or a model, are for those that are."""
    if args.task is not None:
        raise ValueError(f"--task={args.task} and --suite={args.suite} both say what is asked: give one")
    if args.problems is not None and args.problems > MOST_OF_PART:
        raise ValueError(f"--problems={args.problems}: a part of a suite has at most {MOST_OF_PART:,}: lower it")
    asked = [AskedPolicy.of(args.policy, args.checkpoint, config=args.config)]
    if args.against is None:
        return asked
    other, folder = args.against, from_home(args.against)
    if other == args.policy or (folder.exists() and folder.resolve() == from_home(args.policy).resolve()):
        raise ValueError(f"--against={other} is RUN_OR_MODEL itself: name another run or model, or leave it out")
    is_run = holds_run(folder)
    checkpoint, config = (args.checkpoint, None) if is_run else (None, args.config)
    return [*asked, AskedPolicy.of(other, checkpoint, config=config)]


def _evaluation(
    asked: AskedPolicy, config: RunConfig, suite: "NumericSuite | None" = None
) -> tuple[dict[str, str], "Evaluation"]:
    """What was evaluated how, for people, and the responses; to the problems of a suite, if there is one."""
    # Imported here: importing JAX would make --help take seconds.
    from ntl_jax.compilation_cache import keep_programs
    from ntl_jax.data import encode_solutions
    from ntl_jax.metrics import print_header
    from ntl_jax.records import Version, Weights
    from ntl_jax.tasks import describe_answers
    from ntl_jax.train.asking.asked_policy import asked_policy, asked_weights
    from ntl_jax.train.asking.suite import suite_task
    from ntl_jax.train.engines import build_engine, check_packages, fit_slots
    from ntl_jax.train.factory import build_evaluator, build_scoring, build_task, check_lengths
    from ntl_jax.train.header import describe_evaluation, describe_prompt
    from ntl_jax.train.journal.memory_use import explained, sampling_uses
    from ntl_jax.train.prompts import build_prompts

    check_packages(config)
    keep_programs(config.trainer.compilation_cache)
    task = build_task(config, new=False) if suite is None else suite_task(suite, config)
    policy, data = asked_policy(asked, config), config.data if suite is None else DataSection()
    prompts = build_prompts(config, task, policy.tokenizer, trains=False)
    check_lengths(config, policy, prompts)
    groups = _groups(config, len(prompts.held_out))
    sampling, cache = fit_slots(config, policy, groups, max_prompt_tokens=prompts.longest)
    with contextlib.ExitStack() as stack:
        stack.enter_context(explained(sampling_uses(config, policy, cache)))
        scorer, digits = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
        stack.callback(scorer.close)
        first, around = prompts.held_out[0], {"reply": prompts.reply, "end": prompts.end}
        ((_, solution_ids),), _ = encode_solutions([first], policy.tokenizer, max_tokens=sys.maxsize, **around)
        scorer.try_out(first, solution_ids)
        name, params = asked_weights(asked, policy, seed=config.seed, elsewhere=config.trainer.checkpoint_folder)
        about = {
            "policy": name,
            "prompts": prompts.written,
            "first prompt": describe_prompt(first, policy.tokenizer),
            "answers": describe_answers(config.answer, data),
            "evaluation": describe_evaluation(config, len(prompts.held_out), suite and suite.about),
        }
        print_header(about)
        print("compiling and sampling", flush=True)
        engine = stack.enter_context(
            contextlib.closing(build_engine(sampling, policy, max_prompt_tokens=prompts.longest))
        )
        evaluator = build_evaluator(config, policy, prompts, engine, scorer, digits)
        return about, evaluator(Weights(Version(0), params))


def _groups(config: RunConfig, num_problems: int) -> dict[str, tuple[int, int]]:
    """Samples of a problem, and number of problems, by the setting that decides how much memory the samples take."""
    samples = config.trainer.eval_samples
    sampled = {f"trainer.eval_samples={samples}": (samples, num_problems)} if samples else {}
    return {"model.mesh": (1, num_problems), **sampled}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("eval"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_policy_options(parser)
    add = functools.partial(parser.add_argument, action=Once)
    add("--data", nargs="+", metavar="SOURCE", help="whole files or data sets instead of the run's held-out problems")
    for role in ROLES:
        add(f"--fields.{role}", metavar="NAME", help=f"field that holds the {role} (default: found by its usual names)")
    add("--suite", choices=("numeric",), help="problems in parts, by operation, size of numbers and generator")
    add("--against", metavar=RUN_OR_MODEL, help="another policy to compare with on the suite")
    add("--problems", type=int, metavar="N", help="only the first N problems, or N in each part of a suite")
    add("--samples", type=int, metavar="K", help="samples per problem, besides the greedy one: mean@K, maj@K, pass@k")
    add("--temperature", type=float, metavar="X", help="of the samples")
    add("--top-p", type=float, metavar="X", help="of the samples")
    add("--output", action=PathOnce, metavar="DIR", help="folder to write to; by default runs/eval-NAME-TIME-SUFFIX")
    return parser


def _settings(args: argparse.Namespace, asked: AskedPolicy) -> RunConfig:
    """The settings of the run or model, changed by the options.

    Training problems are only read where a prompt shows some of them.

    Raises:
        ValueError: for two answers to what is asked, and as `policy_settings`.
    """
    if args.task is not None and args.data is not None:
        raise ValueError(f"--task={args.task} and --data={' '.join(args.data)} both say what is asked: give one")
    config, base = policy_settings(args, asked), asked.config
    few_shot = config.prompt.few_shot
    data = config.data if few_shot else dataclasses.replace(config.data, train=(), weights=())
    num_train = None if data.train or is_own(data.task) else max(base.rollout.prompts_per_step, few_shot + 1)
    standard = base.trainer.eval_problems if args.data is None else None  # a file is used whole
    if args.task is not None and not is_own(args.task):  # generated problems have no end
        standard = standard or TrainerSection().eval_problems
    samples = args.samples
    if args.suite is not None:
        standard, samples = SUITE_PROBLEMS, (base.trainer.eval_samples or SUITE_SAMPLES) if samples is None else samples
    num_problems = standard if args.problems is None else args.problems
    return dataclasses.replace(
        config,
        data=changed(
            data,
            eval=args.data and tuple(args.data),
            fields=changed(config.data.fields, **{role: vars(args)[f"fields.{role}"] for role in ROLES}),
            num_train=num_train,
        ),
        trainer=changed(
            dataclasses.replace(base.trainer, eval_problems=num_problems),
            eval_samples=samples,
            eval_temperature=args.temperature,
            eval_top_p=args.top_p,
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""What commands have in common that ask a trained policy: which one, how prompts are written, what samples, and how
answers are read."""

import argparse
import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ntl_jax.command_line import Once
from ntl_jax.config import (
    AnswerSection,
    DataSection,
    RolloutSection,
    RunConfig,
    changed,
    from_home,
    holds_run,
    read_escapes,
    stored_config,
)
from ntl_jax.config_files import load_config

RUN_OR_MODEL = "RUN_OR_MODEL"
"""How the commands call the argument that names the policy."""
OPTIONS = {
    "task": "data.task", "max_prompt_tokens": "data.max_prompt_tokens", "max_tokens": "rollout.max_tokens",
    "template": "prompt.template", "system": "prompt.system", "few_shot": "prompt.few_shot", "suffix": "prompt.suffix",
    "prefix": "prompt.prefix", "stop_strings": "rollout.stop_strings", "engine": "rollout.engine", "mesh": "model.mesh",
    **{f"answer.{name}": f"answer.{name}" for name in ("form", "pattern", "tolerance", "verifier")},
}  # fmt: skip
"""The settings that the common options change."""
OF_PROMPT = ("template", "system", "few_shot", "suffix", "prefix")
OF_MODEL = RunConfig(name="model", data=DataSection(max_prompt_tokens=2048), rollout=RolloutSection(max_tokens=512))
"""Settings for a Hugging Face model: room for the solutions of GSM8K, and for examples before a question."""
DEFAULT = "the run's or the configuration's, else"
"""Of an option, in words that its value for a model without a configuration follows."""
TEMPLATE = r"auto, none, FILE.jinja or a text with {question}; \n \t \r \\ are escapes as in launch/train.py"


class AskedPolicy(NamedTuple):
    """A trained policy, as a command names it.

    Args:
        given: a run folder, the folder of a Hugging Face model, or a name on the hub.
        is_run: whether it is a run folder.
        checkpoint: which of a run's.
        config: the run's settings, or the defaults with ``model.path``.
    """

    given: str
    is_run: bool
    checkpoint: Literal["newest", "best"]
    config: RunConfig

    @classmethod
    def of(
        cls, given: str, checkpoint: Literal["newest", "best"] | None = None, *, config: str | None = None
    ) -> "AskedPolicy":
        """What a command line names.

        Args:
            given: a folder or a name.
            checkpoint: which of a run's, if the command line says it.
            config: name or path of a configuration whose settings a model is asked with, if the command line says it.

        Raises:
            ValueError: for a checkpoint of a model, a configuration for a run, and as `stored_config`, `load_config`.

        Example:
            >>> AskedPolicy.of("HuggingFaceTB/SmolLM2-135M-Instruct").config.rollout.max_tokens
            512
        """
        folder = from_home(given)
        if holds_run(folder):
            if config is not None:
                raise ValueError(f"--config={config}: {given} is a run, which has settings of its own: leave it out")
            return cls(given, True, checkpoint or "newest", stored_config(folder))
        if checkpoint is not None:
            raise ValueError(
                f"--checkpoint={checkpoint}: {given} is a model, and only run folders have checkpoints: "
                "leave it out, or give the run folder"
            )
        base = OF_MODEL if config is None else load_config(config)
        return cls(given, False, "newest", changed(base, model=changed(base.model, path=given)))


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Adds the common argument and options.

    Args:
        parser: of a command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_policy_options(parser)
        >>> parser.parse_args(["runs/mine", "--max-tokens=64"]).max_tokens
        64
    """
    add = functools.partial(parser.add_argument, action=Once)
    add("policy", metavar=RUN_OR_MODEL, help="run folder, model folder, GGUF file or name on the hub")
    add(
        "--checkpoint",
        choices=("newest", "best"),
        help="checkpoint of the run's last stage: the newest (default), or the one with the best held-out accuracy",
    )
    add("--config", metavar="NAME", help="settings for a model: a file of configs/, or the path of a .py file")
    add("--task", metavar="NAME", help="generated problems instead of those of files, as data.task names them")
    add("--template", metavar="TEXT", type=read_escapes, help=TEMPLATE)
    add("--system", metavar="TEXT", type=read_escapes, help="system message")
    add("--few-shot", type=int, metavar="N", help="training problems before each question, with their solutions")
    add("--suffix", metavar="TEXT", type=read_escapes, help="instruction after each question")
    add("--prefix", metavar="TEXT", type=read_escapes, help="beginning of every response")
    add("--max-prompt-tokens", type=int, metavar="N", help=f"longest prompt; default: {DEFAULT} 2048")
    add("--max-tokens", type=int, metavar="N", help=f"longest response; default: {DEFAULT} 512")
    add("--stop-strings", nargs="+", metavar="TEXT", help="texts that end a response, with escapes as in --template")
    add("--answer.form", choices=("auto", "line", "box", "last_number"), help="what in a response is its answer")
    add("--answer.pattern", metavar="REGEX", help="regular expression whose last match holds the answer in its group")
    add("--answer.tolerance", type=float, metavar="X", help="relative error up to which a number is right")
    add("--answer.verifier", choices=("none", "math_verify"), help="also right: what math-verify finds equal")
    add("--engine", choices=("jax", "vllm", "pool"), help=f"rollout engine; default: {DEFAULT} jax")
    add("--mesh", type=int, nargs=3, metavar="N", help="devices along data, fsdp and tensor")


def policy_settings(args: argparse.Namespace, asked: AskedPolicy) -> RunConfig:
    """The settings of a run or model, changed by the common options; a penalty's tail may exceed the responses.

    Args:
        args: with the common options.
        asked: the policy that they name.

    Raises:
        ValueError: for examples before the questions to a model of which no training problems are known.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_policy_options(parser)
        >>> args = parser.parse_args(["a/model", "--suffix=Be brief.", "--task=calculations", "--few-shot=2"])
        >>> policy_settings(args, AskedPolicy.of("a/model")).prompt.suffix
        'Be brief.'
    """
    base, stops = asked.config, args.stop_strings
    if args.few_shot and not asked.is_run and args.config is None and args.task is None:
        raise ValueError(
            f"--few-shot={args.few_shot}: {asked.given} is a model, of which no training problems are known: name a "
            "configuration whose data.train has some, with --config=FILE.py, or a task, with --task=NAME"
        )
    return changed(
        base,
        model=changed(base.model, mesh=args.mesh and tuple(args.mesh)),
        data=changed(_data(args, base.data), max_prompt_tokens=args.max_prompt_tokens),
        prompt=changed(base.prompt, **{name: getattr(args, name) for name in OF_PROMPT}),
        answer=_answer(args, base.answer),
        rollout=changed(
            base.rollout,
            max_tokens=args.max_tokens,
            stop_strings=stops and tuple(map(read_escapes, stops)),
            engine=args.engine,
        ),
        algorithm=changed(base.algorithm, overlong="keep"),
    )


def _data(args: argparse.Namespace, base: DataSection) -> DataSection:
    """The section with the task in the place of all sources, if there is one; other options belong to another task."""
    if args.task is None:
        return base
    options = base.task_options if args.task == base.task else ()
    return dataclasses.replace(base, task=args.task, task_options=options, train=(), eval=(), weights=())


def _answer(args: argparse.Namespace, base: AnswerSection) -> AnswerSection:
    """The section with the options; a form takes the place of the run's pattern, as a pattern does of a form."""
    given = {name: vars(args)[f"answer.{name}"] for name in ("form", "pattern", "tolerance", "verifier")}
    if given["form"] is not None:
        base = dataclasses.replace(base, pattern=None)
    return changed(base, **given)


def as_options(message: str, policy: str, more: Mapping[str, str]) -> str:
    """A message about settings that names the argument and the options which set them.

    Args:
        message: any text.
        policy: the argument.
        more: the setting of each option that the command has besides, without its dashes.

    Example:
        >>> as_options("model.path='a', rollout.max_tokens=0, seed=-1: a seed", "a", {"seed": "seed"})
        "RUN_OR_MODEL='a', --max-tokens=0, --seed=-1: a seed"
    """
    message = message.replace(f"model.path={policy!r}", f"{RUN_OR_MODEL}={policy!r}")
    for name, path in {**OPTIONS, **more}.items():
        end = r"\b" if "." in path else "(?==)"  # the name alone is a word of the language
        message = re.sub(rf"(?<![\w.-]){re.escape(path)}{end}", f"--{name.replace('_', '-')}", message)
    return message

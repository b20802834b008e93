# SPDX-License-Identifier: Apache-2.0
"""What commands have in common that ask a trained policy: which one, how prompts are written, what samples."""

import argparse
import functools
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ntl_jax.command_line import Once
from ntl_jax.config import (
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
    "prefix": "prompt.prefix", "engine": "rollout.engine", "mesh": "model.mesh",
}  # fmt: skip
"""The settings that the common options change."""
OF_PROMPT = ("template", "system", "few_shot", "suffix", "prefix")
OF_MODEL = RunConfig(name="model", data=DataSection(max_prompt_tokens=2048), rollout=RolloutSection(max_tokens=512))
"""Settings for a Hugging Face model: room for the solutions of GSM8K, and for examples before a question."""
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
    add("--checkpoint", choices=("newest", "best"), help="of a run's last stage, newest by default; best: held-out")
    add("--config", metavar="NAME", help="settings for a model: a file of configs/, or the path of a .py file")
    add("--task", metavar="NAME", help="generated problems, as data.task names them")
    add("--template", metavar="TEXT", type=read_escapes, help=TEMPLATE)
    add("--system", metavar="TEXT", type=read_escapes, help="system message")
    add("--few-shot", type=int, metavar="N", help="training problems before each question, with their solutions")
    add("--suffix", metavar="TEXT", type=read_escapes, help="instruction after each question")
    add("--prefix", metavar="TEXT", type=read_escapes, help="beginning of every response")
    add("--max-prompt-tokens", type=int, metavar="N", help="longest prompt; default: the run's, or 2048 for a model")
    add("--max-tokens", type=int, metavar="N", help="longest response; default: the run's, or 512 for a model")
    add("--engine", choices=("jax", "vllm", "pool"), help="rollout engine; default: the run's, or jax for a model")
    add("--mesh", type=int, nargs=3, metavar="N", help="devices along data, fsdp and tensor")


def policy_settings(args: argparse.Namespace, base: RunConfig) -> RunConfig:
    """The settings of a run or model, changed by the common options; a penalty's tail may exceed the responses.

    Args:
        args: with the common options.
        base: `AskedPolicy.config`.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_policy_options(parser)
        >>> policy_settings(parser.parse_args(["runs/mine", "--suffix=Be brief."]), RunConfig()).prompt.suffix
        'Be brief.'
    """
    return changed(
        base,
        model=changed(base.model, mesh=args.mesh and tuple(args.mesh)),
        data=changed(base.data, task=args.task, max_prompt_tokens=args.max_prompt_tokens),
        prompt=changed(base.prompt, **{name: getattr(args, name) for name in OF_PROMPT}),
        rollout=changed(base.rollout, max_tokens=args.max_tokens, engine=args.engine),
        algorithm=changed(base.algorithm, overlong="keep"),
    )


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

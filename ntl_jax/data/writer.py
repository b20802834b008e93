# SPDX-License-Identifier: Apache-2.0
"""Writes a problem as the text of its prompt, with system message, examples, instruction and response's beginning."""

import functools
import re
from collections.abc import Callable, Sequence

from ntl_jax.config import QUESTION, PromptSection
from ntl_jax.data.problems import Message, Problem
from ntl_jax.data.template import Template


class PromptWriter:
    """Writes the prompts of a run.

    Args:
        section: the ``prompt`` section.
        template: writes conversations.
        render: what a task asks, as text or as messages of which the last is the user's.
        examples: training problems to show with their solutions; one more than ``section.few_shot``, since a problem is
            never an example of itself. Their questions differ.

    Raises:
        ValueError: for a template that has no place for the system message or for earlier turns, and if there are too
            few examples.

    Example:
        >>> from ntl_jax.data.template import TextTemplate
        >>> problems = [Problem(0, "1+1?", "2", "2", "mine"), Problem(1, "2+2?", "4", "4", "mine")]
        >>> section = PromptSection(few_shot=1, suffix="Be brief.", prefix="It is")
        >>> write = PromptWriter(section, TextTemplate("{question}\\n"), lambda problem: problem.question, problems)
        >>> write(problems[1])
        '1+1? Be brief.\\nIt is 2\\n\\n2+2? Be brief.\\nIt is'
    """

    def __init__(
        self,
        section: PromptSection,
        template: Template,
        render: Callable[[Problem], str | Sequence[Message]],
        examples: Sequence[Problem] = (),
    ):
        self._section, self._template, self._render, self._examples = section, template, render, examples
        self._left_out = functools.lru_cache(maxsize=64)(self._find_left_out)  # rows often have the same
        wanted = section.few_shot
        if wanted and len(examples) <= wanted:
            raise ValueError(
                f"prompt.few_shot={wanted}: there are only {len(examples)} different training problems, and no problem "
                "is an example of itself: lower it, or add problems"
            )
        system = [{"role": "system", "content": section.system}] if section.system else []
        turns = [turn for problem in examples[:wanted] for turn in self._example(problem)]
        for name, before in {"system": system, "few_shot": turns}.items():
            self._check(f"prompt.{name}={getattr(section, name)!r}", before)

    def __call__(self, problem: Problem) -> str:
        """The prompt of a problem.

        Raises:
            ValueError: naming the problem, if the template leaves out one of its messages.
        """
        system, asked = self._asked(problem)
        roles = tuple(turn["role"] for turn in (*system, *asked))
        if (left_out := self._left_out(roles)) is not None:
            raise ValueError(
                f"{problem.place or f'problem {problem.index}'}: {self._template.about} leaves out what the {left_out} "
                f"says where there are messages of {', '.join(roles)}: use another prompt.template, or remove the "
                "message"
            )
        others = [example for example in self._examples if example.question != problem.question]
        shown = [turn for example in others[: self._section.few_shot] for turn in self._example(example)]
        text, prefix = self._template([*system, *shown, *asked]), self._section.prefix
        return text + self._template.gap + prefix if prefix else text

    def reply(self, solution: str) -> str:
        """What follows a prompt that has this solution. A solution that begins with the prefix does not repeat it.

        Between prompt and solution is the template's white space, or a blank after a prefix without any at its end.
        """
        prefix = self._section.prefix
        if prefix is None:
            return self._template.gap + solution
        begun = prefix.strip()
        same = re.match(rf"{re.escape(begun)}(?:(?<!\w)|(?![\w'’]))", solution) if begun else None
        rest = solution[same.end() :] if same else ""
        if prefix[-1].isspace():
            return rest.lstrip() or solution
        return rest if rest.strip() else f" {solution}"

    def _find_left_out(self, roles: Sequence[str]) -> str | None:
        """The first role whose message a template leaves out where messages have these roles."""
        turns = [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)]
        text = self._template(turns) if len(turns) > 1 else None  # one alone is looked for with its own text
        return None if text is None else next((turn["role"] for turn in turns if turn["content"] not in text), None)

    def _asked(self, problem: Problem) -> tuple[list[Message], list[Message]]:
        """The system message, if there is one, and the turns of a problem."""
        rendered = self._render(problem)
        turns = [{"role": "user", "content": rendered}] if isinstance(rendered, str) else [dict(x) for x in rendered]
        if not turns or turns[-1]["role"] != "user":
            raise ValueError(f"problem {problem.index}: the last message must be the user's, given {turns!r:.200}")
        if suffix := self._section.suffix:
            turns[-1]["content"] += suffix if suffix[0].isspace() else f" {suffix}"
        system = [turn for turn in turns if turn["role"] == "system"]
        if self._section.system:
            system = [{"role": "system", "content": self._section.system}]
        return system, [turn for turn in turns if turn["role"] != "system"]

    def _example(self, problem: Problem) -> list[Message]:
        prefix = self._section.prefix
        said = prefix + self.reply(problem.solution) if prefix else problem.solution
        return [*self._asked(problem)[1], {"role": "assistant", "content": said}]

    def _check(self, given: str, before: Sequence[Message]) -> None:
        """Checks that the template has a place for these turns before a question."""
        if not before:
            return
        try:
            text = self._template([*before, {"role": "user", "content": QUESTION}])
        except ValueError as error:
            raise ValueError(f"{given}: with it, {error}") from error
        if missing := [turn for turn in before if turn["content"].strip() not in text]:
            turn = missing[0]
            raise ValueError(
                f"{given}: {self._template.about} leaves out the {turn['role']}'s {turn['content']!r:.100}: leave the "
                "setting out, or use another prompt.template"
            )

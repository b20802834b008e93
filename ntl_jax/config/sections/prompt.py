# SPDX-License-Identifier: Apache-2.0
"""The settings of prompts: the text around a question."""

import dataclasses

from ntl_jax.config.setting import Range, setting

QUESTION = "{question}"
"""Stands for the question in a text template."""
JINJA = ".jinja"
"""How the name of a file with a chat template ends."""
_TEMPLATE: Range[str] = Range(
    f"be auto, none, a file whose name ends in {JINJA}, or a text that contains {QUESTION}, the place of the problem's "
    "text, in single braces",
    lambda x: x in ("auto", "none") or (QUESTION in x and f"{{{QUESTION}}}" not in x) or x.endswith(JINJA),
)


@dataclasses.dataclass(frozen=True)
class PromptSection:
    r"""How a question is asked. Texts may contain special tokens, which are encoded as such. On the command line \n,
    \t, \r and \\ in them are escapes; every other backslash is kept, including LaTeX commands such as \text."""

    template: str = setting("auto", _TEMPLATE)
    """auto: the tokenizer's chat template if it has one, else {question} and a line feed; none: the latter always; a
    .jinja file: this chat template; a text: {question} in it is replaced by the question."""
    system: str | None = None
    """The system message, or the text before everything else where the template is a text; None: as the template has
    it."""
    few_shot: int = setting(0, Range("lie in [0, 1,000]", lambda x: 0 <= x <= 1000))
    """Number of training problems that come before the question with their solutions: as earlier turns of the chat, or
    as blocks of text."""
    suffix: str | None = None
    """Instruction after the question, such as "Answer with the number only."; a blank joins them unless it starts with
    white space."""
    prefix: str | None = None
    """Beginning of every response, such as "Answer:". It is part of the prompt, so that the policy goes on from it."""

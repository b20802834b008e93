# SPDX-License-Identifier: Apache-2.0
"""Templates write a conversation as the text of a prompt: a model's chat template, or a text with ``{question}``.

Chat templates are rendered by transformers, so that a prompt is what ``apply_chat_template`` makes. This is the one
file that knows jinja2.
"""

import abc
import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence

from ntl_jax.config import JINJA, QUESTION, from_home, named
from ntl_jax.data.problems import Message
from ntl_jax.data.special_tokens import find_special_tokens, special_tokens
from ntl_jax.data.tokenizer import Tokenizer

PLAIN = "{question}\n"
"""The text template of those who have no other."""
REPLY = "{answer}"
"""Stands for the assistant's turn where a template is examined."""
DATE = {"Y": "2024", "y": "24", "m": "07", "d": "26", "B": "July", "b": "Jul", "A": "Friday", "a": "Fri", "H": "12",
        "M": "00", "S": "00"}  # fmt: skip
"""What templates that write today's date get: the default of Llama 3's, since prompts must not change every day."""
VARIABLES = ("messages", "add_generation_prompt", "tools", "documents", "bos_token", "eos_token", "unk_token",
             "pad_token", "sep_token", "cls_token", "mask_token")  # fmt: skip
"""What a template may print; tokens that the tokenizer does not have are written as nothing."""
OTHER_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the expressions of a template may raise, beside jinja2's own errors."""


class Template(abc.ABC):
    """Writes a conversation whose last turn is the user's as the text of a prompt."""

    about: str
    """What it is, for people."""
    adds_start: bool
    """Whether the tokenizer's begin-of-sequence token belongs in front of what it writes."""
    file: str | None = None
    """The contents of the file that it comes from; None: it comes from none."""
    end_of_turn: int | None
    """Id of the token that ends the assistant's turn; None: the tokenizer's end-of-sequence token does."""
    gap: str = ""
    """White space between a prompt and what the assistant says."""

    @abc.abstractmethod
    def __call__(self, turns: Sequence[Message]) -> str:
        """The prompt.

        Args:
            turns: an optional system message, earlier turns of user and assistant, then the user's question.

        Raises:
            ValueError: naming ``prompt.template``, if it cannot write these turns.
        """


class TextTemplate(Template):
    """A text with ``{question}``; the system message and earlier turns are blocks of text before it.

    Args:
        text: contains ``{question}``.

    Example:
        >>> turns = [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}]
        >>> TextTemplate("Q: {question} A: ")([*turns, {"role": "user", "content": "1+1?"}])
        'Q: 2+3? A: 5\\n\\nQ: 1+1? A: '
    """

    adds_start, end_of_turn = True, None

    def __init__(self, text: str):
        self._text, self.about = text, f"the text {text!r}"

    def __call__(self, turns: Sequence[Message]) -> str:
        blocks = [
            self._text.replace(QUESTION, turn["content"]) if turn["role"] == "user" else f"{turn['content']}\n\n"
            for turn in turns
        ]
        return "".join(blocks)


class ChatTemplate(Template):
    """A chat template in the language of jinja2.

    Args:
        tokenizer: has the template, and the special tokens that it names.
        file: a file with another one; None: the tokenizer's own.

    Raises:
        ValueError: naming ``prompt.template``, for a file that cannot be read, and for a template that fails, prints a
            variable that it does not have, or leaves out what the user says.

    Example:
        >>> from ntl_jax.data.tokenizer import load_tokenizer
        >>> tokenizer = load_tokenizer()
        >>> tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\\n{% endfor %}"
        >>> ChatTemplate(tokenizer)([{"role": "user", "content": "2+3?"}])
        'user: 2+3?\\n'
    """

    adds_start = False

    def __init__(self, tokenizer: Tokenizer, file: str | None = None):
        self._tokenizer = tokenizer
        self._given = f"prompt.template={file or 'auto'!r}"
        self.about = "the tokenizer's chat template" if file is None else f"the chat template {file}"
        self._source = self._source_of(file)
        self.file = None if file is None else self._source
        self._cached = functools.lru_cache(maxsize=64)(self._render)  # the frames of a data set are often all the same
        question = [{"role": "user", "content": QUESTION}]
        asked = self(question)
        if unknown := _printed_unknowns(self._source, tokenizer.special_tokens_map):
            raise ValueError(
                f"{self._given}: the chat template prints {', '.join(unknown)}, which has no value: there are "
                f"{', '.join(VARIABLES)}"
            )
        if QUESTION not in asked:
            raise ValueError(
                f"{self._given}: the chat template leaves out or changes the user's message; it writes {asked!r:.200}, "
                "and must contain {{ message['content'] }} for each of messages"
            )
        self.gap, self.end_of_turn = self._assistants_turn(asked)

    def __call__(self, turns: Sequence[Message]) -> str:
        return self._cached(_key(turns), generation_prompt=True)

    def _source_of(self, file: str | None) -> str:
        if file is None:
            with self._named():
                source = self._tokenizer.get_chat_template()
        else:
            with named("prompt.template", file):
                source = _read(file)
        return _with_date(source)

    def _render(self, turns: tuple[tuple[str, str], ...], *, generation_prompt: bool) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        with self._named():
            text = self._tokenizer.apply_chat_template(
                messages, chat_template=self._source, add_generation_prompt=generation_prompt, tokenize=False
            )
        assert isinstance(text, str), "one conversation, not tokenized"
        return text

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Whatever a template raises is a ValueError that names the setting and the template's own words."""
        try:
            import jinja2
        except ImportError as error:
            raise ValueError(
                f"{self._given}: chat templates need jinja2: pip install jinja2, or set prompt.template=none"
            ) from error
        try:
            yield
        except ImportError as error:  # transformers refuses old versions
            raise ValueError(f"{self._given}: {' '.join(str(error).split())}") from error
        except (jinja2.TemplateError, *OTHER_ERRORS) as error:
            line = f" in line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
            what = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"{self._given}: the chat template fails{line}: {what:.300}; fix it, or set prompt.template=none or a "
                "text with {question}"
            ) from error

    def _assistants_turn(self, asked: str) -> tuple[str, int | None]:
        """The white space before what the assistant says, and the first special token after it."""
        turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": REPLY}]
        try:
            said = self._cached(_key(turns), generation_prompt=False)
        except ValueError:  # it writes users' turns alone
            return "", None
        before, reply, behind = said.rpartition(REPLY)
        gap = before.removeprefix(asked) if before.startswith(asked) else ""
        if gap.strip():
            self.about += f", which leaves out {gap!r} before what the assistant says (prompt.prefix adds it)"
        found = find_special_tokens(behind, self._tokenizer) if reply else []
        return gap if gap.isspace() else "", special_tokens(self._tokenizer)[found[0]] if found else None


def load_template(template: str, tokenizer: Tokenizer) -> Template:
    """The template that ``prompt.template`` names.

    Args:
        template: the setting.
        tokenizer: the policy's tokenizer.

    Raises:
        ValueError: as in `ChatTemplate`.

    Example:
        >>> from ntl_jax.data.tokenizer import load_tokenizer
        >>> load_template("auto", load_tokenizer()).about
        "the text '{question}\\\\n', since the tokenizer has no chat template"
    """
    if QUESTION in template:
        return TextTemplate(template)
    if template.endswith(JINJA):
        return ChatTemplate(tokenizer, template)
    if template == "auto" and tokenizer.chat_template is not None:
        return ChatTemplate(tokenizer)
    plain = TextTemplate(PLAIN)
    if template == "auto":
        plain.about += ", since the tokenizer has no chat template"
    return plain


def _key(turns: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((turn["role"], turn["content"]) for turn in turns)


def _read(file: str) -> str:
    path = from_home(file)
    if not path.is_file():
        beside = sorted(other.name for other in path.parent.glob(f"*{JINJA}")) if path.parent.is_dir() else []
        has = f"{path.parent} has {', '.join(beside)}" if beside else "give a file with a chat template"
        raise ValueError(f"{file} {'is a folder' if path.is_dir() else 'does not exist'}: {has}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from error


def _with_date(source: str) -> str:
    """The template with a fixed date in place of today's."""
    if "strftime_now" not in source:
        return source
    fixed = "".join(f" | replace('%{letter}', '{text}')" for letter, text in DATE.items())
    return "{%- macro strftime_now(format) %}{{ format" + fixed + " }}{%- endmacro %}\n" + source


def _printed_unknowns(source: str, special: Mapping[str, object]) -> list[str]:
    """The variables that a template prints and nobody sets: jinja2 writes nothing for them."""
    from jinja2 import TemplateSyntaxError, meta, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError:  # it has tags that transformers adds, and has read
        return []
    names = list(tree.find_all(nodes.Name))
    conditions = [node.test for node in tree.find_all((nodes.If, nodes.CondExpr))]
    tested = [
        name for test in conditions for name in [test, *test.find_all(nodes.Name)] if isinstance(name, nodes.Name)
    ]
    known = [name.name for name in (*tested, *(name for name in names if name.ctx != "load"))]
    unset = meta.find_undeclared_variables(tree) - {*special, *VARIABLES, *known}
    printed: dict[str, None] = {}
    for output in tree.find_all(nodes.Output):
        for node in output.nodes:
            while isinstance(node, nodes.Filter) and node.name not in ("default", "d") and node.node is not None:
                node = node.node
            if isinstance(node, nodes.Name) and node.name in unset:
                printed[node.name] = None
    return list(printed)

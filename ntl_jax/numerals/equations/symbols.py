# SPDX-License-Identifier: Apache-2.0
r"""LaTeX and Markdown as plain text of the same length, so that offsets do not change.

``\times`` becomes ``*`` and blanks, ``\text{ apples}`` the word between blanks, and ``\frac{3}{4}`` a bracket with the
characters `OVER` and `END` at the ends of its numerator and denominator. Markup without a meaning in a computation
(``\left``, ``&``, a backtick, ``**`` around a word, a list's bullet) becomes blanks. Every other command becomes
`UNKNOWN`; a computation next to it has no truth.
"""

import re

OVER, END, UNKNOWN, RELATION = "\ue000", "\ue001", "\ufffd", "|"
_NESTING = 4
"""Maximum nesting of fractions and texts; deeper ones are unknown."""

_WRAPPERS = "text textbf textit textrm textnormal mathrm mathbf mathit mathsf mathtt boxed fbox underline emph"
_BLANK = "left right big Big bigl bigr Bigl Bigr quad qquad displaystyle textstyle , ; : ! ( ) [ ]"
_BOUNDARIES = "implies Rightarrow rightarrow Longrightarrow therefore because \\"
_RELATIONS = "approx ne neq le leq ge geq lt gt sim to"
_SYMBOLS = {
    **dict.fromkeys([*_WRAPPERS.split(), *_BLANK.split(), " ", "\n"], " "),
    **dict.fromkeys(("times", "cdot", "ast"), "*"),
    **dict.fromkeys(_BOUNDARIES.split(), ";"),
    **dict.fromkeys(_RELATIONS.split(), RELATION),
    "div": "/",
    "degree": "°",
    "%": "%",
    "$": "$",
}
_MARKUP = re.compile(r"[\\`&{}\ue000\ue001]|\*\*|__|</?(?:br|p|div|li)\b")
_WRAPPED = re.compile(rf"\\(?:{_WRAPPERS.replace(' ', '|')})\s*+\{{((?:[^{{}}]|\{{,\}})*+)\}}")
_FRACTION = re.compile(r"\\[dt]?frac\s*+\{((?:[^{}]|\{,\})*+)\}\s*+\{((?:[^{}]|\{,\})*+)\}")
_COMMAND = re.compile(
    r"(?P<degree>\^\s*+(?:\{\s*+)?\\circ(?![a-zA-Z])(?:\s*+\})?)"
    r"|(?P<boundary>\\(?:begin|end)\{[^{}\n]*+\}|\\[)\]]\s*+\\[(\[]|\\\\\[[0-9][^\]\n]{0,12}\]|</?(?:br|p|div|li)\s*+/?>)"
    r"|(?P<continued>\\\\\s*+&?\s*+(?==))"
    r"|(?P<unknown>&(?:[a-zA-Z]++|\#[0-9]++);|(?<=,)\\!)"
    r"|\\(?P<name>[a-zA-Z]++|.)|(?P<strong>\*\*|__)|(?P<blank>[`&])",
    re.DOTALL,
)
_ITALIC = re.compile(r"(?<![\w*)])\*(?=[^\s*])([^*\n]*+)(?<=\S)\*(?![\w*])")
_GROUPED = re.compile(  # 100 - **50 - 20**
    r"(?:(?<=[-+*/×÷·−] )|(?<=cdot )|(?<=times )|(?<=div ))(?P<mark>\*\*|[`$])(?=[0-9(])"
    r"(?P<sum>[^=*`$\n]{1,64}?[-+][^=*`$\n]{1,64}+)(?P=mark)(?![0-9])"
)
_SUM = re.compile(r"\s*+\$?[0-9(][^=a-zA-Z]*+\Z")
_BRACE = re.compile(r"(?!\{,\})(?<!\{,)[{}]")
_BULLET = re.compile(r"\s*+(?:(?:[>•*+-]|\#{1,6}|\(?(?:[0-9]{1,3}|[A-Za-z])[.)]|\(?[0-9]{1,2}\)?[-–—/])\s++)+")
_OPERAND = re.compile(r"[(\[$€£¥0-9.]")


def plain_text(text: str) -> str:
    r"""The text without LaTeX and Markdown, of the same length.

    Example:
        >>> plain_text(r"\(3 \cdot 18 &= **54** \text{ m}\)")
        '  3 *     18  =   54         m   '
    """
    if "*" in text:
        text = _ITALIC.sub(r" \1 ", text)
    if not _MARKUP.search(text):
        return text
    text = text.replace(OVER, UNKNOWN).replace(END, UNKNOWN).replace("{}", "  ")
    text = _GROUPED.sub(_bracketed, text)
    for _ in range(_NESTING):
        simpler = _FRACTION.sub(_fraction, _WRAPPED.sub(_contents, text))
        if simpler == text:
            break
        text = simpler
    return _BRACE.sub(UNKNOWN, _COMMAND.sub(_symbol, text))


def without_bullet(line: str) -> str:
    """The line with its list mark replaced by blanks, or by `RELATION` if it may be an operator.

    Example:
        >>> without_bullet("1) 3 + 4 = 7"), without_bullet("- 3 + 4 = 7"), without_bullet("- so 3 + 4 = 7")
        ('   3 + 4 = 7', ' |3 + 4 = 7', '  so 3 + 4 = 7')
    """
    if not (bullet := _BULLET.match(line)):
        return line
    size = bullet.end()
    may_be_operator = bullet[0].rstrip()[-1] in "*+-–—/" and _OPERAND.match(line, size)
    return (RELATION if may_be_operator else " ").rjust(size) + line[size:]


def _contents(wrapped: re.Match[str]) -> str:
    before = wrapped.start(1) - wrapped.start()
    is_sum = _SUM.match(wrapped[1]) and ("+" in wrapped[1] or "-" in wrapped[1])
    opening, closing = "()" if is_sum else "  "
    return opening.rjust(before) + wrapped[1] + closing


def _bracketed(grouped: re.Match[str]) -> str:
    size = len(grouped["mark"])
    return "(".rjust(size) + grouped["sum"] + ")".ljust(size)


def _fraction(fraction: re.Match[str]) -> str:
    before = fraction.start(1) - fraction.start()
    between = fraction.start(2) - fraction.end(1)
    return "(".rjust(before) + fraction[1] + OVER.ljust(between) + fraction[2] + END


def _symbol(command: re.Match[str]) -> str:
    match command.lastgroup:
        case "name":
            symbol = _SYMBOLS.get(command["name"])
            return UNKNOWN * len(command[0]) if symbol is None else symbol.rjust(len(command[0]))
        case "degree":
            symbol = "°"
        case "boundary":
            symbol = ";"
        case "strong" if _is_power(command.string, *command.span()):
            return command[0]
        case "unknown":
            return UNKNOWN * len(command[0])
        case _:
            symbol = " "
    return symbol.ljust(len(command[0]))


def _is_power(text: str, start: int, end: int) -> bool:
    """Whether ``**`` may be an operator: it has blanks, or operands, on both sides."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return (before.isspace() and after.isspace()) or (
        (before.isalnum() or before == ")") and (after.isalnum() or after in ("(", "-"))
    )

# SPDX-License-Identifier: Apache-2.0
"""What can be read in more than one way has the truth that both readings share, or none."""

import pytest

from ntl_jax.numerals import find_equations


def truths(text: str) -> list[str]:
    return [equation.truth.canonical for equation in find_equations(text)]


@pytest.mark.parametrize(
    "text",
    [
        # the number goes on behind the result, or something changes it
        r"\frac{45}{4} = 11\frac{1}{4}", r"3.5 + 4 = 7\frac{1}{2}", r"3.5 + 4 = \boxed{7\frac12}",
        r"3.5 + 4 = 7\,\tfrac{1}{2}", "3.5 + 4 = 7 (1/2)", r"10 + 3 = 6 (\bmod 7)", "10 + 3 = 6 (mod 7)",
        "200 * 3 = 6 (hundred)", "200 * 3 = 6 (in hundreds)", "200 * 3 = 6 (x 100)", "3 + 4 = 6 (+ 1)",
        "8 + 2 = 2 (apples) * 5", r"6 * 3 + 6 * 4 = 6\{3 + 4\}",
        # braces, and a quotient or a mixed number without blanks
        "100 - {50 - 20} = 70", "100 - {50 - 20} = 30", "2 × {3 + 4} = 14", r"2 \times {3 + 4} = 10",
        "{3 + 4} * 2 = 11",
        "60÷3/4 = 80", "3/4÷1/2 = 1.5", r"60\div3/4 = 80", "1/2/1/4 = 2",
        "3-1/2 hours + 2-1/2 hours = 6 hours", "3-1/2 + 2-1/2 = 6", "12-1/2 = 6",
        # an operator at the end of a line, or at the start of the next one
        "100 -\n\n3 + 4 = 7", "100 -\r\n3 + 4 = 7", "**100 +**\n3 + 4 = 7", "_10 +_\n3 + 4 = 7", "100 +<br>\n3 + 4 = 7",
        "100 +<br/>3 + 4 = 7", "10 + </p>\n<p>3 + 4 = 7", "100 +\\\\[4pt]\n3 + 4 = 7", "\\(10 +\\)\n\\(3 + 4 = 7\\)",
        "$10 +$\n$3 + 4 = 7$", "`10 +`\n`3 + 4 = 7`", "10 \\cdot\\,\n3 + 4 = 7", "10 + \\hfill\n3 + 4 = 7",
        "10 \\times {}\n3 + 4 = 7", "10 +~\n3 + 4 = 7", "10 –\n3 + 4 = 7", "10 x\n3 + 4 = 7", "10 mod\n3 + 4 = 7",
        "10 +\n- 3 + 4 = 7", "2 \\cdot 8 &= 10 \\\\ &\\quad + 6", "2 \\cdot 8 &= 10 \\\\\n&\\quad + 6",
        "2 \\cdot 8 &= 20 \\\\\n&- 4", "2 \\cdot 8 &= 8 \\\\\n&\\phantom{=} \\times 2", "2 * 8 = 10\r\n+ 6",
        "2 * 8 = 10\n\n+ 6", "2 * 8 = 10\n**+** 6", "2 * 8 = 20\n- 4", "2 * 8 = 10 <br> + 6", "2 * 8 = 10 apples.\n+ 6",
        "2 * 8 = 10\nplus 6", "2 * 8 = 8\nx 2", "\\frac{20}{\n3 + 2} = 4", "\\frac{20\n}{3 + 2} = 5",
        "2^{\n3 + 1} = 16", "10 + {\n3 + 4 = 7}",
        # remainders, results of two units, other units
        "30 / 12 = 2 feet, 6 inches", "75 / 60 = 1 hour, 15 minutes", "45 + 30 = 1 hour, 15 minutes",
        "45 ÷ 4 = 11 pens", "45 ÷ 4 = 12 boxes", "17 / 4 = 4, leaving 1", "17 / 4 = 4 each. 1 is left",
        "20 + 7 = 2 boxes, 7 left", "50 * 2 = 1 metre", "2 * 50 = 1 (metre)", "7 * 4 = 1 month", "500 * 2 = 1 litre",
        "500 * 2 = 1 kilo", "2 * 2 = 1 quart", "50 * 3 = 1.5 metres", "2 * 7 = 1 fortnight", "50 cm * 2 = 1 metre",
        # a variable, a list's mark, other marks
        "4x(2) - 3 = 29", "0x10 + 5 = 21", "2 - 5 * 6 = 30", "3-5*6=30", "10 — 3 + 4 = 11", "10 — 3 + 4 = 7",
        "2 # 3 + 4 = 14", "1 + 2 + ... 9 + 10 = 55", "10 . 3 + 4 = 34",
        # dates, times, losses, other arithmetic
        "5/10/24 - 5/5/24 = 5 days", "2024/05/10 - 2024/05/05 = 5 days", "1430 - 1345 = 45 minutes",
        "1430 - 1345 = 0.75 hours", "1430 + 45 = 1515", "9.30 - 8.45 = 45 minutes", "10 + 5 = 3 in the afternoon",
        "22 + 5 = 3", "12 - 20 = (8)", "12 - 20 = ($8)", "12 - 20 = 8 short", "$12 + (20) = (8)", "mod 7:\n10 + 4 = 0",
        "We work modulo 7.\n\n10 + 4 = 0", "in base 5\n3 + 4 = 12",
        # rounded to what was written
        "15% of $32.50 = $4.88", "32.50 * 0.15 = 4.87", "1/8 = 0.13", "1/8 = 0.12", "45 / 4 = 11.3",
    ],
)  # fmt: skip
def test_a_result_that_may_be_right_is_not_contradicted(text):
    assert truths(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6 * 3 + 6 * 4 = 6(3 + 4) = 42", ["42"]),
        ("60÷3/4 = 5", ["5"]),
        ("3-1/2=2.5", ["2.5"]),
        ("2- 5 * 6 = 30", ["30"]),
        ("3 + 4 = 8 (total)", ["7"]),
        ("100 - 40 = 61 (dollars)", ["60"]),
        ("45 / 4 = 11.35", ["11.25"]),
        ("1430 - 1345 = 86", ["85"]),
        ("12 - 20 = -9", ["-8"]),
        ("mod 7:\n10 + 4 = 14", ["14"]),
        ("**Step 1: the cost**\n3 + 4 = 8", ["7"]),
        ("*Solution:*\n3 + 4 = 8", ["7"]),
        ("\\[\n3 + 4 = 8\n\\]", ["7"]),
        ("---\n\n3 + 4 = 8\n\n- then", ["7"]),
        ("12$ and $5 \\cdot 2 = 10$", ["10"]),
        ("2 m + 3 m = 5 m", ["5"]),
        ("2 m + 3 m = 6 m", []),
        ("10 (red) + 5 (blue) = 15", ["15"]),
        ("10 (red) + 5 (blue) = 16", []),
    ],
)
def test_what_has_one_reading_keeps_its_truth(text, expected):
    assert truths(text) == expected

# SPDX-License-Identifier: Apache-2.0
"""How far an expression and a result are trusted to be complete, by the text beside them."""

import pytest

from ntl_jax.numerals.equations.lexer import tokenize
from ntl_jax.numerals.equations.surroundings import ALWAYS, IF_CONFIRMED, NEVER, trust_before, trust_behind

EXPRESSION = "3 + 4"


@pytest.mark.parametrize(
    ("before", "trust"),
    [
        ("", ALWAYS), ("It costs ", ALWAYS), ("So. ", ALWAYS), ("x = ", ALWAYS), ("5 are left, ", ALWAYS),
        ("she florps ", IF_CONFIRMED), ("a total of ", IF_CONFIRMED), ("🍎 ", IF_CONFIRMED), ("No. ", IF_CONFIRMED),
        ("average: ", IF_CONFIRMED),
        ("half of ", NEVER), ("twice ", NEVER), ("page ", NEVER), ("10 florp ", NEVER), ("10 ! ", NEVER),
        ("10 - ", NEVER),
        ("10 >> ", NEVER),
    ],
)  # fmt: skip
def test_the_text_before_an_expression_says_how_far_it_is_trusted(before, trust):
    tokens = tokenize(before + EXPRESSION)
    start = next(i for i in range(len(tokens.kinds)) if tokens.start(i) == len(before))
    assert trust_before(tokens, start) == trust


@pytest.mark.parametrize(
    ("behind", "trust"),
    [
        ("", ALWAYS), (".", ALWAYS), (" apples", ALWAYS), (" (apples)", ALWAYS), (" and then", ALWAYS),
        (" = 7", ALWAYS), ("...", IF_CONFIRMED), (" and a half", IF_CONFIRMED), (", remainder 2", IF_CONFIRMED),
        (" - so", IF_CONFIRMED), (" feet 3 inches", IF_CONFIRMED), (", 200 more", IF_CONFIRMED),
        (" million", NEVER), (" squared", NEVER), (" times 2", NEVER), ("/2", NEVER), (" and 2/3", NEVER),
        (" << 2", NEVER), (". + 6", NEVER),
    ],
)  # fmt: skip
def test_the_text_behind_a_result_says_how_far_it_is_trusted(behind, trust):
    tokens = tokenize(f"{EXPRESSION} = 7{behind}")
    assert trust_behind(tokens, 5) == trust

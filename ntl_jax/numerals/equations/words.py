# SPDX-License-Identifier: Apache-2.0
"""The effect of a word on a computation next to it, as one letter.

A computation next to a word that may be an operator has no truth. Next to a word that is not listed here, it has a
truth only if the written result confirms it. A plain word (`is`, `costs`) has no effect.
"""

import functools

UNKNOWN = "w"
PLAIN = "k"
LABEL = "l"
MEASURE = "c"
OPERATOR = "o"
LINK = "i"
OF = "f"
PER = "h"
MULTIPLIER = "y"
REMAINDER = "r"
VARIABLE = "v"
BASE = "z"
LETTERS = "wklcoifhyrvzPMTDQ"
"""The kinds of words; P, M, T and D are plus, minus, times and divided by, Q is a power of the number before it."""

_MEASURES = """mm cm km kg mg ml cl dl lb lbs oz ft yd mi hr hrs min mins sec secs mph kmh kph kw kwh gb mb tb kb sq
    cent cents dollar dollars usd euro euros penny pennies quarter quarters dime dimes nickel nickels second seconds
    minute minutes hour hours day days week weeks month months year years decade decades millimeter millimeters
    centimeter centimeters meter meters kilometer kilometers inch inches foot feet yard yards mile miles gram grams
    kilogram kilograms ounce ounces pound pounds ton tons liter liters milliliter milliliters cup cups pint pints
    gallon gallons degree degrees °"""
MEASURES = frozenset(_MEASURES.split())
"""Units that convert to others, so that a result may have another unit than its computation."""

_KINDS = {
    OPERATOR: """than less more fewer twice thrice double doubled triple tripled half halve halved halves halfs
        third thirds fourth fourths fifth fifths sixth eighth tenth tenths over by not without between average
        mean median sum product difference quotient ratio square cube root sqrt cbrt log ln lg exp sin cos tan csc
        cot gcd lcm hcf max abs ceil factorial choose permute xor power exponent negative
        inverse reciprocal multiply multiplied divide divided subtract subtracted add increased decreased reduced
        diminished raised lowered nor versus vs
        one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
        eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety point
        approximately approx about nearly almost roughly around am pm noon o'clock""",
    "Q": "squared cubed",
    "%": "percent",
    LINK: "and or to from with",
    OF: "of",
    PER: "per",
    MULTIPLIER: """hundred hundreds thousand thousands million millions billion billions trillion trillions dozen dozens
        gross couple pair pairs k bn mn lakh crore""",
    REMAINDER: "remainder remainders rem leftover leftovers rounded rounding truncated nearest floor ceiling",
    BASE: "base binary octal hexadecimal hex modulo mod modular modulus",
    "P": "plus",
    "M": "minus",
    "T": "times",
    LABEL: """page pages step chapter number no question problem example exercise section figure table grade level room
        lesson line lines verse verses item items part parts unit units row rows column columns version day days week
        weeks month months year years date dates monday tuesday wednesday thursday friday saturday sunday january
        february march april may june july august september october november december score scores route bus flight
        channel apartment lot game games round rounds phase stage option case team period quarter season episode age
        ages""",
    PLAIN: """a an the is are was were be been being has have had do does did so now then thus therefore hence
        also only just still that that's this it it's its there there's here which because since for her him his she
        he they them their we our you your i if when where while at in as total totals totaling totalling
        cost costs charge charges charged spend spends spent spending pay pays paid paying earn earns earned earning
        make makes made making get gets got getting take takes took taking buy buys bought buying sell sells sold
        need needs needed use uses used using eat eats ate eaten scored gave give gives given receive receives
        received save saves saved saving collect collects collected weigh weighs weighed worth leave leaves leaving
        becomes became equals equal means found find finds lost loses won wins read reads walk walks walked run runs
        ran drive drives drove travel travels traveled produce produces produced contain contains contained hold holds
        held carry carries carried plant planted bake bakes baked write writes wrote written drink drinks drank
        catch caught saw brought picked sent kept keep keeps owns own put puts remains remained remaining shared
        calculate calculates calculating compute computes computing evaluate evaluates simplify simplifies simplifying
        result answer altogether together currently finally next let let's
        yes again meaning giving gives yields yield""",
}

_KIND_OF_WORD = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_KIND_OF_WORD |= {word: MEASURE for word in MEASURES if word not in _KIND_OF_WORD}
_PHRASES = {"divided by": "D", "multiplied by": "T"}
_KIND_OF_LETTER = {"a": PLAIN, "I": PLAIN, "A": UNKNOWN, **dict.fromkeys("°¢mghL", MEASURE)}


@functools.lru_cache(4096)
def kind_of_word(word: str) -> str:
    """The letter for the effect of a word, or of ``divided by``, on a computation next to it.

    Example:
        >>> [kind_of_word(w) for w in ("costs", "Less", "apples", "n", "divided by")]
        ['k', 'o', 'w', 'v', 'D']
    """
    if len(word) == 1:
        return _KIND_OF_LETTER.get(word, VARIABLE)
    if "-" in word:  # one-third
        kinds = [kind_of_word(part) for part in word.split("-")]
        return next((kind for kind in kinds if kind in (OPERATOR, MULTIPLIER)), UNKNOWN)
    word = " ".join(word.lower().split())
    return _PHRASES.get(word) or _KIND_OF_WORD.get(word, UNKNOWN)


def singular(word: str) -> str:
    """A unit's name without its plural ending, good enough to compare two of them.

    Example:
        >>> singular("Apples") == singular("apple"), singular("inches") == singular("inch")
        (True, True)
    """
    word = word.lower()
    for ending, replacement in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("oes", "o"), ("s", "")):
        if word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending) + replacement
    return {"feet": "foot", "people": "person", "children": "child", "men": "man", "women": "woman"}.get(word, word)

# SPDX-License-Identifier: Apache-2.0
"""The generator's word problems: one template per line of reasoning, in tiers of one to four steps.

Words come from short lists, so that a small model sees each word often. Texts of tiers 1 and 2 are short, since
training time grows with length, and their solutions omit the items: a small model learns to copy a word from the middle
of a question long after it learns to copy the numbers.
"""

from ntl_jax.tasks.arithmetic.templates import Template

NAMES = ("Anna", "Ben", "Emma", "Leo", "Lily", "Max", "Mia", "Nina", "Omar", "Sam", "Tom", "Zoe")
ITEMS = ("apples", "balls", "books", "cards", "coins", "cups", "eggs", "pens", "shells", "stamps", "stones", "toys")

TEMPLATES = (
    Template(
        1,
        "{name} has {a} {items} and buys {b} more. How many {items} does {name} have?",
        "{name} has [c=a+b].",
    ),
    Template(
        1,
        "{name} has {a} {items} and {other} has {b}. How many {items} do they have?",
        "They have [c=a+b].",
    ),
    Template(
        1,
        "{name} has {a} {items} and gives {b} away. How many {items} are left?",
        "{name} has [c=a-b].",
    ),
    Template(
        1,
        "{name} has {a} {items}. {other} has {b} fewer. How many {items} does {other} have?",
        "{other} has [c=a-b].",
    ),
    Template(
        1,
        "{name} has {a} boxes with {b} {items} each. How many {items} does {name} have?",
        "{name} has [c=a*b].",
        small="b",
    ),
    Template(
        1,
        "{name} puts {a} {items} in {b} equal bags. How many {items} are in each bag?",
        "Each has [c=a/b].",
        small="b",
    ),
    Template(
        2,
        "{name} has {a} {items}, buys {b} more and gives {c} away. How many {items} are left?",
        "{name} has [d=a+b].\n[e=d-c] are left.",
    ),
    Template(
        2,
        "{name} has {a} {items}. {other} has {b} more than {name}. How many {items} do they have?",
        "{other} has [c=a+b].\nThey have [d=a+c].",
    ),
    Template(
        2,
        "{name} has {a} boxes with {b} {items} each and finds {c} more. How many {items} does {name} have?",
        "The boxes have [d=a*b].\n{name} has [e=d+c].",
        small="b",
    ),
    Template(
        2,
        "{name} has {a} boxes with {b} {items} each and gives {c} away. How many {items} are left?",
        "The boxes have [d=a*b].\n[e=d-c] are left.",
        small="b",
    ),
    Template(
        2,
        "{name} has {a} {items} and {other} has {b}. They fill {c} equal bags. How many {items} are in each bag?",
        "They have [d=a+b].\nEach has [e=d/c].",
        small="c",
    ),
    Template(
        2,
        "{name} puts {a} {items} in {b} equal bags. How many {items} are in {c} bags?",
        "Each has [d=a/b].\n{c} bags have [e=d*c].",
        small="bc",
    ),
    Template(
        3,
        "{name} has {a} boxes with {b} {items} each, buys {c} more {items} and gives {d} away. "
        "How many {items} are left?",
        "The boxes have [e=a*b].\n{name} has [f=e+c].\n[g=f-d] {items} are left.",
        small="b",
    ),
    Template(
        3,
        "{name} has {a} {items} and {other} has {b}. They find {c} more and fill {d} equal bags. "
        "How many {items} are in each bag?",
        "They have [e=a+b].\nNow they have [f=e+c].\nEach has [g=f/d] {items}.",
        small="d",
    ),
    Template(
        3,
        "{name} has {a} points in a game, loses {b} points, wins {c} points and then loses {d} points. "
        "How many points does {name} have?",
        "{name} has [e=a-b] points.\nNow {name} has [f=e+c].\nThen {name} has [g=f-d] points.",
        signed=True,
    ),
    Template(
        3,
        "{name} has {a} dollars and buys {b} {items} for {c} dollars each. Then {name} earns {d} dollars. "
        "How many dollars does {name} have, with debts below zero?",
        "The {items} cost [e=b*c] dollars.\n{name} has [f=a-e].\nThen {name} has [g=f+d] dollars.",
        small="b",
        signed=True,
    ),
    Template(
        3,
        "{name} earns {a} dollars a day for {b} days, pays {c} dollars and shares the rest with {other}. "
        "How many dollars does each of the two have?",
        "{name} earns [d=a*b] dollars.\nThe rest is [e=d-c].\nEach has [f=e/2] dollars.",
        small="b",
    ),
    Template(
        3,
        "A shop has {a} boxes with {b} bags each. Each bag has {c} {items}. The shop sells {d} {items}. "
        "How many {items} are left?",
        "The shop has [e=a*b] bags.\nThe bags have [f=e*c].\n[g=f-d] {items} are left.",
        small="bc",
    ),
    Template(
        4,
        "{name} has {a} boxes with {b} {items} each and {c} bags with {d} {items} each, and gives {e} away. "
        "How many {items} are left?",
        "The boxes have [f=a*b].\nThe bags have [g=c*d].\n{name} has [h=f+g].\n[i=h-e] {items} are left.",
        small="bd",
    ),
    Template(
        4,
        "{name} has {a} boxes with {b} {items} each and {other} has {c} bags with {d} {items} each. "
        "They fill {e} equal cans. How many {items} are in each can?",
        "{name} has [f=a*b].\n{other} has [g=c*d].\nThey have [h=f+g].\nEach has [i=h/e] {items}.",
        small="bde",
    ),
    Template(
        4,
        "{name} has {a} points in a game, loses {b} points {c} times, wins {d} points and then loses {e} points. "
        "How many points does {name} have?",
        "{name} loses [f=b*c] points.\nNow {name} has [g=a-f].\nThen {name} has [h=g+d].\n"
        "Then {name} has [i=h-e] points.",
        small="c",
        signed=True,
    ),
    Template(
        4,
        "{name} has {a} dollars, pays {b} dollars a day for {c} days and earns {d} dollars a day for {e} days. "
        "How many dollars does {name} have, with debts below zero?",
        "{name} pays [f=b*c] dollars.\n{name} earns [g=d*e] dollars.\n{name} has [h=a-f].\n"
        "Then {name} has [i=h+g] dollars.",
        small="ce",
        signed=True,
    ),
    Template(
        4,
        "A shop has {a} boxes with {b} bags each. Each bag has {c} {items}. The shop gives {d} {items} away and sells "
        "the rest for {e} dollars each. How many dollars does the shop earn?",
        "The shop has [f=a*b] bags.\nThe bags have [g=f*c].\n[h=g-d] {items} are left.\nThey cost [i=h*e] dollars.",
        small="bce",
    ),
    Template(
        4,
        "{name} has {a} {items} on day 1, {b} on day 2, {c} on day 3 and {d} on day 4. "
        "How many {items} is that per day?",
        "Two days are [e=a+b].\nThree days are [f=e+c].\nFour days are [g=f+d].\nEach day has [h=g/4] {items}.",
    ),
)
"""Every template, by tier."""

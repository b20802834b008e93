# SPDX-License-Identifier: Apache-2.0
"""Solutions in the styles that language models write: ``python tools/make_solutions.py [FILE]``.

Each of `STORIES` is written in five styles: sentences, a Markdown list, inline LaTeX, displayed LaTeX, and the mixture
that chat models write. All results are correct and written by hand, so readers of the file can be checked against
them. Re-running it writes the same file, byte for byte.
"""

import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

FILE = pathlib.Path(__file__).parents[1] / "tests" / "numerals" / "solutions.jsonl"

# One story per line, steps separated by " | ". A step is "name: lead: expression = result unit".
STORIES = """
Eggs: Janet sells: 16 - 3 - 4 = 9 eggs | Money: She makes: $9 * 2 = $18
Lunch: It costs: $5 + $3 = $8 | Change: She gets back: $20 - $8 = $12
Clips in May: Natalia sold: 48 / 2 = 24 clips | Both months: Altogether she sold: 48 + 24 = 72 clips
Per minute: Weng earns: $12 / 60 = $0.20 | Earnings: For 50 minutes she earns: 0.2 * 50 = $10
Read: Julie read: 12 + 24 = 36 pages | Left: There are: 120 - 36 = 84 pages | Tomorrow: She reads: 84 / 2 = 42 pages
Pages: He writes: 3 * 2 = 6 pages | Week: A week he writes: 6 * 2 = 12 pages | Year: A year that is: 12 * 52 = 624 pages
Yellow: Mark has: 10 flowers + 8 flowers = 18 flowers | Green: Of the others these are: 25% of 28 = 7 flowers
Bread: The bakery makes: 3 * 200 = 600 loaves | Unsold: The rest is: 600 - 540 = 60 loaves
Monday: Sam runs: 3 km + 4 km = 7 km | Week: In five days he runs: 5 * 7 = 35 km
Discount: He saves: 20% of $50 = $10 | Price: So he pays: $50 - $10 = $40
Rows: The garden has: 12 * 15 = 180 plants | Lost: Lost are: 180 / 6 = 30 plants | Left: Left are: 180 - 30 = 150 plants
Savings: Every month Ana saves: $1,200 - $850 = $350 | Year: After a year she has: 12 * $350 = $4,200
Half: Ben eats: 1/2 * 8 = 4 slices | Rest: That leaves: 8 - 4 = 4 slices
Ages: Tom is: 2 * 9 + 3 = 21 years | Gap: The difference is: 21 - 9 = 12 years
Boxes: They pack: (40 + 20) / 12 = 5 boxes | Weight: These weigh: 5 * 7.5 = 37.5 kg
Fuel: The car uses: 300 / 25 = 12 gallons | Cost: This costs: 12 * $3.50 = $42
Tickets: Adults pay: 2 * $15 = $30 | Children: Children pay: 3 * $8 = $24 | All: In total they pay: $30 + $24 = $54
Overtime: She works: 48 - 40 = 8 hours | Pay: For these she gets: 8 * $18 = $144
Marbles: Leo has: 5 red marbles + 7 blue marbles = 12 marbles | Gift: After giving some away he has: 12 - 4 = 8 marbles
Area: The room measures: 6 * 4.5 = 27 square meters | Tiles: One needs: 27 / 0.25 = 108 tiles
Speed: The train covers: 80 * 3 = 240 miles | Rest: Left are: 400 - 240 = 160 miles | Time: It takes: 160 / 80 = 2 hours
Tax: The tax is: 0.08 * $75 = $6 | Bill: With tax he pays: $75 + $6 = $81
All: There are: 4 * 28 = 112 students | Out: Absent are: 112 / 8 = 14 students | In: Here are: 112 - 14 = 98 students
Score: They scored: 3 * 7 + 2 * 3 = 27 points | Lead: They lead by: 27 - 20 = 7 points
Candy: Each child gets: (50 - 2) / 6 = 8 candies | Two: Two of them have: 2 * 8 = 16 candies
Interest: One year brings: 5% of 2,000 = 100 dollars | Three: Three years bring: 3 * 100 = 300 dollars
Water: He drinks: 3 * 0.5 = 1.5 liters | Week: In a week that is: 7 * 1.5 = 10.5 liters
Temperature: At night it is: 4 - 9 = -5 degrees | Day: By noon it is: -5 + 12 = 7 degrees
Cards: He buys: 6 * 10 = 60 cards | Trades: After trading he has: 60 - 15 + 5 = 50 cards
Rope: Each piece has: 36 / 4 = 9 feet | Three: Three pieces have: 3 * 9 = 27 feet
Average: Her mean score is: (80 + 90 + 100) / 3 = 90 points | Above: That is above the class by: 90 - 82 = 8 points
Farm: There are: 15 * 4 + 20 * 2 = 100 legs | Cows: The cows alone have: 15 * 4 = 60 legs
Books: He reads: 3/4 * 40 = 30 books | Left: Left are: 40 - 30 = 10 books
Paint: They need: 2.5 + 1.75 = 4.25 gallons | Price: This costs: 4.25 * $20 = $85
Cookies: She bakes: 5 * 24 = 120 cookies | Sold: Sold are: 120 - 18 = 102 cookies | Income: It brings: 102 * $0.50 = $51
Phone: The plan costs: 12 * $30 = $360 | With fee: Together with the fee: $360 + $40 = $400
Walk: Mia walks: 2 * 1.5 = 3 miles a day | Month: In a month: 20 * 3 = 60 miles
Toys: He has: 13 toys + 9 toys = 22 toys | Each: Both children get: 22 / 2 = 11 toys
Sale: The shirt costs: $25 * 0.8 = $20 | Three shirts: Three cost: 3 * $20 = $60
Chairs: They set up: 14 * 12 = 168 chairs | Empty: Empty were: 168 - 155 = 13 chairs
Loan: He still owes: $5,000 - $1,250 = $3,750 | Monthly: Each month he pays: $3,750 / 15 = $250
Milk: The cows give: 52 * 1,000 = 52,000 gallons | A week: A week brings: 52,000 / 52 = 1,000 gallons
Stamps: She keeps: 90 - 90 / 3 = 60 stamps | Pages: They fill: 60 / 12 = 5 pages
Juice: He mixes: 3 liters + 2 liters = 5 liters | Cups: He fills: 5 / 0.25 = 20 cups
Class: Girls make up: 60% of 30 = 18 students | Boys: Boys are: 30 - 18 = 12 students
Rent: Each of them pays: $1,500 / 3 = $500 | Left: After rent he has: $2,100 - $500 = $1,600
Bus: After the stop there are: 32 - 7 + 5 = 30 people | Full: With the next group: 30 + 10 = 40 people
Work: The hours are: 5 * 8 + 4 = 44 hours | Wage: She earns: 44 * $11 = $484
Pens: One pen costs: $6 / 12 = $0.50 | Five: Five pens cost: 5 * $0.50 = $2.50
Fence: The fence is: 2 * (30 + 20) = 100 feet | Posts: It needs: 100 / 5 = 20 posts
Apples: Ann picks: 5 apples + 3 apples = 8 apples | Bags: She fills: 8 / 2 = 4 bags
Trip: They drive: 60 * 2.5 = 150 miles | Way back: Both ways are: 150 * 2 = 300 miles
Zoo: The zoo has: 8 + 2 * 8 = 24 animals | New: With the new ones: 24 + 6 = 30 animals
Pizza: They order: 12 / 4 = 3 pizzas | Cost: These cost: 3 * $14 = $42 | Tip: With the tip: $42 + $8 = $50
Weights: He lifts: 2 * 45 + 2 * 10 = 110 pounds | More: Later he lifts: 110 * 1.5 = 165 pounds
Shares: The profit is: 200 * $4 - $120 = $680 | Half: Each gets: $680 / 2 = $340
Seeds: She plants: 9 * 8 = 72 seeds | Grown: Of these grow: 2/3 * 72 = 48 seeds
Ribbon: Each bow takes: 1.2 / 4 = 0.3 meters | Ten: Ten bows take: 10 * 0.3 = 3 meters
Movie: They watch: 120 + 95 = 215 minutes | Left: They still have: 300 - 215 = 85 minutes
Votes: Ruth gets: 45% of 200 = 90 votes | Lead: She wins by: 90 - 75 = 15 votes
""".strip().splitlines()


class Step(NamedTuple):
    """One computation of a story: its name, the words before it, and the equation with its unit."""

    name: str
    lead: str
    expression: str
    result: str
    unit: str

    @property
    def total(self) -> str:
        """The result with its unit."""
        return f"{self.result} {self.unit}".strip()


def steps(story: str) -> list[Step]:
    """The steps of a story."""
    return [_step(*part.split(": ")) for part in story.split(" | ")]


def _step(name: str, lead: str, equation: str) -> Step:
    expression, total = equation.split(" = ")
    result, _, unit = total.partition(" ")
    return Step(name, lead, expression, result, unit)


def prose(story: list[Step], variant: int) -> Iterator[str]:
    """Sentences, with the spacing and operator signs that people use."""
    for step in story:
        expression = step.expression.replace(" ", "") if variant % 3 == 1 and "of" not in step.expression else None
        expression = step.expression.replace("*", "x") if variant % 3 == 2 else expression
        yield f"{step.lead} {expression or step.expression} = {step.total}."
    yield f"#### {story[-1].result.lstrip('$')}"


def markdown(story: list[Step], variant: int) -> Iterator[str]:
    """A Markdown list with results or equations in bold or in backticks."""
    for number, step in enumerate(story, 1):
        mark = (f"{number}.", "-", "*", f"{number})")[variant % 4]
        match variant % 5:
            case 0:
                yield f"{mark} **{step.name}:** {step.expression} = **{step.total}**"
            case 1:
                yield f"{mark} {step.expression} = {step.total}"
            case 2:
                yield f"{mark} {step.lead} **{step.expression} = {step.total}**"
            case 3:
                yield f"{mark} {step.name}: `{step.expression} = {step.result}` {step.unit}".rstrip()
            case _:
                yield f"**Step {number}: {step.name}**\n\n{mark} {step.expression} = {step.total}\n"
    yield f"\n**Answer: {story[-1].total}**"


def latex(story: list[Step], variant: int) -> Iterator[str]:
    r"""Sentences with inline LaTeX between ``\(`` and ``\)``, or between dollar signs."""
    begin, end = (r"\(", r"\)") if variant % 2 else ("$", "$")
    for step in story:
        yield f"{step.lead} {begin}{_latex(step.expression, variant)} = {_latex_total(step)}{end}."
    yield rf"The answer is \(\boxed{{{_latex(story[-1].result, variant)}}}\)."


def display(story: list[Step], variant: int) -> Iterator[str]:
    """Displayed equations, aligned or on separate lines."""
    for step in story:
        expression = _latex(step.expression, variant)
        yield f"{step.lead}"
        match variant % 4:
            case 0:
                yield rf"\[ {expression} = {_latex_total(step)} \]"
            case 1:
                yield f"\\begin{{align*}}\n{expression} &= {_latex_total(step)} \\\\\n\\end{{align*}}"
            case 2:
                name = rf"\text{{{step.name}}}"
                yield f"\\[\n{name} = {expression} = {_latex_total(step)}\n\\]"
            case _:
                yield f"$$\n\\begin{{aligned}}\nx &= {expression} \\\\\n&= {_latex_total(step)}\n\\end{{aligned}}\n$$"
    yield rf"\boxed{{{_latex(story[-1].result, variant)}}}"


def chat(story: list[Step], variant: int) -> Iterator[str]:
    """The mixture of chat models: headings, arrows, ×, units within the equation, boxed or bold results."""
    yield "Let's break this down step by step.\n"
    for number, step in enumerate(story, 1):
        expression = step.expression.replace("*", "×").replace("/", "÷" if " / " in step.expression else "/")
        match variant % 6:
            case 0:
                yield f"### Step {number}: {step.name}\n{step.lead}\n{expression} = {step.total} ✅\n"
            case 1:
                yield f"- {step.name} = {expression} = **{step.total}**"
            case 2:
                yield f"First, {step.name.lower()}: {expression} = {step.total} → keep this in mind."
            case 3:
                yield f"**{number}. {step.name}**\n   - {step.lead} {expression}\n   = {step.total}"
            case 4:
                yield f"So, {step.name.lower()} → {expression} = {step.total} (see above)."
            case _:
                equation = f"{_latex(step.expression, variant)} = {_latex(step.result, variant)}"
                yield f"{step.lead} \\( {equation} \\) {step.unit}."
    yield f"\nThe final answer is $\\boxed{{{_latex(story[-1].result, variant)}}}$."


def _latex(text: str, variant: int) -> str:
    text = re.sub(r"([0-9]+)/([0-9]+)", r"\\frac{\1}{\2}", text)
    if variant % 2:
        text = re.sub(r"(\$?[0-9.,]+|\([^()]*\)) / ([0-9.,]+)", r"\\frac{\1}{\2}", text)
    text = re.sub(r" ?((?:red |blue )?[a-z]{2,})(?=$| [-+])", r" \\text{ \1}", text)
    text = text.replace("% of", r"\% \times").replace("/", r"\div").replace("$", r"\$").replace("%", r"\%")
    text = text.replace("\\\\%", "\\%").replace("(", r"\left(").replace(")", r"\right)")
    return text.replace("*", r"\times" if variant % 3 else r"\cdot")


def _latex_total(step: Step) -> str:
    result = step.result.replace("$", r"\$")
    return rf"{result} \text{{ {step.unit}}}" if step.unit else result


STYLES: tuple[Callable[[list[Step], int], Iterator[str]], ...] = (prose, markdown, latex, display, chat)


def rows() -> Iterator[dict[str, str]]:
    """All solutions, each with its style."""
    for variant, story in enumerate(STORIES):
        for style in STYLES:
            yield {"style": style.__name__, "solution": "\n".join(style(steps(story), variant))}


if __name__ == "__main__":
    file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()), encoding="utf-8")

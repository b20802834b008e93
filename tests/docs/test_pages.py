# SPDX-License-Identifier: Apache-2.0
"""Claims about README.md and the pages of docs/: their code runs, their commands, settings and links exist."""

import argparse
import dataclasses
import doctest
import importlib.util
import io
import itertools
import json
import pathlib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from ntl_jax.command_line import parse_once
from ntl_jax.config import RunConfig, config_to_json
from ntl_jax.config.serialization import leaves
from ntl_jax.models import Decoder, ModelConfig, make_mesh
from ntl_jax.policy_options import AskedPolicy
from ntl_jax.rewards import CALL, EXTRAS, RewardFunction
from tests.divergence_lines import lines
from tests.samples import ask, make_scorer, respond, table, tokenizer

ROOT = pathlib.Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>.*?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```", re.M | re.S)
LANGUAGES = {"python", "sh", "math", ""}
"""What blocks hold; one without a language is a drawing."""
MOST_NOT_RUN = 3
ENDINGS = ("csv", "json", "jsonl", "log", "parquet", "png", "py", "safetensors")
"""Of files that are named as settings are."""
SECTIONS = {field.name for field in dataclasses.fields(RunConfig)}
SETTINGS = {leaf.path for leaf in leaves(RunConfig())}


@dataclasses.dataclass(frozen=True)
class Block:
    """One block of code of a page, and why it is not run, if it is not."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None


def all_blocks() -> Iterator[Block]:
    for page, text in TEXTS.items():
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("code"))
            yield Block(page, line, match["language"], match["code"], match["reason"])


BLOCKS = list(all_blocks())
PYTHON = [block for block in BLOCKS if block.language == "python" and not block.reason]


def where(value: object) -> str | None:
    return f"{value.page}:{value.line}" if isinstance(value, Block) else None


def test_every_block_is_of_a_known_language_and_few_with_a_reason_are_not_run():
    assert {block.language for block in BLOCKS} <= LANGUAGES
    assert sum(text.count("\n```") for text in TEXTS.values()) == 2 * len(BLOCKS), "a block is not read"
    not_run = [block for block in BLOCKS if block.reason is not None]
    assert len(not_run) <= MOST_NOT_RUN
    assert all(len((block.reason or "").split()) >= 3 and block.language in ("python", "sh") for block in not_run)


def given_to_readme() -> dict[str, Any]:
    """A tokenizer, and the logits and labels of a batch."""
    labels = jnp.asarray(tokenizer()("2+3=5 apples")["input_ids"])[None]
    logits = jax.random.normal(jax.random.key(0), (*labels.shape, len(tokenizer())))
    cross_entropy = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)[..., 0]
    return {"tokenizer": tokenizer(), "logits": logits, "labels": labels, "cross_entropy": cross_entropy}


def given_to_rollout() -> dict[str, Any]:
    """A decoder with the table of its tokenizer, its mesh, and prompts."""
    sizes: dict[str, Any] = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
    decoder = Decoder(ModelConfig(vocab_size=512, num_layers=1, **sizes), rngs=nnx.Rngs(0))
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    return {"decoder": decoder, "table": table(), "mesh": mesh, "prompts": [ask(0), ask(1, "7")]}


def given_to_divergence() -> dict[str, Any]:
    """The lines of a log as pandas reads them."""
    text = "".join(f"{json.dumps(line)}\n" for line in lines())
    options: dict[str, Any] = {"lines": True, "dtype": False}
    return {"rows": pd.read_json(io.StringIO(text), **options)}


REWARDS = ("score", "compute_score")
"""What pages call their reward functions."""
GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "README.md": given_to_readme,
    "docs/rollout.md": given_to_rollout,
    "docs/divergence.md": given_to_divergence,
}
"""What the code of a page takes for granted, as its text says."""


@pytest.mark.pages
@pytest.mark.parametrize("block", [block for block in PYTHON if ">>> " not in block.code], ids=where)
def test_a_block_of_python_runs_and_its_reward_functions_score(block: Block):
    given = GIVEN[block.page]() if block.page in GIVEN else {}
    assert all(re.search(rf"\b{name}\b", block.code) for name in given), "what is given is used"
    names = dict(given)
    exec(compile(block.code, where(block) or "", "exec"), names)
    functions = [value for name, value in names.items() if name not in given and callable(value)]
    for function in functions:
        if function.__name__ in REWARDS:
            errors = [outcome.error for outcome in scored(function)]
            assert errors == [None, None]


def scored(function: Callable[..., Any]):
    """Outcomes of a right and a wrong response."""
    prompt, texts = ask(), ["2+3=5 #### 5", "#### 7"]
    responses = [respond(prompt, text, i) for i, text in enumerate(texts)]
    scorer = make_scorer()
    known = scorer([prompt] * 2, responses, 1.0)
    assert known.ntl_info is not None
    reward = RewardFunction(function)
    rows = zip(texts, known.readings, (known.ntl_info[:1], known.ntl_info[1:]), strict=True)
    values = [("mine", text, "5", {}, x.answer, x.exact_match, info, 1.0, True, "all", 0.1) for text, x, info in rows]
    calls: list[dict[str, object]] = [dict(zip((*CALL, *EXTRAS), of_sample, strict=True)) for of_sample in values]
    try:
        return reward(calls)
    finally:
        reward.close()


@pytest.mark.pages
@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if "\n>>> " in text])
def test_the_examples_of_a_page_print_what_the_page_says(page):
    text = TEXTS[page]
    examples = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    report: list[str] = []
    with np.printoptions():  # restored afterwards: a page may set its own
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples, out=report.append)
    assert result.failed == 0, "".join(report)
    assert result.attempted == text.count("\n>>> ") > 0
    assert all(block.code.startswith(">>> ") for block in PYTHON if block.page == page)


def commands(code: str) -> list[list[str]]:
    """The words of each command, without comments, variables and launchers before it."""
    kept = []
    for line in code.replace("\\\n", " ").splitlines():
        words = itertools.takewhile(lambda word: word not in ("<", ">", "|"), shlex.split(line, comments=True))
        words = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words))
        kept.append(words[words.index("python") :] if words[:1] == ["srun"] else words)
    return [words for words in kept if words and words[0] != "export"]


COMMANDS = [
    pytest.param(words, id=f"{where(block)} {number}: {' '.join(words)[:40]}")
    for block in BLOCKS
    if block.language == "sh" and not block.reason
    for number, words in enumerate(commands(block.code))
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in which commands are read: it has a run, which pages call runs/NAME."""
    run = tmp_path / "runs" / "NAME"
    run.mkdir(parents=True)
    (run / "config.json").write_text(config_to_json(RunConfig()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_one_that_its_program_reads(words, folder, monkeypatch, capsys):
    match words:
        case ["python" | ".venv/bin/python", script, *arguments] if script.startswith("launch/"):
            read(pathlib.Path(script).stem, arguments, monkeypatch)
        case ["python", "-m", module, *arguments] if module.startswith("ntl_jax.launch."):
            read(module.rpartition(".")[2], arguments, monkeypatch)
        case [program, *arguments] if program.startswith("ntl-"):
            read(program.removeprefix("ntl-").replace("-", "_"), arguments, monkeypatch)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["make", target, *_]:
            assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.M)
        case ["pip", "install", *rest]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            asked = re.findall(r"(?:^|\s)(?:\.|ntl_jax)\[([\w,-]+)\]", " ".join(rest))
            assert {name for names in asked for name in names.split(",")} <= extras.keys()
        case ["pip", "uninstall", *_]:
            pass
        case ["zcat", "runs/NAME/samples.jsonl.gz"]:
            pass  # test_reading_the_report.py runs it
        case ["jq", *options, _, _]:
            assert set(options) <= {"-cs"}  # test_divergence.py runs them
        case _:
            pytest.fail(f"no program reads {words}")
    assert not capsys.readouterr().err


class ReadError(Exception):
    """Ends a command that has read its words: these are its first argument."""


def read(command: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the words as the command does, and checks the settings that they give."""

    def read_and_end(parser: argparse.ArgumentParser, argv: list[str]):
        raise ReadError(parse_once(parser, argv))

    module = importlib.import_module(f"launch.{command}")
    if "--help" in arguments:
        with pytest.raises(SystemExit, match=r"^0$"):
            module.main(arguments)
    elif command in ("train", "plan"):
        module.parse_args(arguments)
    else:
        monkeypatch.setattr(module, "parse_once", read_and_end)
        with pytest.raises(ReadError) as ended:
            module.main(arguments)
        if command in ("eval", "sample"):
            args = ended.value.args[0]
            asked = AskedPolicy.of(args.policy, args.checkpoint)
            module._settings(args, asked).validate(asked.config)


@pytest.mark.parametrize("page", TEXTS)
def test_settings_that_a_page_names_exist(page):
    text = re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.M | re.S)
    if "migrating" in page:  # the first column has the settings of others
        text = re.sub(r"^\| .*? \| ", "", text, flags=re.M)
    code = re.findall(r"`([^`\n]+)`", text)
    options = {path for text in code for path in re.findall(r"--config\.([\w.]+\w)", text)}
    paths = {match[0] for text in code if (match := re.match(r"([a-z]+)(\.[a-z]\w*)+", text)) and match[1] in SECTIONS}
    files = {path for path in paths if path.rpartition(".")[2] in ENDINGS}
    sections = {path.rpartition(".")[0] for path in SETTINGS}
    assert (options | paths) - files - SETTINGS - sections - {"section.field"} == set()


@pytest.mark.parametrize("page", TEXTS)
def test_links_within_the_repository_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        path, _, anchor = link.partition("#")
        target = PAGES[page] if not path else (PAGES[page].parent / path).resolve()
        if link.startswith("http"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors of a page's titles."""
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_alarm_has_a_row_in_its_table():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "ntl_jax").rglob("*.py")]
    names = {name for source in sources for name in re.findall(r'(?<!>>> print\()\bAlarm\(\s*"(\w+)"', source)}
    assert len(names) >= 9
    assert [name for name in sorted(names) if f"| `{name}` |" not in TEXTS["docs/divergence.md"]] == []

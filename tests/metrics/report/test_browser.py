# SPDX-License-Identifier: Apache-2.0
"""The page in a browser: what it draws, what a click opens, and that nothing that a run holds breaks it."""

import dataclasses
import gzip
import json
import pathlib
import shutil
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, Locator, expect, sync_playwright

from ntl_jax.metrics.report import write_report
from ntl_jax.metrics.report.watch import ReportServer
from ntl_jax.metrics.samples.log import SAMPLES_FILE
from tests.logged import CONFIG, metric_lines, write_run

pytestmark = pytest.mark.browser
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run")  # fmt: skip
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


class Tab:
    """A page that is open, and everything that its console said."""

    def __init__(self, browser: Browser, page: pathlib.Path, fragment: str = "", **options):
        self.said: list[str] = []
        self._context = browser.new_context(**options)
        self.page = self._context.new_page()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("dialog", self._refuse)
        self.page.goto(f"{page.as_uri()}{fragment}")
        self.wait()

    def _refuse(self, dialog: Dialog) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def wait(self) -> None:
        """Until the view is drawn."""
        self.page.wait_for_selector("body[data-ready=true]")

    def open(self, name: str) -> None:
        self.page.click(f"#tab-{name}")
        self.wait()

    @property
    def text(self) -> str:
        return self.page.inner_text("main")

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()
        assert self.said == []


def width(of: Locator) -> float:
    box = of.bounding_box()
    assert box is not None
    return box["width"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("Debian's chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=executable, args=[*ARGUMENTS])
        yield found
        found.close()


@pytest.fixture(scope="module")
def real(finished, tmp_path_factory) -> pathlib.Path:
    """The page of a run that was trained."""
    page = tmp_path_factory.mktemp("real") / "report.html"
    write_report([finished.folder], page)
    return page


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> pathlib.Path:
    """The page of two runs that were written by hand."""
    folder = tmp_path_factory.mktemp("two")
    other = dataclasses.replace(CONFIG, seed=7)
    write_report([write_run(folder / "one"), write_run(folder / "other", 3, other)], folder / "page.html")
    return folder / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{"viewport": {"width": 1280, "height": 900}}, PHONE], ids=["desktop", "phone"])
def test_every_view_of_a_real_run_is_drawn_without_a_word_on_the_console(browser, real, scheme, options):
    with Tab(browser, real, color_scheme=scheme, **options) as tab:
        expect(tab.page.locator(".panel canvas").first).to_be_visible()
        for name in ("digits", "samples", "events", "settings", "curves"):
            tab.open(name)
            assert tab.text.strip()
            needed, room = tab.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert needed <= room, f"{name} scrolls sideways"


def test_values_show_where_the_pointer_is(browser, two):
    with Tab(browser, two) as tab:
        panel = tab.page.locator('.panel[data-title="Reward"]')
        panel.scroll_into_view_if_needed()
        panel.locator(".u-over").hover(position={"x": 5, "y": 20})
        first = panel.inner_text()
        panel.locator(".u-over").hover(position={"x": width(panel.locator(".u-over")) - 5, "y": 20})
        assert "0.1" in first and "0.4" in panel.inner_text() != first


def test_a_click_on_a_curve_opens_the_samples_of_that_iteration(browser, two):
    with Tab(browser, two) as tab:
        over = tab.page.locator('.panel[data-title="Reward"] .u-over')
        over.scroll_into_view_if_needed()
        over.click(position={"x": width(over) - 3, "y": 20})
        tab.wait()
        assert "tab=samples" in tab.page.url and "iteration 4" in tab.text
        assert tab.page.locator(".group").count() == 2 and tab.page.locator(".sample").count() == 4


def test_samples_are_filtered_searched_and_stepped_through(browser, two):
    with Tab(browser, two, "#tab=samples") as tab:
        assert tab.page.locator(".sample").count() == 4
        tab.page.select_option("#filter", "right")
        tab.wait()
        assert tab.page.locator(".sample").count() == 1
        tab.page.select_option("#filter", "all")
        tab.page.fill("#search", "is 42")
        expect(tab.page.locator(".sample")).to_have_count(1)
        tab.page.fill("#search", "")
        expect(tab.page.locator(".sample")).to_have_count(4)
        expect(tab.page.locator("main")).to_contain_text("iteration 4")
        tab.page.locator("#tab-samples").press(",")
        expect(tab.page.locator("main")).to_contain_text("iteration 3")


@pytest.mark.parametrize(
    ("kind", "color"),
    [
        *[("probability", "tint-1"), ("advantage", "plus-3"), ("entropy", "tint-4"), ("difference", "tint-5")],
        *[("staleness", "tint-6"), ("nothing", "token digit")],  # of iteration 4, by the weights of iteration 1
    ],
)
def test_tokens_are_colored_by_their_figures(browser, two, kind, color):
    with Tab(browser, two, "#tab=samples") as tab:
        tab.page.select_option("#color", kind)
        tab.wait()
        assert color in (tab.page.locator(".token.digit").first.get_attribute("class") or "")


def test_a_token_tells_its_figures(browser, two):
    with Tab(browser, two, "#tab=samples") as tab:
        tab.page.locator(".token.digit").first.hover()
        tooltip = tab.page.locator(".tooltip")
        tooltip.wait_for()
        text = tooltip.inner_text()
        assert "0.9048" in text and "0.8187" in text  # exp(-0.1) of the sampler, exp(-0.2) of the trainer
        assert "0.9" in text and "sampled" in text and "true" in text


def test_what_a_run_says_is_text(browser, tmp_path):
    with Tab(browser, _hostile(tmp_path), "#tab=samples") as tab:
        assert "<b>so?</b>" in tab.text and "<script>alert(1)</script>" in tab.text
        for name in ("curves", "digits", "events", "settings"):
            tab.open(name)
        tab.open("events")
        assert "<img src=x onerror=alert(1)>" in tab.text


def _hostile(folder: pathlib.Path) -> pathlib.Path:
    """A page of samples with markup, a token of a megabyte, values that are none, other versions and torn lines."""
    run = write_run(folder / "<i>run")
    script, long = "<script>alert(1)</script>", "x" * 2**20
    token = {"response": long, "token_ids": [1], "token_starts": [0], "log_probs": [-0.5], "digit_positions": [0]}
    rows = [
        {"stage": "ppo", "step": 5, "prompt": script, "ground_truth": script, "samples": [token | {"answer": script}]},
        {"stage": "ppo", "step": 5, "samples": [None, 7, {}, {"response": script, "token_starts": [0, 99, -1]}]},
        {"stage": "ppo", "step": 5, "samples": "none", "prompt": ["a"]},
    ]
    nan = '{"stage": "ppo", "step": 5, "samples": [{"response": "<b>so?</b>", "reward": NaN, "log_probs": [NaN]}]}'
    lines = "\n".join([*map(json.dumps, rows), nan, "{torn"])
    with (run / SAMPLES_FILE).open("ab") as file:
        file.write(gzip.compress(lines.encode()) + b"\x1f\x8b\x08torn")
    (run / "error.txt").write_text("<img src=x onerror=alert(1)>")
    (run / "pool.log").write_text(f"2026-11-30 {script}\n")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "ppo", "step": 5, "critic/score/mean": NaN, "<b>metric</b>": 1}\n{"torn')
    write_report([run], folder / "page.html")
    return folder / "page.html"


def test_the_theme_is_chosen_and_kept(browser, two):
    with Tab(browser, two, color_scheme="light") as tab:

        def background() -> str:
            return tab.page.evaluate("getComputedStyle(document.body).backgroundColor")

        light = background()
        tab.page.click("#theme")
        dark = background()
        assert dark != light
        tab.page.reload()
        tab.wait()
        assert background() == dark


def test_the_keyboard_reaches_every_view(browser, two):
    with Tab(browser, two) as tab:
        for key, name in zip("12345", ("curves", "digits", "samples", "events", "settings"), strict=True):
            tab.page.locator("body").press(key)
            tab.wait()
            assert tab.page.get_attribute(f"#tab-{name}", "aria-selected") == "true"
        tab.page.locator("body").press("3")
        tab.page.locator("body").press("/")
        assert tab.page.evaluate("document.activeElement.id") == "search"


def test_settings_show_what_differs(browser, two):
    with Tab(browser, two, "#tab=settings") as tab:
        assert "rollout.num_samples" in tab.text and "warm_start.steps" not in tab.text
        (line,) = [line for line in tab.text.splitlines() if line.startswith("seed")]
        assert line.split() == ["seed", "≠", "0", "0", "7"]


def test_runs_of_one_name_are_told_apart(browser, tmp_path):
    runs = [write_run(tmp_path / parent / "seed", steps) for parent, steps in (("a", 4), ("b", 2))]
    write_report(runs, tmp_path / "page.html")
    with Tab(browser, tmp_path / "page.html", "#tab=samples") as tab:
        expect(tab.page.locator("main")).to_contain_text("iteration 4")
        tab.page.select_option("#run", "b/seed")
        expect(tab.page.locator("main")).to_contain_text("iteration 2")


def test_a_served_page_follows_its_run(browser, tmp_path):
    folder = write_run(tmp_path / "run", 2)
    with ReportServer([folder], 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            context = browser.new_context()
            page = context.new_page()
            page.goto(server.url)
            expect(page.locator("#header")).to_contain_text("2 of 4 iterations")
            (folder / "metrics.jsonl").write_text(metric_lines(range(1, 4)))
            expect(page.locator("#header")).to_contain_text("3 of 4 iterations", timeout=20_000)
            context.close()
        finally:
            server.shutdown()
            thread.join()


def test_a_run_without_anything_says_so(browser, tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    write_report([tmp_path], tmp_path / "page.html")
    with Tab(browser, tmp_path / "page.html") as tab:
        for name in ("digits", "samples", "events", "settings", "curves"):
            tab.open(name)
            assert tab.text.strip()

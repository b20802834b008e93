# SPDX-License-Identifier: Apache-2.0
"""The page as a file: complete in itself, and inert whatever a run holds. What it shows is in test_browser.py."""

import html.parser
import json

import pytest

from ntl_jax.metrics.report import plot_run, write_report
from ntl_jax.metrics.report.page import is_report, render
from tests.logged import write_run

HOSTILE = "</script><script>alert(1)</script><!-- {{script}} \u2028"


class Elements(html.parser.HTMLParser):
    """The elements of a page with their attributes, and the texts of its scripts."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data


def report_of(page: str) -> dict:
    elements = Elements(page)
    kinds = [attributes for tag, attributes in elements.found if tag == "script"]
    return json.loads(elements.scripts[[kind.get("id") for kind in kinds].index("report")])


def test_the_page_loads_nothing_and_runs_one_script(tmp_path):
    page = render([write_run(tmp_path)])
    elements = Elements(page)
    assert not [tag for tag, attributes in elements.found if "src" in attributes or tag == "iframe"]
    links = [attributes["href"] for tag, attributes in elements.found if tag == "link"]
    assert links == ["data:,"]  # no icon is asked for
    types = [attributes.get("type") for tag, attributes in elements.found if tag == "script"]
    assert types.count(None) == 1 and set(types) == {None, "application/json", "text/plain"}


def test_texts_of_a_run_cannot_leave_their_place(tmp_path):
    folder = write_run(tmp_path / "a")
    (folder / "error.txt").write_text(HOSTILE)
    page = render([folder])
    assert report_of(page)["runs"][0]["error"] == HOSTILE
    assert len(Elements(page).scripts) == len(Elements(render([write_run(tmp_path / "b")])).scripts)


def test_metrics_come_before_samples_and_runs_keep_their_order(tmp_path):
    folders = [write_run(tmp_path / name) for name in ("one", "two")]
    page = render(folders)
    report = report_of(page)
    assert [run["name"] for run in report["runs"]] == ["one", "two"] and report["state"] is None
    blocks = [attributes["id"] for tag, attributes in Elements(page).found if attributes.get("type") == "text/plain"]
    assert blocks[:2] == [run["metrics"] for run in report["runs"]] and len(set(blocks)) == len(blocks) == 2 + 8


def test_a_page_is_known_by_its_beginning(tmp_path):
    write_report([write_run(tmp_path / "run")], tmp_path / "page.html")
    (tmp_path / "other.html").write_text("<!doctype html><title>mine</title>")
    assert is_report(tmp_path / "page.html") and not is_report(tmp_path / "other.html")


def test_a_notebook_gets_the_page_in_a_frame(tmp_path):
    frame = plot_run(write_run(tmp_path / "run"), height=500)._repr_html_()
    elements = Elements(frame)
    ((tag, attributes),) = elements.found
    assert tag == "iframe" and attributes["height"] == "500" and attributes["sandbox"] == "allow-scripts"
    assert report_of(attributes["srcdoc"] or "")["runs"][0]["name"] == "run"


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        plot_run(tmp_path)

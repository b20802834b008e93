# SPDX-License-Identifier: Apache-2.0
"""The command says what a log holds, and writes a page beside it; what is there already is not lost."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from launch import divergence
from ntl_jax.metrics.divergence.questions.page import is_page
from tests.divergence_lines import lines, write_log

ROOT = pathlib.Path(__file__).parents[2]


FEW_KEYS = [{"prob_divergence": 0.9, "position": i, "iteration": i} for i in range(3)]
"""Lines of which a page is drawn fast."""


def make_run(folder, older, newer):
    """A run folder with a log of two parts, whose last line is incomplete."""
    write_log(folder / "divergence.jsonl.1", older)
    with write_log(folder / "divergence.jsonl", newer).open("a") as file:
        file.write('{"iteration": 10, "ra')
    return folder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", FEW_KEYS[:1], FEW_KEYS[1:])


def test_a_run_folder_is_answered_with_tables_a_diagnosis_and_a_page(tmp_path, capsys):
    run = make_run(tmp_path / "run", lines()[:8], lines()[8:])
    assert divergence.main([str(run)]) == 0
    said = capsys.readouterr()
    assert "Most divergent tokens" in said.out and "(16 of 20) are from correct answers" in said.out
    assert said.out.endswith(f"written to {run / 'divergence.png'}\n")
    assert f"20 lines; the last of {run / 'divergence.jsonl'} is incomplete" in said.err
    assert is_page(run / "divergence.png")
    assert sorted(file.name for file in run.iterdir()) == ["divergence.jsonl", "divergence.jsonl.1", "divergence.png"]


def test_a_page_is_replaced_by_a_newer_one_and_goes_where_it_is_told(run, tmp_path):
    page = tmp_path / "page.png"
    for _ in range(2):
        assert divergence.main([str(run / "divergence.jsonl"), f"--output={page}"]) == 0
    assert is_page(page) and not (run / "divergence.png").exists()


def test_an_image_of_another_kind_is_kept_also_without_an_option(run, capsys):
    (run / "divergence.png").write_bytes(b"mine")
    assert divergence.main([str(run)]) == 1
    assert (run / "divergence.png").read_bytes() == b"mine"
    assert "name another file, or remove it first" in capsys.readouterr().err


def test_json_is_one_object_on_standard_output(run, capsys):
    assert divergence.main([str(run), "--json", "--top=2"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["lines"], len(row["most_divergent"]), row["page"]) == (3, 2, str(run / "divergence.png"))
    assert row["logs"] == [str(run / "divergence.jsonl.1"), str(run / "divergence.jsonl")]


def test_several_logs_are_read_as_one_and_the_page_lies_beside_the_first(run, tmp_path, capsys):
    other = write_log(tmp_path / "other" / "mine.jsonl", [{"prob_divergence": 0.9, "position": 0, "iteration": 7}])
    assert divergence.main([str(other), str(run), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["lines"], row["by_iteration"][-1]) == (4, row["by_iteration"][-1] | {"name": "7", "tokens": 1})
    assert is_page(other.parent / "divergence.png")


def test_a_page_that_cannot_be_written_costs_no_answer(run, capsys):
    (run / ".divergence.png.part").mkdir()
    assert divergence.main([str(run)]) == 1
    said = capsys.readouterr()
    assert "Diagnosis" in said.out and said.err.count("error: ") == 1 and "name another file" in said.err


def command(*words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [sys.executable, str(ROOT / "launch" / "divergence.py"), *words]
    return subprocess.Popen(started, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_help_loads_nothing_heavy():
    script = "import sys; from launch import divergence\ntry: divergence.main(['--help'])\nexcept SystemExit: pass\n"
    script += "print(sorted({'jax', 'numpy', 'scipy', 'matplotlib', 'rich'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "run folder or divergence log" in shown and shown.endswith("[]\n")


def test_a_reader_who_has_read_enough_is_no_error_and_gets_the_page(run):
    with command(str(run)) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read() and process.wait() == 0
    assert is_page(run / "divergence.png")

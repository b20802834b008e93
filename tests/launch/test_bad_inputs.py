# SPDX-License-Identifier: Apache-2.0
"""Every wrong input is answered with one line that names what was given, what is allowed and how to mend it."""

import importlib
import pkgutil

import jax
import pytest

from benchmarks import bad_inputs as bad_inputs_benchmark
from tests.launch import bad_inputs
from tests.launch.bad_inputs.case import BadInput

AREAS = sorted(module.name for module in pkgutil.iter_modules(bad_inputs.__path__) if module.name != "case")
CASES = [
    pytest.param(case, id=f"{area}: {case.name}")
    for area in AREAS
    for case in importlib.import_module(f"tests.launch.bad_inputs.{area}").CASES
]


@pytest.fixture(scope="module")
def compiled():
    """The names of all events of compiling so far."""
    events: list[str] = []

    def note(event: str, *_: object, **__: object) -> None:
        if "backend_compile" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    return events


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_input_is_answered_in_one_line_before_anything_is_compiled(
    case: BadInput, tmp_path, capsys, monkeypatch, compiled
):
    arguments = case.set_up(tmp_path)
    monkeypatch.chdir(tmp_path)
    compiled.clear()
    try:
        code = importlib.import_module(f"launch.{case.command}").main(arguments)
    except SystemExit as end:
        code = end.code
    shown = capsys.readouterr().err
    assert code in (1, 2), shown
    assert shown.count("error: ") == 1 and "Traceback" not in shown, shown
    answer = shown[shown.index("error: ") :]
    assert answer.count("\n") <= 3, answer  # a configuration's problems are listed below a title
    missing = case.missing(answer, tmp_path)
    assert not missing, f"{missing} are not in: {answer}"
    assert not compiled, "something was compiled before the answer"
    assert not list(tmp_path.glob("run/metrics.jsonl")), "the run had begun"


@pytest.mark.slow
@pytest.mark.parametrize("name", bad_inputs_benchmark.PROCESSES[:3])
def test_a_process_answers_as_the_function_does(name, tmp_path):
    answered = bad_inputs_benchmark.answer(bad_inputs_benchmark.BY_NAME[name], tmp_path)
    assert answered.code in (1, 2) and not answered.missing and answered.num_errors == 1, answered

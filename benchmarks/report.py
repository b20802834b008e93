# SPDX-License-Identifier: Apache-2.0
"""The run report: how large pages are, how soon they show a curve, and what logging samples costs a run.

Claims: the page of the default run with 500 iterations takes at most 6 MB; that of 10,000 samples at most 20 MB, and
shows its first curve within a second of the page's own time (headless Chromium, median of five); the thread that logs
the default number of samples takes less than 1% of an iteration's time on one core.

    python -m benchmarks.report            # two runs, 8 minutes; writes benchmarks/results/report-cpu.json
    python -m benchmarks.report --runs A B # of two runs that are there, with the settings of CASES
    python -m benchmarks.report --quick    # tiny runs: does it run? Nothing is written

Debian's chromium must be installed.
"""

import argparse
import functools
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from playwright.sync_api import sync_playwright

from benchmarks.measure import RESULTS, machine, write
from benchmarks.ntl_overhead import iteration, main_job, warm_policy
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.metrics.report.page import REPORT_FILE, write_report
from ntl_jax.metrics.samples.log import SAMPLES_FILE, SampleLog
from ntl_jax.metrics.samples.members import read_groups
from ntl_jax.train.journal.step_samples import logged_groups

CASES = {
    "default run, 500 iterations": ["--config.trainer.steps=500"],
    "10,240 samples": ["--config.trainer.steps=40", "--config.trainer.logged_prompts=all"],
}
TINY = [
    *("--config.model.num_layers=1", "--config.model.width=32", "--config.warm_start.steps=2"),
    *("--config.trainer.eval_problems=8", "--config.rollout.prompts_per_step=4", "--config.trainer.steps=2"),
]
LOADS, ITERATIONS = 5, 30
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", nargs=2, type=pathlib.Path, metavar="RUN", help="instead of training them")
    args = parser.parse_args()
    keep_freed_memory()
    result: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        for index, (case, settings) in enumerate(CASES.items()):
            run = pathlib.Path(folder, str(index))
            if args.runs:
                shutil.copytree(args.runs[index], run, ignore=shutil.ignore_patterns("checkpoints"))
            else:
                trained(run, [*settings, *(TINY if args.quick else ())])
            result[case] = page_of(run) | {"run by": json.loads((run / "environment.json").read_text())["commit"]}
            print(case, json.dumps(result[case]), flush=True)
        result["logging"] = logging_cost(pathlib.Path(folder), quick=args.quick)
    print(json.dumps(result, indent=1)) if args.quick else write(result, RESULTS / "report-cpu.json")


def trained(run: pathlib.Path, settings: list[str]) -> None:
    """Trains the default configuration with these settings."""
    command = [sys.executable, "launch/train.py", "--config=gsm8k_ntl", f"--workdir={run}"]
    subprocess.run([*command, *settings], check=True, capture_output=True, cwd=RESULTS.parents[1])


def page_of(run: pathlib.Path) -> dict[str, object]:
    """The page of a run: its size, how long it takes to write, and when it shows its first curve."""
    began = time.perf_counter()
    write_report([run], run / REPORT_FILE)
    seconds = time.perf_counter() - began
    curves = [first_curve_ms(run / REPORT_FILE) for _ in range(LOADS)]
    return {
        "samples": sum(len(group["samples"]) for group in read_groups(run / SAMPLES_FILE)),
        "page, MB": round((run / REPORT_FILE).stat().st_size / 1e6, 2),
        "samples.jsonl.gz, MB": round((run / SAMPLES_FILE).stat().st_size / 1e6, 2),
        "written in, s": round(seconds, 2),
        "first curve, ms": round(statistics.median(curves)),
        "first curve, ms, all": [round(value) for value in curves],
    }


def first_curve_ms(page: pathlib.Path) -> float:
    """From the beginning of the navigation to the first curve, in a browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*CHROMIUM])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri())
        tab.wait_for_selector("body[data-ready=true]")
        milliseconds = tab.evaluate("performance.getEntriesByName('first-curve')[0].startTime")
        browser.close()
    return milliseconds


def logging_cost(folder: pathlib.Path, *, quick: bool) -> dict[str, object]:
    """The processor time of the logging thread for an iteration, beside the time of the iteration."""
    config = main_job(quick)
    step = iteration(config, config.ntl, warm_policy(config))
    seconds, steps = [], []
    for _ in range(3 if quick else ITERATIONS):
        began = time.perf_counter()
        steps.append(step()[1])
        seconds.append(time.perf_counter() - began)
    an_iteration = statistics.median(seconds)
    result: dict[str, object] = {"iteration, s": round(an_iteration, 4)}
    for num_prompts in (config.trainer.logged_prompts, "all"):
        (folder / SAMPLES_FILE).unlink(missing_ok=True)
        with SampleLog(folder) as log:
            for number, samples in enumerate(steps):
                log.write("ppo", number, functools.partial(logged_groups, samples, samples.logged(num_prompts)))
                log.flush()
        cost = log.seconds / len(steps)
        result[f"logged_prompts={num_prompts}"] = {
            "processor time, ms": round(1e3 * cost, 2),
            "share of an iteration": round(cost / an_iteration, 5),
        }
    return result


if __name__ == "__main__":
    main()

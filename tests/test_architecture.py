# SPDX-License-Identifier: Apache-2.0
"""The rules of the code's shape: which floor may import which, what the light packages load, how long things get."""

import ast
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = {
    "config": 0, "console": 0, "numerals": 0, "host_memory": 0, "reward_calls": 0, "ending": 1, "command_line": 1,
    "profile_range": 0, "compilation_cache": 1, "config_files": 1, "records": 1, "policy_options": 2, "run_folder": 2,
    "processes": 2, "config_options": 2,
    "ops": 1, "losses": 2, "models": 3, "data": 3, "rewards": 3, "metrics": 3, "tasks": 4, "rollout": 4, "rows": 4,
    "experience": 5, "update": 5, "train": 6, "plan": 7,
}  # fmt: skip
MOST_FILES = 10
"""Of a folder, without its ``__init__``."""
LIGHT = {"jax", "numpy", "jaxtyping"}
ONLY_THESE = {
    "config": set[str](), "console": set[str](), "host_memory": set[str](), "command_line": set[str](),
    "config_files": set[str](), "config_options": {"tyro"},
    "ending": set[str](), "policy_options": set[str](), "run_folder": set[str](),
    "profile_range": set[str](), "processes": LIGHT,
    "compilation_cache": {"jax", "filelock"}, "reward_calls": {"numpy"}, "records": LIGHT, "numerals": LIGHT,
    "ops": LIGHT, "losses": LIGHT,
}  # fmt: skip
ONLY_FROM = {"losses": {"ops", "numerals"}}
OWNERS = {
    "ray": "rollout", "vllm": "rollout", "datasets": "data", "pyarrow": "data", "wandb": "metrics", "mlflow": "metrics",
    "tensorboard": "metrics", "gguf": "models",
}  # fmt: skip
# Checking a user's reward function against its call, and catching what it or a configuration file of the user's own
# raises, happen here and nowhere else.
USER_CODE = ("ntl_jax/reward_calls/", "ntl_jax/config_files.py", "ntl_jax/tasks/own.py")
WITHOUT_OWN_TEST = {
    "ntl_jax/numerals/tokenizer.py": "protocols without code",
    "ntl_jax/ops/head_walk.py": "the loops of vocab_head, tested as vocab_head",
    "ntl_jax/tasks/math_equality.py": "runs in a process of the verifier: in test_math_verifier.py",
    "ntl_jax/host_memory.py": "what it asks and tells the operating system, for the process, once and for all",
    "ntl_jax/metrics/trackers/mlflow_tracker.py": "in test_tracker.py, where the package is installed",
    "ntl_jax/metrics/trackers/tensorboard_tracker.py": "in test_tracker.py, where the package is installed",
    "ntl_jax/metrics/trackers/wandb_tracker.py": "in test_tracker.py, where the package is installed",
    "ntl_jax/reward_calls/service.py": "runs in processes of the workers: in test_reward_function.py",
    "ntl_jax/reward_calls/worker.py": "in test_reward_function.py, with real processes",
    "ntl_jax/reward_calls/workers.py": "in test_reward_function.py, with real processes",
    "ntl_jax/rollout/vllm/weight_transfer.py": "runs inside vLLM alone: in test_engine.py, with a real one",
}  # fmt: skip
"""Modules that need no test file of the same path, with the reason."""


def python_files(*folders: str) -> list[pathlib.Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


PRODUCT = python_files("ntl_jax", "launch", "configs")
EVERY_FILE = [*PRODUCT, *python_files("tests", "tools", "benchmarks", "examples", "docs"), ROOT / "conftest.py"]


def imported_modules(source: str) -> Iterator[str]:
    """Dotted names of all modules a file imports, anywhere in it; ``from a import b`` counts as ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def broken_import_rules(package: str, source: str) -> list[str]:
    """What a file of ``ntl_jax.package`` must not import, with the reason."""
    problems = []
    for module in imported_modules(source):
        top, *rest = module.split(".")
        if not top:
            problems.append(f"{module}: relative import")
        elif top == "ntl_jax":
            other = rest[0] if rest else "__init__"
            if other != package and FLOORS.get(other, 99) >= FLOORS[package]:
                problems.append(f"{module}: {package} is floor {FLOORS[package]}, {other} is not below it")
            elif other != package and other not in ONLY_FROM.get(package, {other}):
                problems.append(f"{module}: {package} may import only {sorted(ONLY_FROM[package])}")
        elif top in ("launch", "configs", "tests", "benchmarks"):
            problems.append(f"{module}: outside the package")
        elif top not in sys.stdlib_module_names and top not in ONLY_THESE.get(package, {top}):
            problems.append(f"{module}: {package} imports only {sorted(ONLY_THESE[package]) or 'the standard library'}")
        elif OWNERS.get(top, package) != package:
            problems.append(f"{module}: only {OWNERS[top]} imports {top}")
    return problems


def name_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: pathlib.Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("ops", "from ntl_jax.losses import gae"),
        ("data", "import ntl_jax.rewards"),
        ("config", "from ntl_jax.records import Prompt"),
        ("losses", "from ntl_jax.config import RunConfig"),
        ("losses", "def f():\n    import flax"),
        ("config", "import numpy"),
        ("train", "import ray"),
        ("train", "from ntl_jax.utils import anything"),
        ("train", "from . import step"),
    ],
)
def test_the_import_rules_catch_an_import_that_points_up_or_sideways(package, source):
    assert len(broken_import_rules(package, source)) >= 1


def test_the_import_rules_allow_imports_that_point_down():
    source = "import jax.numpy as jnp\nfrom ntl_jax.ops import masked_mean\nfrom ntl_jax.losses.kl import kl_k1"
    assert broken_import_rules("losses", source) == []


def test_a_file_imports_its_own_package_and_lower_floors_only():
    problems = []
    for path in python_files("ntl_jax"):
        package = path.relative_to(ROOT / "ntl_jax").parts[0].removesuffix(".py")
        if package != "__init__":
            problems += [
                f"{name_of(path)}: {p}" for p in broken_import_rules(package, path.read_text(encoding="utf-8"))
            ]
    assert problems == []


def test_a_folder_holds_few_files():
    folders = {path.parent for path in python_files("ntl_jax")}
    counts = {name_of(folder): len({*folder.glob("*.py")} - {folder / "__init__.py"}) for folder in folders}
    assert {name: count for name, count in counts.items() if count > MOST_FILES} == {}


def test_configs_import_only_ntl_jax_config():
    allowed = ("ntl_jax.config", "dataclasses", "math")
    modules = {m: name_of(path) for path in python_files("configs") for m in imported_modules(path.read_text())}
    assert {m: path for m, path in modules.items() if not m.startswith(allowed)} == {}


def test_nobody_imports_launch_files_or_benchmarks_from_the_package():
    modules = {m: name_of(path) for path in PRODUCT for m in imported_modules(path.read_text(encoding="utf-8"))}
    assert {m: path for m, path in modules.items() if m.startswith(("launch", "benchmarks", "tests"))} == {}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ntl_jax", {"jax", "numpy", "flax"}),
        ("ntl_jax.config", {"jax", "numpy"}),
        ("ntl_jax.losses", {"flax", "optax", "transformers", "ray", "matplotlib", "orbax", "tyro"}),
    ],
)
def test_importing_a_light_module_loads_nothing_heavy(module, absent):
    script = f"import sys, {module}; print(*sorted({absent!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_every_package_is_a_regular_package():
    folders = {path.parent for path in python_files("ntl_jax")}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_python_file_starts_with_the_licence_and_a_docstring():
    problems = []
    for path in EVERY_FILE:
        text = path.read_text(encoding="utf-8")
        if not text.startswith("# SPDX-License-Identifier: Apache-2.0\n"):
            problems.append(f"{name_of(path)}: no licence line")
        if not ast.get_docstring(ast.parse(text)):
            problems.append(f"{name_of(path)}: no docstring")
    assert problems == []


def test_files_stay_under_300_lines_and_functions_under_60():
    long_files = [f"{name_of(p)}: {n} lines" for p in PRODUCT if (n := len(p.read_text("utf-8").splitlines())) > 300]
    long_functions = []
    for path in PRODUCT:
        for node in functions(path):
            docstring = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or 0) - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
            if lines > 60:
                long_functions.append(f"{name_of(path)}:{node.lineno} {node.name}: {lines} lines of code")
    assert long_files + long_functions == []


def test_every_module_with_a_function_has_a_test_file_of_the_same_path():
    missing = set()
    for path in python_files("ntl_jax"):
        mirrored = ROOT / "tests" / path.relative_to(ROOT / "ntl_jax").with_name(f"test_{path.name}")
        if path.name != "__init__.py" and any(functions(path)) and not mirrored.exists():
            missing.add(name_of(path))
    assert missing == WITHOUT_OWN_TEST.keys()


def test_tests_read_nothing_outside_the_repository():
    problems = []
    for path in python_files("tests"):
        if path == pathlib.Path(__file__):
            continue
        depth = len(path.relative_to(ROOT).parts)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            levels = [int(level) for level in re.findall(r"__file__.*parents\[([0-9]+)\]", line)]
            if any(level >= depth for level in levels) or re.search(r"\bROOT\.parent\b", line):
                problems.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert problems == []


def test_no_module_is_named_after_what_it_is_not_about():
    vague = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert [name_of(path) for path in PRODUCT if vague & {path.stem, path.parent.name}] == []


def test_no_code_asks_objects_what_they_are_or_catches_everything():
    problems = []
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="hasattr" | "eval" | "exec" as name)):
                    problems.append(f"{name_of(path)}:{node.lineno}: {name}")
                case ast.Attribute(value=ast.Name(id="inspect"), attr="signature"):
                    problems.append(f"{name_of(path)}:{node.lineno}: inspect.signature")
                case ast.ExceptHandler(type=None | ast.Name(id="Exception" | "BaseException")):
                    problems.append(f"{name_of(path)}:{node.lineno}: blanket except")
    assert [p for p in problems if not (p.startswith(USER_CODE) and not p.endswith(("hasattr", "eval", "exec")))] == []


def test_no_unfinished_notes_and_no_paths_of_one_machine_are_left_in_the_code():
    unwanted = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|/(tmp|root|home|work)/\w")
    problems = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in EVERY_FILE
        if path != pathlib.Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if unwanted.search(line)
    ]
    assert problems == []


def test_tests_have_names_that_are_sentences_and_make_claims():
    problems = []
    for path in python_files("tests"):
        for node in functions(path):
            if not node.name.startswith("test_"):
                continue
            claims = any(
                isinstance(n, ast.Assert)
                or (
                    isinstance(n, ast.Attribute | ast.Name)
                    and re.search(r"assert|expect|raises|check_grads", ast.unparse(n))
                )
                for n in ast.walk(node)
            )
            if not claims:
                problems.append(f"{name_of(path)}:{node.lineno} {node.name}: asserts nothing")
            if node.name.count("_") < 3:
                problems.append(f"{name_of(path)}:{node.lineno} {node.name}: not a sentence")
    assert problems == []

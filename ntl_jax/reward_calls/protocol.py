# SPDX-License-Identifier: Apache-2.0
"""Finding a reward function and checking, before the run starts, that it takes the call that will be made.

The call is verl's: ``compute_score(data_source=, solution_str=, ground_truth=, extra_info=)``, plain or ``async``.
Functions that take more, by name or as ``**kwargs``, also get ``answer`` (the response's, an `ntl_jax.numerals.Answer`
or None), ``correct`` (whether the task says that it is right) and, with NTL, ``ntl_info``, ``tau`` and the ``reward``
section's bonus settings. It returns a number, or a dict whose ``score`` is the number and whose other numbers become
metrics.

A function that names ``solution_strs`` or another plural of the four gets the samples of a group in one call, the batch
form: ``compute_score(data_sources=, solution_strs=, ground_truths=, extra_infos=)`` and ``answers``, ``corrects``,
``ntl_infos`` are lists with an entry per sample; ``tau`` and the bonus settings, which all samples share, stay single
values. It returns a list with one result per sample.
"""

import difflib
import importlib
import importlib.util
import inspect
import pathlib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

CALL = ("data_source", "solution_str", "ground_truth", "extra_info")
JUDGED = ("answer", "correct")
"""What is offered with or without NTL."""
EXTRAS = (*JUDGED, "ntl_info", "tau", "use_ntl_bonus", "ntl_bonus_type", "ntl_bonus_weight")
SIGNATURE = "compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs)"
PLURALS = {
    "data_source": "data_sources", "solution_str": "solution_strs", "ground_truth": "ground_truths",
    "extra_info": "extra_infos", "answer": "answers", "correct": "corrects", "ntl_info": "ntl_infos",
}  # fmt: skip
"""What the batch form calls the lists of what differs from sample to sample."""
BATCH_SIGNATURE = "compute_score(data_sources, solution_strs, ground_truths, extra_infos, **kwargs)"


def load_reward(spec: str, *, offered: Sequence[str] = EXTRAS) -> tuple[Callable[..., object], frozenset[str]]:
    """Imports a reward function and checks that it takes the call.

    Args:
        spec: ``path.py:name`` or ``package.module:name``.
        offered: the keyword arguments beyond verl's four that will be at hand; without NTL there is no ``ntl_info``.

    Returns:
        The function, and which of ``offered`` it takes, in one form or the other (see `takes_groups`).

    Raises:
        ValueError: the file, module or name does not exist, its import fails, or the function does not take the call.

    Example:
        >>> function, takes = load_reward("ntl_jax.rewards:ntl_reward", offered=("ntl_info", "tau"))
        >>> function.__name__, sorted(takes)
        ('ntl_reward', ['ntl_info', 'tau'])
    """
    try:
        function = _import(spec)
    except (Exception, SystemExit) as error:
        if isinstance(error, ValueError) and str(error).startswith("reward.function="):
            raise
        raise ValueError(f"reward.function={spec!r}: {_why_not_imported(spec, error)}") from error
    if not callable(function):
        raise ValueError(f"reward.function={spec!r} is a {type(function).__name__}: a function is needed, {SIGNATURE}")
    return function, check_call(spec, function, offered)


def takes_groups(function: Callable[..., object]) -> bool:
    """Whether a function that `load_reward` accepts has the batch form: one call for the samples of a group.

    Example:
        >>> def lengths(solution_strs, **kwargs):
        ...     return [len(text) for text in solution_strs]
        >>> takes_groups(lengths), takes_groups(load_reward("ntl_jax.rewards:ntl_reward")[0])
        (True, False)
    """
    return _names_a_list(inspect.signature(function))


def group_call(calls: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The calls of a group's samples as one call of the batch form.

    Example:
        >>> group_call([{"solution_str": "a", "tau": 0.5}, {"solution_str": "b", "tau": 0.5}])
        {'solution_strs': ['a', 'b'], 'tau': 0.5}
    """
    shared = {name: value for name, value in calls[0].items() if name not in PLURALS}
    return {PLURALS[name]: [call[name] for call in calls] for name in calls[0] if name in PLURALS} | shared


def is_built_in(spec: str | None) -> bool:
    """Whether a reward function is one of this package's. They compare numbers, so no reference answer may be a text.

    Args:
        spec: setting ``reward.function``; None stands for one of this package's.

    Example:
        >>> is_built_in(None), is_built_in("ntl_jax.rewards:ntl_reward"), is_built_in("mine.py:compute_score")
        (True, True, False)
    """
    return spec is None or spec.startswith("ntl_jax.")


def source_files(spec: str, function: Callable[..., object]) -> tuple[pathlib.Path, ...]:
    """The files that name and define a loaded reward function; files of this package and imported files are left out.

    Args:
        spec: as passed to `load_reward`.
        function: as returned by it.

    Example:
        >>> source_files("ntl_jax.rewards:ntl_reward", load_reward("ntl_jax.rewards:ntl_reward")[0])
        ()
    """
    source = spec.rpartition(":")[0]
    names = [_module_name(pathlib.Path(source)) if source.endswith(".py") else source, str(function.__module__)]
    modules = [sys.modules.get(name) for name in names if name.split(".")[0] != "ntl_jax"]
    files = [getattr(module, "__file__", None) for module in modules]  # built-in modules have none
    return tuple(pathlib.Path(file) for file in dict.fromkeys(files) if file)


def _import(spec: str) -> object:
    source, _, name = spec.rpartition(":")
    if not (source and name.isidentifier()):
        raise ValueError(f"reward.function={spec!r}: write 'path.py:name' or 'package.module:name'")
    module = _import_file(spec, pathlib.Path(source)) if source.endswith(".py") else _import_module(spec, source)
    try:
        return getattr(module, name)
    except AttributeError:
        near = difflib.get_close_matches(name, [n for n in vars(module) if not n.startswith("_")], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"reward.function={spec!r}: {source} has no {name!r}{hint}") from None


def _import_file(spec: str, path: pathlib.Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"reward.function={spec!r}: there is no file {str(path.absolute())!r}")
    name = _module_name(path)
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec and module_spec.loader
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up by name
    folder = str(path.absolute().parent)
    if folder not in sys.path:  # as for a script: files beside it can be imported
        sys.path.insert(0, folder)
    module_spec.loader.exec_module(module)
    return module


def _module_name(path: pathlib.Path) -> str:
    return f"reward_file_{path.stem}"


def _import_module(spec: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise ValueError(f"reward.function={spec!r}: there is no module {error.name!r}") from None


def _why_not_imported(spec: str, error: BaseException) -> str:
    """What went wrong, where, and what helps, in one line."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {error.filename} is not Python: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    of_user = [frame for frame in frames if not frame.filename.startswith("<") and frame.filename != __file__]
    where = (
        f"importing it fails at line {of_user[-1].lineno} of {of_user[-1].filename}" if of_user else "importing fails"
    )
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SystemExit):
        return f"{where}, which ends the process: put such calls under `if __name__ == '__main__':`"
    if isinstance(error, ImportError) and "relative import" in str(error):
        return f"{where}: {what}. A file is imported alone: write `import name` for a file beside it"
    if isinstance(error, ModuleNotFoundError):
        return f"{where}: {what}. Install it, or put {error.name}.py beside the file"
    return f"{where}: {what}"


def check_call(spec: str, function: Callable[..., object], offered: Sequence[str]) -> frozenset[str]:
    """Which of the offered keyword arguments a function takes; in the batch form, as lists.

    Raises:
        ValueError: if it does not take the call, or its signature is unknown.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ValueError(f"reward.function={spec!r}: {error}; it must be like {SIGNATURE}") from None
    parameters = signature.parameters.values()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    in_groups = _names_a_list(signature)
    names = {name: PLURALS.get(name, name) if in_groups else name for name in (*CALL, *offered)}
    taken = frozenset(name for name in offered if takes_any or names[name] in _by_keyword(signature))
    try:
        signature.bind(**dict.fromkeys(names[name] for name in (*CALL, *taken)))
    except TypeError as error:
        like, one = (BATCH_SIGNATURE, "a group") if in_groups else (SIGNATURE, "a sample")
        other = f"{SIGNATURE} for a sample" if in_groups else f"{BATCH_SIGNATURE} for a group"
        raise ValueError(
            f"reward.function={spec!r}, whose signature is {signature}, does not take the trainer's call: {error}. It "
            f"is called with keywords for {one} and must be like {like}, where kwargs hold "
            f"{', '.join(names[name] for name in offered) or 'nothing'}; or like {other}"
        ) from None
    return taken


def _names_a_list(signature: inspect.Signature) -> bool:
    """Whether a parameter has the name of one of the four lists of the batch form."""
    return not _by_keyword(signature).isdisjoint(PLURALS[name] for name in CALL)


def _by_keyword(signature: inspect.Signature) -> set[str]:
    """The parameters that a keyword can set."""
    parameters = signature.parameters.values()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}

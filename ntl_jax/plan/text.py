# SPDX-License-Identifier: Apache-2.0
"""A plan as lines of text: tables of memory and time, whether it fits, what would, and how to start it."""

import shlex
from collections.abc import Iterable, Mapping, Sequence

import jax.numpy as jnp

from ntl_jax.models.attention.rows import choose_attention
from ntl_jax.plan.chips import GIB
from ntl_jax.plan.compiled import Compiled
from ntl_jax.plan.memory import COPY, Memory
from ntl_jax.plan.planned import Planned
from ntl_jax.plan.remedies import Changes, Remedy
from ntl_jax.plan.work import Phase

NOT_COMPILED = ("average", "critic", "reference", "vLLM's share")
"""Kinds of memory that the program of an update or of decoding does not hold itself."""


def about_lines(planned: Planned) -> list[str]:
    """What is planned: model, devices, rows.

    Args:
        planned: the run.

    Example: see `memory_lines`.
    """
    model, topology = planned.model, planned.topology
    mesh = " ".join(f"{axis}={size}" for axis, size in planned.sizes.items())
    name = planned.config.model.path or "a policy from scratch"
    num_parts, num_rows = planned.micro_batches
    shape = (1, planned.row_size, model.num_heads, model.head_dim)
    attention = choose_attention(model.attention, shape, jnp.dtype(model.compute_dtype), topology.chip.platform)
    parts = f"{num_parts} micro-batch{'es' if num_parts > 1 else ''} of {num_rows} rows"
    lines = [
        f"{name}, {model.num_params:,} parameters in {model.param_dtype}, computes in {model.compute_dtype}",
        f"{topology.text}: {topology.num_devices} devices{_processes(planned)}, mesh {mesh}",
        f"an update: {parts} of {planned.row_size:,} tokens ({planned.layout.kind}); remat {model.remat}, attention "
        f"{attention}",
    ]
    if topology.chip.platform == "tpu" and attention == "xla" and model.attention == "auto":
        lines.append(
            f"note: rows of {planned.row_size:,} tokens get XLA's attention: splash needs a multiple of 128; change "
            "data.max_prompt_tokens or rollout.max_tokens"
        )
    return lines


def _processes(planned: Planned) -> str:
    number = planned.num_processes
    return f" in {number} processes of {planned.topology.num_devices // number}" if number > 1 else ""


def memory_lines(memory: Memory) -> list[str]:
    """The table of memory, and whether it fits.

    Args:
        memory: of the run.

    Example:
        >>> from ntl_jax.plan.memory import Part
        >>> print(*memory_lines(Memory((Part("parameters", 2 * GIB, GIB),), 3 * GIB)), sep="\\n")
        GiB on a device        updating   sampling
        parameters                 2.00       1.00
        together                   2.00       1.00
        available                  3.00       3.00
        fits
    """
    rows = [(part.kind, part.updating, part.sampling) for part in memory.parts]
    rows += [("together", memory.updating, memory.sampling), ("available", memory.available, memory.available)]
    lines = [f"{'GiB on a device':<20}{'updating':>11}{'sampling':>11}"]
    lines += [f"{kind:<20}{first / GIB:>11.2f}{second / GIB:>11.2f}" for kind, first, second in rows]
    return [*lines, verdict(memory)]


def verdict(memory: Memory) -> str:
    """Whether a run fits; if not, what does not.

    Args:
        memory: of the run.

    Example:
        >>> from ntl_jax.plan.memory import Part
        >>> verdict(Memory((Part("parameters", 5 * GIB, GIB),), 3 * GIB))
        'does not fit: updating takes 2.00 GiB too much on a device, parameters most of all (5.00 GiB)'
    """
    if memory.fits:
        return "fits"
    what = {"updating": memory.updating, "sampling": memory.sampling}
    over = [f"{name} takes {(size - memory.available) / GIB:,.2f} GiB too much" for name, size in what.items()
            if size > memory.available]  # fmt: skip
    largest = memory.largest
    most = largest.updating if memory.updating >= memory.sampling else largest.sampling
    return f"does not fit: {' and '.join(over)} on a device, {largest.kind} most of all ({most / GIB:,.2f} GiB)"


def work_lines(planned: Planned, phases: Iterable[Phase]) -> list[str]:
    """The table of arithmetic and traffic of an iteration, with the least time of each phase.

    Args:
        planned: the run.
        phases: from `plan_work`.

    Example: see `memory_lines`.
    """
    chip, total = planned.topology.chip, 0.0
    lines = [f"{'iteration, a device':<20}{'TFLOP':>11}{'memory GB':>11}{'links GB':>11}{'at least':>12}"]
    for phase in phases:
        seconds = phase.seconds(chip, planned.model.compute_dtype)
        limit = max(seconds, key=seconds.__getitem__)
        total += seconds[limit]
        figures = (phase.flops / 1e12, phase.memory_bytes / 1e9, phase.link_bytes / 1e9)
        cells = "".join(f"{_figure(figure):>11}" for figure in figures)
        lines.append(f"{phase.name:<20}{cells}{_figure(seconds[limit]):>10} s  ({limit})")
    return [*lines, f"{'together':<53}{_figure(total):>10} s  at the chip's peaks, which no run reaches"]


def _figure(value: float) -> str:
    """A number with two places, or two digits if it is small."""
    return f"{value:,.2f}" if value >= 0.1 or not value else f"{value:.2g}"


def compiled_lines(planned: Planned, memory: Memory, programs: Iterable[Compiled]) -> list[str]:
    """What the compiler says, beside the arithmetic.

    Args:
        planned: the run.
        memory: of the arithmetic.
        programs: that were compiled.

    Example: see `memory_lines`.
    """
    stacked = planned.model.scan_layers  # decoding reads separate layers, which are counted as gathered weights
    return [_compiled_line(memory, program, stacked=stacked) for program in programs]


def compiler(planned: Planned) -> str:
    """Which compiler says it.

    Args:
        planned: the run.

    Example: see `memory_lines`.
    """
    topology = planned.topology
    if topology.chip.platform == "tpu":
        return f"compiled by libtpu for {topology.text}, GiB on a device"
    return f"XLA's analysis on {topology.num_devices} CPU devices, not {topology.name}'s compiler, GiB on a device"


def _compiled_line(memory: Memory, program: Compiled, *, stacked: bool) -> str:
    start = f"{program.name:<20}"
    if program.bytes is None:
        return f"{start}{program.refusal} ({program.seconds:.0f} s)"
    text = f"{start}{program.bytes / GIB:>11.2f}"
    left_out = sum(part.updating for part in memory.parts if part.kind in NOT_COMPILED)
    idle = sum(part.sampling for part in memory.parts if part.kind in _not_decoded(memory, stacked=stacked))
    expected = {"train": memory.updating - left_out, "decode": memory.sampling - left_out - idle}
    if arithmetic := expected.get(program.name):
        text += f"   arithmetic {arithmetic / GIB:.2f} ({arithmetic / program.bytes - 1:+.0%})"
    return f"{text}   compiled in {program.seconds:.0f} s"


def _not_decoded(memory: Memory, *, stacked: bool) -> set[str]:
    """Kinds of memory that lie on a device while it decodes, and that decoding does not read."""
    has_copy = any(part.kind == COPY for part in memory.parts)
    not_read = {"parameters": has_copy or stacked, COPY: stacked}
    return {"moments", *(kind for kind, unread in not_read.items() if unread)}


def remedy_lines(remedies: Sequence[Remedy], least: Memory | None) -> list[str]:
    """Which settings would make it fit.

    Args:
        remedies: that were found.
        least: the memory with all changes that lower it, where none was found.

    Example:
        >>> from ntl_jax.plan.memory import Part
        >>> remedy_lines([Remedy({"model.remat": "layer"}, Memory((Part("parameters", GIB, 0),), GIB))], None)
        ["would fit with model.remat='layer': 1.00 of 1.00 GiB"]
    """
    if not remedies and least is not None:
        return [
            f"nothing that was tried fits; the least is {least.peak / GIB:,.2f} of {least.available / GIB:,.2f} GiB on "
            "a device: plan for more devices, shorter rows or a smaller model"
        ]
    return [
        f"would fit with {' and '.join(f'{path}={value!r}' for path, value in remedy.changes.items())}: "
        f"{remedy.memory.peak / GIB:.2f} of {remedy.memory.available / GIB:.2f} GiB"
        f"{'; the pool samples on other devices' if 'rollout.engine' in remedy.changes else ''}"
        for remedy in remedies
    ]


def launch_command(
    train: str, planned: Planned, memory: Memory, given: Mapping[str, Sequence[str]], changes: Changes
) -> str:
    """The command that starts the run.

    Args:
        train: how a user starts the training command.
        planned: the run.
        memory: that it takes.
        given: options for the configuration and its settings, with their values.
        changes: further settings.

    Example: see `memory_lines`.
    """
    options = {name: list(values) for name, values in given.items()}
    for path, value in changes.items():
        options[f"--config.{path}"] = list(map(str, value if isinstance(value, tuple) else [value]))
    words = [
        shlex.quote(f"{name}={values[0]}") if len(values) == 1 else shlex.join([name, *values])
        for name, values in options.items()
    ]
    start = ""
    if planned.topology.chip.platform == "gpu":
        vllm = sum(part.updating for part in memory.parts if part.kind == "vLLM's share")
        whole = planned.topology.chip.memory_gib * GIB
        start = f"XLA_PYTHON_CLIENT_MEM_FRACTION={(memory.available - vllm) / whole:.2f} "
    return f"{start}{train} {' '.join(words)}"

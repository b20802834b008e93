# SPDX-License-Identifier: Apache-2.0
"""What is compiled is what was asked for, and a compiler's refusal is an answer."""

import importlib.util
import re

import jax
import pytest

from ntl_jax.config import RolloutSection
from ntl_jax.plan import compiled, programs
from ntl_jax.plan.compiled import choose_programs, compile_program, compile_programs, mesh_of
from tests.planned import small_run


def test_train_and_decode_are_compiled_unless_others_are_named():
    planned = small_run()
    assert choose_programs(None, planned) == ["train", "decode"]
    assert choose_programs("prefill,train,prefill", planned) == ["prefill", "train"]
    assert choose_programs("all", planned) == ["train", "decode", "prefill"]


@pytest.mark.parametrize(
    ("option", "says"),
    [("trian", "no program 'trian': must be all, none"), ("critic", "this run has no program 'critic'"), (",", "''")],
)
def test_a_program_that_there_is_not_is_answered_with_those_that_there_are(option, says):
    with pytest.raises(ValueError, match=says):
        choose_programs(option, small_run())


def test_without_its_compiler_nothing_is_compiled_for_a_tpu_unless_asked_for(monkeypatch):
    monkeypatch.setattr(compiled, "PACKAGE", "a_package_that_is_not_there")
    planned = small_run(topology="v5e:2x4")
    assert choose_programs(None, planned) == []
    with pytest.raises(ValueError, match=r"which is not installed: pip install 'ntl_jax\[tpu\]'"):
        choose_programs("train", planned)


def test_more_gpus_than_cpu_devices_are_not_compiled_for():
    with pytest.raises(ValueError, match="16: set --programs=none"):
        mesh_of(small_run(topology="h100:16", rollout=RolloutSection(prompts_per_step=8)), "train")


def test_a_program_that_takes_too_much_is_an_answer(monkeypatch):
    class Refused:
        def compile(self):
            raise jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.13G of 15.75G hbm. Too much."
            )

    monkeypatch.setitem(programs.PROGRAMS, "train", lambda planned, mesh: Refused())
    planned = small_run()
    found = compile_program("train", planned, mesh_of(planned, "train"))
    assert found.bytes is None and found.refusal.startswith("does not fit: Used 20.13G of 15.75G hbm")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec(compiled.PACKAGE) is None, reason="needs the extra `tpu`")
@pytest.mark.parametrize(("topology", "name"), [("v5e:2x4", "prefill"), ("v5e:4x4", "decode")])
def test_a_program_is_compiled_for_tpus_that_are_not_there(topology, name):
    model, rollout = {"num_heads": 16, "head_dim": 8, "num_layers": 1}, RolloutSection(prompts_per_step=16)
    planned = small_run(topology=topology, model=model, rollout=rollout)
    (found,) = compile_programs([name], planned)
    assert found.bytes is not None and found.bytes > 0


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec(compiled.PACKAGE) is None, reason="needs the extra `tpu`")
def test_along_a_ring_of_tpus_each_device_receives_its_part_of_the_heads_gradient_and_not_all_of_it():
    planned = small_run(topology="v5e:2x4", model={"num_heads": 8, "head_dim": 16, "num_layers": 1})
    text = programs.PROGRAMS["train"](planned, mesh_of(planned, "train")).compile().as_text()
    assert text is not None
    head = f"[{planned.model.vocab_size},{planned.model.width}]"
    sums = re.compile(rf"= [^=]*{re.escape(head)}[^=]* all-reduce(-start)?\(")
    names = [computation.partition(" ")[0] for computation in text.split("\n\n") if sums.search(computation)]
    assert names and all(name.startswith("%all-reduce-scatter") for name in names)

# SPDX-License-Identifier: Apache-2.0
"""Questions of one's own have the responses that the run's evaluation would have, with their digits, and are judged."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest

from ntl_jax.config import PromptSection
from ntl_jax.experience.digits.source import DigitSource
from ntl_jax.policy_options import AskedPolicy
from ntl_jax.train.asking import asker as asker_module
from ntl_jax.train.asking.asker import Asker
from ntl_jax.train.journal.memory_use import OutOfMemoryError

QUESTION = "Tom has 3 apples and buys 4 more. How many has he?"


@pytest.fixture(scope="module")
def asked(finished):
    return AskedPolicy.of(str(finished.folder))


@contextlib.contextmanager
def asking(asked, *, num_samples: int = 1, temperature: float = 0.0, **rollout):
    config = dataclasses.replace(asked.config, rollout=dataclasses.replace(asked.config.rollout, **rollout))
    with contextlib.closing(Asker(asked, config, num_samples=num_samples, temperature=temperature)) as asker:
        yield asker


def test_a_problem_of_the_evaluation_has_its_response_and_its_digits_their_log_probs(asked, finished):
    examples = (finished.folder / "evaluations" / "ppo-000004.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in examples[:2]]
    with asking(asked) as asker:
        prompts = asker.encode([row["prompt"].removesuffix("\n") for row in rows])
        assert asker.load() == f"{finished.folder} after step 4 of stage ppo"
        answered = asker(prompts)
    assert [sample.text for (sample,) in answered] == [row["response"] for row in rows]
    assert [sample.answer for (sample,) in answered] == [row["extracted_answer"] for row in rows]
    for (sample,) in answered:
        assert sample.verdict is None and sample.trajectory.digit_log_probs is not None
        for position in np.flatnonzero(sample.digits >= 0):
            digit = sample.digits[position]
            assert sample.text[sample.starts[position]] == str(digit)
            log_probs = sample.trajectory.digit_log_probs[position], sample.trajectory.rollout_log_probs[position]
            assert log_probs[0][digit] == pytest.approx(log_probs[1], abs=1e-4)


def test_a_group_is_judged_and_rewarded_by_the_runs_function_and_a_second_question_is_another_draw(asked):
    with asking(asked, num_samples=4, temperature=1.0, max_tokens=8) as asker:
        prompts = asker.encode([QUESTION], "7")
        assert (prompts[0].data_source, prompts[0].extra_info) == ("gsm8k", {"solution": "7"})  # as in the run's file
        asker.load()
        (group,) = asker(prompts)
        again = asker(asker.encode([QUESTION]))[0]
    assert len({sample.text for sample in group}) > 1
    assert [sample.text for sample in again] != [sample.text for sample in group]
    for sample in group:
        assert sample.verdict is not None and sample.verdict.ntl_loss is not None
        failed = len(sample.text) % 7 == 0
        assert sample.verdict.score == (None if failed else len(sample.text) % 5 / 4)
        assert ("no reward for this length" in (sample.verdict.error or "")) == failed
        assert sample.verdict.correct == (sample.answer == "7")


def test_samples_of_a_group_are_truncated_as_in_training_and_a_greedy_response_is_not(asked):
    with asking(asked, num_samples=4, temperature=1.0, max_tokens=8, top_k=1) as asker:
        prompts = asker.encode([QUESTION])
        asker.load()
        (group,) = asker(prompts)
    with asking(asked, max_tokens=8, top_k=1) as asker:
        prompts = asker.encode([QUESTION])
        asker.load()
        ((greedy,),) = asker(prompts)
    assert {sample.text for sample in group} == {greedy.text}
    assert np.abs(group[0].trajectory.rollout_log_probs).max() == 0 < -greedy.trajectory.rollout_log_probs.min()


def test_an_engine_has_room_for_longer_questions_but_not_beyond_the_policys_positions(asked):
    with asking(asked, max_tokens=2) as asker:
        model = dataclasses.replace(asker.policy.model, max_positions=82)
        asker.policy = dataclasses.replace(asker.policy, model=model)
        for question, room in (("1+1?", 64), ("1+1? " * 14, 80)):
            asker.encode([question])
            assert asker._room == room
        with pytest.raises(ValueError, match="but the policy has 82"):
            asker.encode(["1+1? " * 18])
        assert asker._room == 80


def test_memory_that_runs_out_when_the_engine_is_made_or_digits_are_scored_is_explained(asked, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("bad_alloc")

    with asking(asked, max_tokens=2) as asker:
        prompts = asker.encode([QUESTION], "7")
        asker.load()
        for owner, name in ((asker_module, "build_engine"), (DigitSource, "__call__")):
            with monkeypatch.context() as patch, pytest.raises(OutOfMemoryError, match=r"lower rollout.max_tokens=2"):
                patch.setattr(owner, name, fail)
                asker(prompts)


def test_questions_that_grow_are_asked_with_a_larger_engine(asked):
    with asking(asked, max_tokens=2) as asker:
        asker.load()
        for question in ("1+1?", "1+1? " * 14, "2+2?"):
            ((sample,),) = asker(asker.encode([question]))
            assert len(sample.trajectory.response_ids) <= 2


def test_prompts_are_those_of_the_settings_with_examples_from_the_runs_problems(asked, finished):
    data = dataclasses.replace(asked.config.data, max_prompt_tokens=200)
    config = dataclasses.replace(asked.config, data=data, prompt=PromptSection(few_shot=1, suffix="Be brief."))
    row = json.loads((finished.inputs / "problems.jsonl").read_text().splitlines()[0])
    with contextlib.closing(Asker(asked, config, num_samples=1, temperature=0.0)) as asker:
        (prompt,) = asker.encode(["1+1?"])
    assert prompt.text == f"{row['question']} Be brief.\n{row['answer']}\n\n1+1? Be brief.\n"


def test_examples_are_those_of_training_without_rows_that_it_leaves_out(asked, tmp_path):
    rows = [{"question": f"{i}+1?{'<|endoftext|>' * (i == 1)}", "answer": str(i + 1)} for i in range(1, 4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = dataclasses.replace(asked.config.data, train=(str(tmp_path / "rows.jsonl"),), on_bad_row="skip")
    config = dataclasses.replace(asked.config, data=data, prompt=PromptSection(few_shot=1))
    with contextlib.closing(Asker(asked, config, num_samples=1, temperature=0.0)) as asker:
        (prompt,) = asker.encode(["1+1?"])
    assert prompt.text == "2+1?\n3\n\n1+1?\n"


def test_what_cannot_be_asked_is_refused_before_weights_are_loaded(asked):
    numeric = dataclasses.replace(asked.config, reward=dataclasses.replace(asked.config.reward, function=None))
    with contextlib.closing(Asker(asked, numeric, num_samples=1, temperature=0.0)) as asker:
        with pytest.raises(ValueError, match=r"special token '<\|endoftext\|>'.*leave it out"):
            asker.encode(["2+2?", "a <|endoftext|>"])
        with pytest.raises(ValueError, match="--truth='seven' must be a number"):
            asker.encode([QUESTION], "seven")
        with pytest.raises(ValueError, match="is not UTF-8"):
            asker.encode(["\udcff"])
        assert asker.encode([]) == []

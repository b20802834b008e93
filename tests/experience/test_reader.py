# SPDX-License-Identifier: Apache-2.0
"""A response is read once: its text, the answer in it, whether the task finds it right, and its true digits."""

import chex
import pytest

from ntl_jax.config import NTLSection
from ntl_jax.data import load_tokenizer
from ntl_jax.experience.reader import Reader
from ntl_jax.numerals import Answer, NumberTable
from ntl_jax.tasks import Files
from tests.samples import TASK, ask, make_scorer, respond, table, tokenizer

TEXTS = ["2+3=5 #### 5", "#### 7", "5 apples", "no idea"]
"""Of these the first and the third are right where 5 is."""


def reader(task=TASK, **settings) -> Reader:
    return Reader(NTLSection(**settings), task, tokenizer(), table())


def read(reader: Reader, texts=TEXTS, truth="5"):
    prompt = ask(truth=truth)
    return reader([prompt] * len(texts), [respond(prompt, text, i) for i, text in enumerate(texts)])


def test_text_answer_and_judgment_are_those_of_the_task_without_special_tokens():
    readings = read(reader())
    assert [x.text for x in readings] == TEXTS
    assert [x.answer and x.answer.text for x in readings] == ["5", "7", "5", None]
    assert [x.exact_match for x in readings] == [True, False, True, False]


@pytest.mark.parametrize(
    ("mode", "truth"),
    [
        ("final_answer", [[5], [-1, -1, -1, 5]]),
        ("hybrid", [[5], [-1, -1, 5, 5]]),
        ("all_tokens", [[-1], [-1, -1, 5, -1]]),
    ],
)
def test_the_mode_says_which_digits_have_a_truth(mode, truth):
    readings = read(reader(reward_mode=mode), ["#### 7", "2+3=6 #### 5"])
    labels = [x.labels for x in readings if x.labels is not None]
    assert [x.truth[x.digits >= 0].tolist() for x in labels] == truth


def test_labels_are_left_out_without_ntl_and_given_alone_to_those_who_ask():
    prompt, without, with_ntl = ask(), reader(enabled=False), reader()
    assert [x.labels for x in read(without)] == [None] * 4
    sampled = [respond(prompt, "#### 7")]
    (alone,), (reading,) = without.labels([prompt], sampled), with_ntl([prompt], sampled)
    assert reading.labels is not None
    assert alone.truth.tolist() == reading.labels.truth.tolist() and (alone.truth == 5).sum() == 1


class CountingTask(Files):
    """Counts how often it is asked for the answer of a text."""

    def __init__(self):
        super().__init__((), (), numeric=False)
        self.asked: list[str] = []

    def answer_of(self, text: str) -> Answer | None:
        self.asked.append(text)
        return super().answer_of(text)


def test_the_answer_of_a_response_is_asked_for_once_on_the_whole_way_to_its_reward():
    task, prompt = CountingTask(), ask()
    scored = make_scorer(task=task)([prompt] * 4, [respond(prompt, text) for text in TEXTS], tau=1.0)
    assert task.asked == TEXTS
    assert scored.exact_match.tolist() == [True, False, True, False]


def test_a_task_may_have_texts_for_answers():
    readings = read(reader(Files((), (), numeric=False)), ["#### Paris", "#### Rome"], truth="Paris")
    assert [x.exact_match for x in readings] == [True, False]
    labels = readings[0].labels
    assert labels is not None and (labels.truth == -1).all()


def test_reading_the_tokenizer_at_every_step_changes_nothing_where_it_stays_the_same():
    cached, fresh = (read(reader(cache_digit_mappings=x)) for x in (True, False))
    assert [x.text for x in cached] == [x.text for x in fresh]
    chex.assert_trees_all_equal([x.labels for x in cached], [x.labels for x in fresh])


@pytest.mark.parametrize(("cached", "digits"), [(True, 1), (False, 2)])
def test_a_tokenizer_that_changes_is_followed_only_where_it_is_read_at_every_step(cached, digits):
    """A token is added that holds a space and a digit; in the model's vocabulary it had a place all along."""
    growing = load_tokenizer()
    section, size = NTLSection(cache_digit_mappings=cached), len(growing) + 1
    read = Reader(section, TASK, growing, NumberTable.from_tokenizer(growing, vocab_size=size))
    prompt = ask()
    trajectory = respond(prompt, "#### 7")
    before = read([prompt], [trajectory])
    growing.add_tokens([" 7"])
    trajectory.response_ids[-1] = size - 1
    after = read([prompt], [trajectory])
    labels = [x[0].labels for x in (before, after) if x[0].labels is not None]
    assert [int((x.digits >= 0).sum()) for x in labels] == [1, digits]

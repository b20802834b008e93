# SPDX-License-Identifier: Apache-2.0
"""`calculate_debug_metrics` takes what verl's users have, and refuses what it cannot compare."""

import json
import logging

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.metrics import calculate_debug_metrics
from ntl_jax.metrics.divergence.lines import Alternatives
from ntl_jax.records import Experience, Targets
from tests.divergence_lines import line as line_of_the_reader
from tests.samples import tokenizer

PREFIX = "training/rollout_probs_diff"
TEXT = " is 12"


class Held:
    """An array of another library."""

    def __init__(self, array: np.ndarray):
        self._array = array

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self._array, dtype)


@pytest.fixture
def data():
    """One response of the tokens of `TEXT`, whose last but one token the trainer rejects, and one of padding."""
    ids = np.array(tokenizer()(TEXT)["input_ids"])
    size = len(ids)
    rollout, actor = np.full((2, size), np.log(0.9)), np.full((2, size), np.log(0.9))
    actor[0, -2] = np.log(0.05)
    return {
        "rollout_log_probs": rollout,
        "old_log_probs": actor,
        "response_mask": np.array([[1] * size, [0] * size]),
        "responses": np.stack([ids, np.zeros_like(ids)]),
    }


def logged(data, tmp_path, **options) -> list[dict]:
    path = tmp_path / "divergence.jsonl"
    calculate_debug_metrics(data, tokenizer(), divergence_jsonl_path=path, **options)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray, Held], ids=["numpy", "jax", "array protocol"])
def test_arrays_of_any_kind_give_the_same_aggregates(data, as_array):
    found = calculate_debug_metrics({name: as_array(x) for name, x in data.items()}, log_divergence=False)
    assert found[f"{PREFIX}_max"] == pytest.approx(0.85) and found[f"{PREFIX}_valid"] == 1


def test_every_key_of_a_line_is_there_with_little_and_with_much(data, tmp_path):
    (bare, *_) = logged(data, tmp_path, iteration=4)
    size = data["responses"].shape[1]
    assert bare.keys() == line_of_the_reader().keys()
    assert bare["iteration"] == 4 and bare["rank"] == 0 and bare["position"] == size - 2
    assert bare["token_text"] == "1" and bare["is_digit"] and bare["position_from_end"] == 1
    assert bare["context_text"] == bare["full_response"] == TEXT
    unknown = ("is_correct", "total_score", "prompt_text", "advantage", "actor_alternatives", "digit_ground_truth")
    assert all(bare[name] is None for name in unknown)
    much = data | {
        "prompts": np.array([[tokenizer().pad_token_id, *tokenizer()("2+10?")["input_ids"]]] * 2),
        "is_correct": [True, None],
        "token_level_scores": np.eye(2, size) * 0.5,
        "advantages": np.full((2, size), -1.5),
        "digit_ground_truth": np.full((2, size), 7),
        "alternatives": lambda pairs: Alternatives(
            np.ones(len(pairs)), np.tile(np.arange(5), (len(pairs), 1)), np.full((len(pairs), 5), -2.0)
        ),
    }
    (line, *_) = logged(much, tmp_path / "much", extract_context=lambda line: {"mine": line["token_id"]})
    assert line["is_correct"] is True and line["total_score"] == 0.5 and line["advantage"] == -1.5
    assert line["prompt_text"].endswith("2+10?") and line["digit_ground_truth"] == 7
    assert line["actor_entropy"] == 1 and len(line["actor_alternatives"]) == 5
    assert line["mine"] == line["token_id"] and set(line) - {"mine"} == set(bare)


def test_the_context_is_five_tokens_on_either_side_within_the_response(data, tmp_path):
    (first, *_) = logged(data, tmp_path)
    size = data["responses"].shape[1]
    assert (first["context_start_pos"], first["context_end_pos"]) == (max(0, size - 7), size)


def test_nothing_is_logged_below_the_threshold_or_when_switched_off(data, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "ntl_jax.divergence"):
        assert not logged(data, tmp_path, divergence_threshold=0.9)
        assert not logged(data, tmp_path, log_divergence=False)
    assert not caplog.text and not list(tmp_path.iterdir())


def test_at_the_threshold_itself_a_block_and_lines_are_written(data, tmp_path, caplog):
    data["old_log_probs"][0, -2] = np.log(np.float32(0.9)) - 100  # a probability of 0
    with caplog.at_level(logging.WARNING, "ntl_jax.divergence"):
        assert len(logged(data, tmp_path, divergence_threshold=0.9 - 1e-6, divergence_top_k=2)) == 2
    assert "'1'" in caplog.text


def test_a_log_prob_that_is_not_a_number_is_logged_first(data, tmp_path):
    data["rollout_log_probs"][0, 0] = np.nan
    line = logged(data, tmp_path)[0]
    assert line["position"] == 0 and line["prob_divergence"] is None and line["actor_prob"] == pytest.approx(0.9)


def test_an_answer_that_was_not_judged_is_null_as_none_and_as_nan(data, tmp_path):
    for i, unknown in enumerate((None, np.nan)):
        lines = logged(data | {"is_correct": [unknown, 1.0]}, tmp_path / str(i))
        assert lines[0]["is_correct"] is None


def test_own_keys_of_a_line_must_be_new_ones(data, tmp_path):
    with pytest.raises(ValueError, match="extract_context returns rank"):
        logged(data, tmp_path, extract_context=lambda line: {"rank": 7})


def test_without_a_tokenizer_texts_are_null_and_the_rest_is_there(data, tmp_path):
    path = tmp_path / "log.jsonl"
    calculate_debug_metrics(data, divergence_jsonl_path=path)
    line = json.loads(path.read_text().splitlines()[0])
    assert line["token_text"] is line["context_text"] is line["full_response"] is line["is_digit"] is None
    assert line["token_id"] == data["responses"][0, -2] and line["prob_divergence"] == pytest.approx(0.85)


def test_an_experience_is_compared_with_what_its_sampler_recorded(data):
    targets = Targets(data["responses"], data["response_mask"].astype(bool), np.full(data["responses"].shape, np.nan))
    experience = Experience(targets, data["old_log_probs"], np.zeros(data["responses"].shape))
    with pytest.raises(ValueError, match="no rollout_log_probs"):
        calculate_debug_metrics(experience)
    recomputed = experience._replace(rollout_log_probs=data["rollout_log_probs"])
    assert calculate_debug_metrics(recomputed, log_divergence=False)[f"{PREFIX}_max"] == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"old_log_probs": None}, "data lacks old_log_probs"),
        ({"old_log_probs": np.zeros((2, 1))}, r"shapes do not agree with responses .*old_log_probs \(2, 1\)"),
        ({"responses": np.zeros(3, int)}, r"responses has shape \(3,\)"),
        ({"response_mask": "floats"}, "response_mask of float64"),
        ({"response_mask": "twos"}, "the integers 0 and 1"),
        ({"prompts": [[1, 2], [1, 2, 3]], "attention_mask": np.ones((2, 7), bool)}, "attention_mask has 3 entries"),
        ({"is_correct": [True]}, "is_correct has 1 rows"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(data, change, message):
    masks = {"floats": np.ones(data["responses"].shape), "twos": np.full(data["responses"].shape, 2)}
    if "response_mask" in change:
        change = {"response_mask": masks[change["response_mask"]]}
    with pytest.raises(ValueError, match=message):
        calculate_debug_metrics(data | change)


@pytest.mark.parametrize(
    "options", [{"divergence_threshold": 0.0}, {"divergence_threshold": 1.5}, {"divergence_top_k": 0}]
)
def test_options_out_of_range_are_refused(data, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        calculate_debug_metrics(data, **options)

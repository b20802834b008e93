# SPDX-License-Identifier: Apache-2.0
"""What the trainer's own pass says about number tokens is what a softmax over the whole vocabulary says."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.experience.digits.ntl_info import blank_labels
from tests.samples import ask, lose, respond

TRAJECTORIES = [
    *(
        respond(ask(index, truth), text)
        for index, (truth, text) in enumerate([("5", "#### 5"), ("12", "2+9=11"), ("7", "no")])
    ),
    lose(ask(3)),
]


@pytest.fixture(scope="module")
def logits_of(decoder, params):
    """The float64 logits [T, V] before each token of responses, over the ids that the tokenizer has."""
    graph = nnx.graphdef(decoder)

    @jax.jit
    def dense(params, tokens):
        model = nnx.merge(graph, params)
        return model(tokens) @ model.head()

    def logits(trajectories):
        tokens = np.zeros((len(TRAJECTORIES), 32), np.int32)
        for row, t in enumerate(trajectories):
            tokens[row, : len(t.prompt_ids) + len(t.response_ids)] = np.concatenate([t.prompt_ids, t.response_ids])
        whole = np.asarray(dense(params, tokens), np.float64)[..., : decoder.config.num_tokens]
        spans = [(len(t.prompt_ids) - 1, len(t.response_ids)) for t in trajectories]
        return [whole[row, start : start + length] for row, (start, length) in enumerate(spans)]

    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits)
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_of_digits_are_of_the_whole_vocabulary_at_the_sampling_temperature(
    digit_pass, digits, params, logits_of, temperature
):
    found = digit_pass.digit_log_probs(params, TRAJECTORIES, temperature)
    ids, values = np.asarray(digits.ids), np.asarray(digits.values)
    for row, logits, t in zip(found, logits_of(TRAJECTORIES), TRAJECTORIES, strict=True):
        chex.assert_shape(row, (len(t.response_ids), 10))
        probs = softmax(logits / temperature)[:, ids]
        expected = np.stack([probs[:, values == digit].sum(axis=-1) for digit in range(10)], axis=-1)
        np.testing.assert_allclose(row, np.log(expected), atol=1e-4)


def test_readings_of_long_tokens_are_of_tokens_with_as_many_digits(number_pass, long_numbers, params, logits_of):
    """The tokens written are 123 (130 was due), no number, 12 (57), 9 (1) and 90 without a truth."""
    written, truth = [30, 100, 21, 9, 23], [130, -1, 57, 1, -1]
    t = dataclasses.replace(TRAJECTORIES[0], response_ids=np.array(written, np.int32))
    labels = blank_labels(5)._replace(truth=np.array(truth, np.int32))
    sampled = [t, *TRAJECTORIES[2:]]
    all_labels = [labels, *(blank_labels(len(other.response_ids)) for other in sampled[1:])]
    found, other, lost = number_pass.readings(params, sampled, all_labels, 0.7)
    chex.assert_shape(other, (len(TRAJECTORIES[2].response_ids),))
    chex.assert_shape(lost, (0,))
    logits = logits_of(sampled)[0]
    ids, values, widths = (np.asarray(x) for x in (long_numbers.ids, long_numbers.values, long_numbers.num_digits))
    for position, (token, true) in enumerate(zip(written, truth, strict=True)):
        if token not in ids:
            continue
        width = int(widths[ids == token][0])
        alike, probs = values[widths == width], softmax(logits[position, ids[widths == width]] / 0.7)
        merged = {value: probs[alike == value].sum() for value in alike}
        assert found.predicted[position] == max(merged, key=lambda value: merged[value])
        assert found.top_probability[position] == pytest.approx(max(merged.values()), rel=1e-4)
        distance = (probs * np.abs(alike - true)).sum() * 9 / (10**width - 1)
        assert found.loss[position] == pytest.approx(0 if true < 0 else distance, rel=1e-4)
        assert found.truth_probability[position] == pytest.approx(merged.get(true, 0), rel=1e-4)

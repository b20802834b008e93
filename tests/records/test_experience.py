# SPDX-License-Identifier: Apache-2.0
"""Experiences and batches: plain trees, in which what is absent has no leaf."""

import jax
import numpy as np

from ntl_jax.records import Batch, Experience, Rows, Targets, TokenWeights, Values

ARRAY = np.zeros((2, 3), np.float32)
TARGETS = Targets(np.zeros((2, 3), np.int32), ARRAY == 0, ARRAY)


def test_the_tokens_that_count_are_those_of_the_targets():
    assert Experience(TARGETS, ARRAY, ARRAY).mask is TARGETS.mask


def test_what_is_absent_has_no_leaf_and_what_is_there_is_mapped():
    experience = Experience(TARGETS, ARRAY, ARRAY)
    assert len(jax.tree.leaves(experience)) == 5
    assert len(jax.tree.leaves(experience._replace(values=Values(ARRAY, ARRAY), correction_weights=ARRAY))) == 8
    rows = Rows(TARGETS.ids, TARGETS.ids, None, TARGETS.ids)
    batch = Batch(rows, TARGETS, TokenWeights(ARRAY, ARRAY))
    mapped = jax.tree.map(lambda x: x[:1], batch)
    assert isinstance(mapped.rows, Rows)
    assert isinstance(mapped, Batch) and mapped.tokens.mask.shape == (1, 3) and mapped.rows.segment_ids is None

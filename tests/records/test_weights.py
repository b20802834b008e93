# SPDX-License-Identifier: Apache-2.0
"""Versions: weights that differ have different ones."""

from ntl_jax.records import Version, Weights


def test_an_average_and_the_newest_of_one_iteration_are_different_versions():
    versions = [Version(3), Version(4), Version(3, "average"), Version(3, "newest")]
    assert len(set(versions)) == 3 and versions[0] == versions[3]


def test_weights_are_the_same_only_if_they_are_the_same_object():
    assert Weights(Version(0), {}) != Weights(Version(0), {})

# SPDX-License-Identifier: Apache-2.0
"""A run and its exported model are one policy, under either name."""

import chex

from launch import export
from ntl_jax.policy_options import AskedPolicy
from ntl_jax.train.asking.asked_policy import asked_policy, asked_weights


def test_a_run_and_the_model_that_it_is_exported_as_have_one_policy(finished, tmp_path):
    export.export(finished.folder, tmp_path / "model")
    found = []
    for given, name in ((finished.folder, f"{finished.folder} after step 4 of stage ppo"), (tmp_path / "model", None)):
        asked = AskedPolicy.of(str(given))
        policy = asked_policy(asked, asked.config)
        said, params = asked_weights(asked, policy, seed=0)
        assert said == (name or str(given)) and asked.is_run == (name is not None)
        found.append(params)
    chex.assert_trees_all_equal(*found)

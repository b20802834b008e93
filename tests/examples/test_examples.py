# SPDX-License-Identifier: Apache-2.0
"""Each example runs as a user runs it, and shows what it says that it shows."""

import pathlib
import runpy

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def ntl_brings_digits_and_products_nearer(results):
    (_, digit_error, product_error), (_, ntl_digit_error, ntl_product_error) = results.values()
    return ntl_digit_error < digit_error and ntl_product_error < product_error


def each_loss_is_best_where_it_should_be(results):
    cross_entropy, was, mae = results.values()
    likeliest, sampled, mean = zip(cross_entropy, was, mae, strict=True)
    return min(likeliest) == was[0] and min(sampled) == was[1] and mean[0] > was[2] > mae[2]


def only_the_graded_reward_is_learnt(results):
    return results["exact match"] < 0.05 and results["nearness"] > 0.9


SHOWN = {
    "flax_training_loop.py": ntl_brings_digits_and_products_nearer,
    "equinox_model.py": each_loss_is_best_where_it_should_be,
    "ppo_on_arrays.py": only_the_graded_reward_is_learnt,
}


def test_every_example_is_run():
    assert SHOWN.keys() == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.pages
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_its_point(name, capsys):
    results = runpy.run_path(str(EXAMPLES / name))["main"]()
    assert SHOWN[name](results), results
    printed = capsys.readouterr().out
    assert all(row in printed for row in results)

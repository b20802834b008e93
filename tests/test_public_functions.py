# SPDX-License-Identifier: Apache-2.0
"""What every public function of losses and ops does alike, over one table: a function that is not in it fails a test.

Values and gradients are the same with and without jit, for arrays of the host and of a device, and under vmap; they are
float32 of the documented shape, finite, and a second call with other numbers compiles nothing.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import parameterized

from ntl_jax import losses, ops
from ntl_jax.losses import numbers
from ntl_jax.numerals import NumberTable

B, T, V, D = 3, 4, 12, 5
RNG = np.random.default_rng(0)
LOG_PROBS, OLD, ROLLOUT, REFERENCE = (-RNG.uniform(0.1, 3.0, (B, T)).astype(np.float32) for _ in range(4))
REWARDS, VALUES, ADVANTAGES = (RNG.normal(size=(B, T)).astype(np.float32) for _ in range(3))
SCORES, DIGIT_LOGITS, LOGITS, HIDDEN = (
    RNG.normal(size=shape).astype(np.float32) for shape in ((B,), (B, T, 10), (B, T, V), (B, T, D))
)
HEAD = RNG.normal(size=(D, V)).astype(np.float32)
MASK = np.array([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]], bool)
SEGMENTS = np.array([[1, 1, 2, 2], [1, 2, 2, 2], [1, 1, 1, 1]], np.int32)
GROUPS, LENGTHS = np.array([7, -1, 7], np.int32), np.array([3, 1, 4], np.int32)
LABELS = RNG.integers(0, V, (B, T)).astype(np.int32)
DIGITS = np.arange(10, dtype=np.float32)
TRUTH = np.where(MASK, RNG.integers(0, 10, (B, T)), np.nan).astype(np.float32)
TABLE = NumberTable.from_vocab({str(digit): digit for digit in range(10)}, vocab_size=V)
WIDE_TABLE = NumberTable.from_vocab({str(n): n for n in range(8, V)}, kind="numbers", vocab_size=V)
SUMS = losses.correction_sums(jnp.asarray(OLD), jnp.asarray(ROLLOUT), jnp.asarray(MASK))


class Case(NamedTuple):
    """One function and how it is called.

    Attributes:
        function: it.
        arrays: what changes from call to call, by the names of its arguments: a batch, one entry a row. The gradient is
            taken in the first of them, if that is a float.
        shapes: of the results, in the order of their leaves.
        rest: its other arguments.
        by_row: rows are independent of each other, so that one at a time under vmap they give the batch.
        dtype: of the results.
    """

    function: Callable[..., Any]
    arrays: dict[str, Any]
    shapes: list[tuple[int, ...]]
    rest: dict[str, Any] = {}  # noqa: RUF012  never changed
    by_row: bool = True
    dtype: Any = jnp.float32


def token_case(function: Callable[..., Any], arrays: dict[str, Any], **rest: Any) -> Case:
    """A function from [B, T] to [B, T]."""
    return Case(function, arrays, [(B, T)], rest)


def batch_case(function: Callable[..., Any], arrays: dict[str, Any], shape: tuple[int, ...], **rest: Any) -> Case:
    """A function that looks at all rows together."""
    return Case(function, arrays, [shape], rest, by_row=False)


POLICY = {"log_probs": LOG_PROBS, "old_log_probs": OLD, "advantages": ADVANTAGES}
MISMATCH = {"old_log_probs": OLD, "rollout_log_probs": ROLLOUT, "mask": MASK}
NUMBERS = {"number_logits": DIGIT_LOGITS, "targets": TRUTH}
NUMBER_LOG_PROBS = {"number_log_probs": np.array(jax.nn.log_softmax(DIGIT_LOGITS)), "targets": TRUTH}
SPREAD = {"number_logits": DIGIT_LOGITS, "target_probs": np.array(jax.nn.softmax(DIGIT_LOGITS[::-1]))}
NUMERALS = {
    "digit_logits": DIGIT_LOGITS,
    "digit_targets": LABELS % 10,
    "exponents": LABELS,
    "numeral_ids": SEGMENTS - 1,
}
SCORED, MASKED = {"scores": SCORES, "group_ids": GROUPS}, {"x": REWARDS, "mask": MASK}
VOCABULARY = {"hidden": HIDDEN, "targets": LABELS}
OF_HEAD = {"head": HEAD, "number_ids": TABLE.ids}
STATS = [(B, T), (B, T), (B, T), (B, T, 10)]


def weighted(stats: ops.HeadStats, weights: jax.Array) -> jax.Array:
    """A loss of each position."""
    return weights * (stats.entropy - stats.log_probs)


def probs_of_same_width(**arguments: Any) -> jax.Array:
    """Not their logarithms, which are -inf for tokens of another width."""
    return jnp.exp(numbers.of_same_width(**arguments)[0])


CASES = {
    "losses.number_token_wasserstein": token_case(losses.number_token_wasserstein, NUMBERS, values=DIGITS),
    "losses.number_token_mse": token_case(losses.number_token_mse, NUMBERS, values=DIGITS),
    "losses.number_token_mae": token_case(losses.number_token_mae, NUMBERS, values=DIGITS),
    "losses.number_token_huber": token_case(losses.number_token_huber, NUMBERS, values=DIGITS),
    "losses.number_token_dist2": token_case(losses.number_token_dist2, NUMBERS, values=DIGITS),
    "losses.number_token_smmd": token_case(losses.number_token_smmd, NUMBERS, values=DIGITS),
    "losses.number_token_gaussian": token_case(losses.number_token_gaussian, NUMBER_LOG_PROBS, values=DIGITS),
    "losses.number_token_raft": token_case(losses.number_token_raft, NUMBER_LOG_PROBS, values=DIGITS),
    "losses.number_token_real": token_case(losses.number_token_real, NUMBER_LOG_PROBS, values=DIGITS),
    "losses.digit_entropy": token_case(losses.digit_entropy, NUMBERS, values=DIGITS),
    "losses.digit_entropy_weights": token_case(losses.digit_entropy_weights, {"exponents": LABELS}),
    "losses.ntil_weights": token_case(losses.ntil_weights, {"digits_behind": LABELS}),
    "losses.numeral_ntil": Case(losses.numeral_ntil, NUMERALS, [(B, 2)], {"num_numerals": 2}),
    "losses.wasserstein_1": token_case(losses.wasserstein_1, SPREAD, values=DIGITS),
    "losses.with_number_mass": token_case(
        losses.with_number_mass, {"loss": abs(REWARDS), "number_log_mass": LOG_PROBS}, max_loss=9.0
    ),
    "losses.number_token_loss": token_case(
        losses.number_token_loss, {"logits": LOGITS, "labels": LABELS}, table=TABLE, mass_term=True
    ),
    "losses.numeral_smape": Case(losses.numeral_smape, NUMERALS, [(B, 2)], {"num_numerals": 2}),
    "losses.numbers.shares": Case(
        numbers.shares, {"number_logits": DIGIT_LOGITS, "truth": TRUTH}, [(B, T)] * 3, {"values": DIGITS}
    ),
    "losses.numbers.of_same_width": Case(
        probs_of_same_width, {"number_log_probs": DIGIT_LOGITS[..., :4], "token_ids": LABELS}, [(B, T, 4)],
        {"table": WIDE_TABLE},
    ),
    "losses.numbers.to_digit_scale": token_case(
        numbers.to_digit_scale, {"losses": abs(REWARDS), "widths": SEGMENTS}, method="mse"
    ),
    "losses.clipped_policy_loss": token_case(losses.clipped_policy_loss, POLICY, dual_clip=3.0),
    "losses.gspo_policy_loss": token_case(losses.gspo_policy_loss, {**POLICY, "mask": MASK, "segment_ids": SEGMENTS}),
    "losses.cispo_policy_loss": token_case(losses.cispo_policy_loss, POLICY),
    "losses.sapo_policy_loss": token_case(losses.sapo_policy_loss, POLICY),
    "losses.reinforce_policy_loss": token_case(losses.reinforce_policy_loss, POLICY),
    "losses.entropy": token_case(losses.entropy, {"logits": LOGITS}),
    "losses.clipped_value_loss": token_case(
        losses.clipped_value_loss, {"values": VALUES, "old_values": ADVANTAGES, "returns": REWARDS}
    ),
    "losses.gae": Case(
        losses.gae, {"rewards": REWARDS, "values": VALUES, "mask": MASK}, [(B, T)] * 2, {"gamma": 0.9, "lam": 0.8}
    ),
    "losses.group_advantages": batch_case(losses.group_advantages, SCORED, (B,)),
    "losses.leave_one_out_advantages": batch_case(losses.leave_one_out_advantages, SCORED, (B,)),
    "losses.optimal_baseline_advantages": batch_case(
        losses.optimal_baseline_advantages, {**SCORED, "lengths": LENGTHS}, (B,)
    ),
    "losses.gdpo_advantages": batch_case(losses.gdpo_advantages, {**SCORED, "scores": REWARDS}, (B,)),
    "losses.reinforce_plus_plus_advantages": batch_case(
        losses.reinforce_plus_plus_advantages, {"rewards": REWARDS, "mask": MASK, "group_ids": GROUPS}, (B, T)
    ),
    "losses.remax_advantages": token_case(
        losses.remax_advantages, {"rewards": REWARDS, "greedy_scores": SCORES, "mask": MASK}
    ),
    **{
        f"losses.{name}": token_case(getattr(losses, name), {"log_probs": LOG_PROBS, "ref_log_probs": REFERENCE})
        for name in ("kl_k1", "kl_k2", "kl_k3", "kl_abs", "kl_k1_plus", "kl_k3_plus")
    },
    "losses.truncated_importance_weights": token_case(losses.truncated_importance_weights, MISMATCH),
    "losses.banded_importance_weights": token_case(
        losses.banded_importance_weights, MISMATCH, low=0.5, high=2.0, level="sequence"
    ),
    "losses.sequence_rejection_mask": Case(
        losses.sequence_rejection_mask, MISMATCH, [(B, T)], {"low": 0.0, "high": 0.5}, dtype=jnp.bool_
    ),
    "losses.correction_sums": Case(losses.correction_sums, MISMATCH, [()] * len(SUMS), by_row=False),
    "losses.correction_metrics": Case(losses.correction_metrics, {"sums": SUMS}, [()] * 6, by_row=False),
    "losses.aggregate": batch_case(
        losses.aggregate, {"per_token": REWARDS, "mask": MASK}, (), mode="seq-mean-token-mean"
    ),
    "losses.token_weights": batch_case(losses.token_weights, {"mask": MASK}, (B, T), mode="token-mean"),
    "losses.whiten": batch_case(losses.whiten, MASKED, (B, T)),
    "ops.masked_whiten": batch_case(ops.masked_whiten, MASKED, (B, T), axis=1),
    "ops.masked_sum": batch_case(ops.masked_sum, MASKED, ()),
    "ops.masked_mean": batch_case(ops.masked_mean, MASKED, ()),
    "ops.masked_variance": batch_case(ops.masked_variance, MASKED, ()),
    "ops.head_logits": Case(ops.head_logits, {"hidden": HIDDEN}, [(B, T, V)], {"head": HEAD, "temperature": 0.7}),
    "ops.vocab_head": Case(ops.vocab_head, VOCABULARY, STATS, OF_HEAD | {"chunk_size": 4}),
    "ops.vocab_head_dense": Case(ops.vocab_head_dense, VOCABULARY, STATS, OF_HEAD),
    "ops.vocab_head_loss": Case(
        ops.vocab_head_loss, {**VOCABULARY, "inputs": abs(REWARDS)}, [(), *STATS],
        OF_HEAD | {"per_token_loss": weighted, "chunk_size": 4}, by_row=False,
    ),
}  # fmt: skip
NOT_IN_THE_TABLE = {
    "losses.AdaptiveKLController": "host state", "losses.FixedKLController": "host state",
    "losses.numbers.LOSSES": "a table", "losses.numbers.MAX_LOSS": "a table", "losses.numbers.Method": "a type",
    "losses.numbers.SupervisedMethod": "a type", "losses.numbers.OF_SINGLE_DIGITS": "names",
    "ops.HeadStats": "a record", "ops.Spread": "a record", "ops.check_mask": "returns nothing",
}  # fmt: skip


def call(case: Case) -> Callable[[dict[str, Any]], Any]:
    """The function of a case's arrays."""
    return lambda arrays: case.function(**arrays, **case.rest)


def value_and_gradient(case: Case) -> Callable[[dict[str, Any]], Any]:
    """From a case's arrays to its results and the gradient of their sum in the first of the arrays, None for ints."""
    first = next(iter(case.arrays))

    def total(x: Any, arrays: dict[str, Any]) -> tuple[Any, Any]:
        value = call(case)({**arrays, first: x})
        return sum(jnp.sum(leaf, dtype=jnp.float32) for leaf in jax.tree.leaves(value)), value

    def run(arrays: dict[str, Any]) -> Any:
        if not all(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(arrays[first])):
            return total(arrays[first], arrays)[1], None
        gradient, value = jax.grad(total, has_aux=True)(arrays[first], arrays)
        return value, gradient

    return run


def other_numbers(arrays: dict[str, Any]) -> dict[str, Any]:
    """Another batch of the same shapes: the rows in reverse."""
    return jax.tree.map(lambda x: x[::-1] if x.ndim else 2 * x, arrays)


@functools.cache
def expected(name: str) -> Any:
    """Results and gradients of the case's batch and of the other one, by one compiled function."""
    case = CASES[name]
    run = jax.jit(chex.assert_max_traces(value_and_gradient(case), n=1))
    return tuple(run(arrays) for arrays in (case.arrays, other_numbers(case.arrays)))


class EveryPublicFunctionTest(chex.TestCase):
    def setUp(self):
        super().setUp()
        chex.clear_trace_counter()

    def test_every_public_name_is_in_the_table_or_is_listed_as_something_else(self):
        packages = {"losses": losses, "losses.numbers": numbers, "ops": ops}
        public = {f"{prefix}.{name}" for prefix, package in packages.items() for name in package.__all__}
        self.assertEqual(public, CASES.keys() | NOT_IN_THE_TABLE.keys())
        self.assertEqual(CASES.keys() & NOT_IN_THE_TABLE.keys(), set())

    @parameterized.named_parameters((name, name) for name in CASES)
    def test_results_are_finite_float32_of_the_documented_shape_and_gradients_like_the_argument(self, name: str):
        case = CASES[name]
        for value, gradient in expected(name):
            chex.assert_tree_all_finite((value, gradient))
            chex.assert_shape(jax.tree.leaves(value), case.shapes)
            chex.assert_type(jax.tree.leaves(value), case.dtype)
            if gradient is not None:
                chex.assert_trees_all_equal_shapes_and_dtypes(gradient, case.arrays[next(iter(case.arrays))])

    @chex.variants(with_jit=True, without_jit=True, with_device=True, without_device=True)  # pyright: ignore[reportCallIssue]
    @parameterized.named_parameters((name, name) for name in CASES)
    def test_values_do_not_depend_on_how_it_is_called_and_other_numbers_compile_nothing(self, name: str):
        case = CASES[name]
        run = self.variant(chex.assert_max_traces(call(case), n=1))
        for arrays, (value, _) in zip((case.arrays, other_numbers(case.arrays)), expected(name), strict=True):
            chex.assert_trees_all_close(run(arrays), value, rtol=1e-5, atol=1e-6)

    @parameterized.named_parameters((name, name) for name in CASES)
    def test_under_vmap_values_and_gradients_are_those_of_one_call_after_the_other(self, name: str):
        case, (batch, other) = CASES[name], expected(name)
        mapped = jax.jit(jax.vmap(value_and_gradient(case)))
        if case.by_row:
            chex.assert_trees_all_close(mapped(case.arrays), batch, rtol=1e-5, atol=1e-6)
        else:
            both = jax.tree.map(lambda *x: np.stack(x), case.arrays, other_numbers(case.arrays))
            together = jax.tree.map(lambda *x: np.stack(x), batch, other)
            chex.assert_trees_all_close(mapped(both), together, rtol=1e-5, atol=1e-6)

# SPDX-License-Identifier: Apache-2.0
"""Number tokens of several digits, taken as digits are: beside those of as many digits, and on a digit's scale.

At a token of k digits a token of another length would have meant another place value, so that only the tokens of k
digits compete; their values, 0 to 10^k - 1, are scaled to a digit's 0 to 9. Losses, missing places and the reward's
temperature mean the same then for every tokenizer. With digits alone nothing of this enters the program.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntl_jax.losses.numbers.methods import SupervisedMethod
from ntl_jax.numerals import NumberTable

_LARGEST_DIGIT = 9.0
_IN_UNITS = {"wasserstein": 1, "mse": 2, "raft": 2}
"""By method: the power of the values' unit that its losses have; those of the others have none."""


def of_same_width(
    number_log_probs: Float[Array, "... M"], token_ids: Int[Array, "..."], table: NumberTable
) -> tuple[Float[Array, "... M"], Int[Array, "..."] | None]:
    """Leaves the number tokens with as many digits as the one that stands there; the others get -inf.

    Args:
        number_log_probs: of the table's ids.
        token_ids: what stands there.
        table: of either kind; one of digits changes nothing.

    Returns:
        The log-probs, and the number of digits at each position (0: no number token); None for a table of digits.

    Example:
        >>> table = NumberTable.from_vocab({"7": 0, "12": 1, "345": 2, "67": 3}, kind="numbers")
        >>> log_probs, widths = of_same_width(jnp.zeros((1, 4)), jnp.array([3]), table)
        >>> log_probs.tolist(), widths.tolist()
        ([[-inf, 0.0, 0.0, -inf]], [2])
    """
    if table.kind == "digits":
        return number_log_probs, None
    width_of_token = jnp.zeros(table.token_values.shape, jnp.int32).at[table.ids].set(table.num_digits)
    widths = width_of_token[token_ids]
    alike = jnp.broadcast_to(widths[..., None], number_log_probs.shape) == jnp.broadcast_to(
        table.num_digits, number_log_probs.shape
    )
    return jnp.where(alike, number_log_probs, -jnp.inf), widths


def to_digit_scale(
    losses: Float[Array, "..."], widths: Int[Array, "..."] | None, method: SupervisedMethod
) -> Float[Array, "..."]:
    """Losses in units of the tokens' values as losses of digits.

    Example: two digits, off by 11 of 99: one of nine
        >>> to_digit_scale(jnp.array([11.0]), jnp.array([2]), "wasserstein").tolist()
        [1.0]
    """
    if widths is None or method not in _IN_UNITS:
        return losses
    unit = _LARGEST_DIGIT / (10.0 ** jnp.maximum(widths, 1).astype(jnp.float32) - 1.0)
    return losses * unit ** _IN_UNITS[method]

# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments: what is wrong, what is allowed, and how to fix it, before anything is computed.

Types, dtypes and shapes are also checked under `jit`. Values of traced numbers are unknown there and not checked.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int


def check_arrays(**arrays: object) -> None:
    """Raises ValueError unless each argument is a JAX or numpy array.

    Args:
        arrays: by the names to use in the message.

    Raises:
        ValueError: one is a list, a Python number, None or an array of another library.

    Example:
        >>> check_arrays(rewards=[0.0, 1.0])
        Traceback (most recent call last):
        ...
        ValueError: rewards is a list: pass an array, such as jnp.asarray(rewards)
    """
    for name, array in arrays.items():
        if not isinstance(array, jax.Array | np.ndarray | np.generic):
            raise ValueError(f"{name} is a {type(array).__name__}: pass an array, such as jnp.asarray({name})")


def check_mask(mask: Array, name: str = "mask") -> None:
    """Raises ValueError unless the mask is a bool array: a float mask would silently act as a weight.

    Args:
        mask: any array.
        name: the name to use in the message.

    Raises:
        ValueError: it is not an array, or its dtype is not bool.

    Example:
        >>> check_mask(jnp.ones(3))
        Traceback (most recent call last):
        ...
        ValueError: mask is float32: masks are bool and mean "this position counts"; pass mask.astype(bool) or mask != 0
    """
    check_arrays(**{name: mask})
    if mask.dtype != jnp.bool_:
        raise ValueError(
            f'{name} is {mask.dtype}: masks are bool and mean "this position counts"; '
            f"pass {name}.astype(bool) or {name} != 0"
        )


def check_same_shape(**arrays: Array) -> None:
    """Raises ValueError unless all shapes are equal; suggests fixes for an extra entry or a missing axis.

    Args:
        arrays: by the names to use in the message.

    Raises:
        ValueError: one is not an array, or two shapes differ.

    Example:
        >>> check_same_shape(rewards=jnp.zeros((2, 4)), values=jnp.zeros((2, 5)))
        Traceback (most recent call last):
        ...
        ValueError: shapes do not agree: rewards (2, 4), values (2, 5); all must be the same: values has an entry too
        many along the last axis, drop the one that belongs to no token, such as values[..., :-1]
    """
    check_arrays(**arrays)
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"shapes do not agree: {given}; all must be the same{shape_remedy(shapes)}")


def check_segment_ids(segment_ids: Int[Array, "... T"] | None, mask: Bool[Array, "... T"]) -> None:
    """Raises ValueError unless the ids of packed sequences are ints, one per token; None: one sequence per row.

    Args:
        segment_ids: [..., T] or None.
        mask: [..., T]; the ids must have its shape.

    Raises:
        ValueError: they are not an array, not ints, or have another shape.

    Example:
        >>> check_segment_ids(jnp.zeros(2), jnp.ones((2, 4), bool))
        Traceback (most recent call last):
        ...
        ValueError: segment_ids are float32 (2,): pass ints of the mask's shape (2, 4), equal within a sequence
    """
    if segment_ids is None:
        return
    check_arrays(segment_ids=segment_ids)
    if segment_ids.shape != mask.shape or not jnp.issubdtype(segment_ids.dtype, jnp.integer):
        raise ValueError(
            f"segment_ids are {segment_ids.dtype} {segment_ids.shape}: pass ints of the mask's shape {mask.shape}, "
            "equal within a sequence"
        )


def check_numbers(allowed: str, holds: Callable[[np.ndarray], np.ndarray], **numbers: object) -> None:
    """Raises ValueError unless a test holds for each number, or for all entries of each array of numbers.

    Args:
        allowed: the text of the message after "must be", with the fix.
        holds: the test, elementwise on a float64 array; it must be False for NaN.
        numbers: by the names to use in the message.

    Raises:
        ValueError: the test fails, or an argument is not a number.

    Example:
        >>> check_numbers("above 1, or None", lambda x: x > 1, dual_clip=0.2)
        Traceback (most recent call last):
        ...
        ValueError: dual_clip=0.2 must be above 1, or None
    """
    for name, number in numbers.items():
        if isinstance(number, Tracer):
            continue
        is_number = isinstance(number, int | float | np.generic | np.ndarray | jax.Array)
        if not is_number or not np.all(holds(np.asarray(number, np.float64))):
            given = repr(number) if isinstance(number, str) else number
            raise ValueError(f"{name}={given} must be {allowed}")


def check_positive(**numbers: object) -> None:
    """`check_numbers`: finite and above 0."""
    check_numbers("a finite number above 0", lambda x: (x > 0) & (x < np.inf), **numbers)


def check_not_negative(**numbers: object) -> None:
    """`check_numbers`: at least 0, infinity included."""
    check_numbers("at least 0", lambda x: x >= 0, **numbers)


def check_fraction(**numbers: object) -> None:
    """`check_numbers`: in [0, 1]."""
    check_numbers("in [0, 1]", lambda x: (x >= 0) & (x <= 1), **numbers)


def check_bounds(
    low: ArrayLike, high: ArrayLike, *, around: float | None = None, remedy: str = "exchange them"
) -> None:
    """Raises ValueError unless `low <= high`, with `around` between them; traced bounds are not checked.

    Args:
        low: lower bound, -inf for none.
        high: upper bound, inf for none.
        around: the value that the bounds must include. None: no such value.
        remedy: how to choose valid bounds.

    Raises:
        ValueError: the bounds are in the wrong order, exclude `around`, or are NaN.

    Example:
        >>> check_bounds(0.2, 0.5, around=1.0, remedy="1 is the weight where both agree")
        Traceback (most recent call last):
        ...
        ValueError: low=0.2 and high=0.5 must be in this order with 1 within: 1 is the weight where both agree
    """
    if isinstance(low, Tracer) or isinstance(high, Tracer):
        return
    check_numbers("a number, -inf or inf for no bound", lambda x: ~np.isnan(x), low=low, high=high)
    least, most = (low, high) if around is None else (around, around)
    if not (np.all(np.asarray(low) <= most) and np.all(np.asarray(high) >= least)):
        within = "" if around is None else f" with {around:g} within"
        raise ValueError(f"low={low} and high={high} must be in this order{within}: {remedy}")


def shape_remedy(shapes: dict[str, tuple[int, ...]]) -> str:
    """How to fix the two usual mismatches of shapes; empty for others."""
    if len({len(shape) for shape in shapes.values()}) > 1:
        return " (a value per row becomes one per token by jnp.broadcast_to(x[:, None], mask.shape))"
    sizes = {name: shape[-1] for name, shape in shapes.items()}
    longest, shortest = max(sizes, key=sizes.__getitem__), min(sizes.values())
    if sizes[longest] != shortest + 1 or len({shape[:-1] for shape in shapes.values()}) > 1:
        return ""
    return (
        f": {longest} has an entry too many along the last axis, drop the one that belongs to no token, "
        f"such as {longest}[..., :-1]"
    )

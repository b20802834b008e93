# SPDX-License-Identifier: Apache-2.0
"""Weights as they are handed to what samples: parameters under a version."""

import dataclasses
from typing import Any, Literal, NamedTuple

Params = Any
"""A tree of parameters: arrays, or their shapes, under the names of a model."""


class Version(NamedTuple):
    """Which weights: those of the policy before an iteration, or their moving average at that time.

    Two sets of weights that differ have different versions: an engine transfers nothing for a version that it holds.

    Example:
        >>> Version(3), Version(3) == Version(3, "average")
        (Version(iteration=3, kind='newest'), False)
    """

    iteration: int
    kind: Literal["newest", "average"] = "newest"


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """One version of a policy's weights.

    Args:
        version: names them.
        params: as ``nnx.state(decoder, nnx.Param)`` gives them.

    Example:
        >>> Weights(Version(0), params={}).version.kind
        'newest'
    """

    version: Version
    params: Params

# SPDX-License-Identifier: Apache-2.0
"""Weights for rollout engines: parameters with a version."""

import dataclasses
from typing import Any, Literal, NamedTuple

Params = Any
"""A tree of parameters by name: arrays or their shapes."""


VersionKind = Literal["newest", "average"]
"""The newest weights, or their moving average."""


class Version(NamedTuple):
    """Identifies weights: the policy's before an iteration, or their moving average at that time.

    Different weights must have different versions: an engine does not transfer a version that it already holds.

    Example:
        >>> Version(3), Version(3) == Version(3, "average")
        (Version(iteration=3, kind='newest'), False)
    """

    iteration: int
    kind: VersionKind = "newest"


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """One version of a policy's weights.

    Args:
        version: identifies the weights.
        params: as returned by ``nnx.state(decoder, nnx.Param)``, on devices or on the host.

    Example:
        >>> Weights(Version(0), params={}).version.kind
        'newest'
    """

    version: Version
    params: Params

# SPDX-License-Identifier: Apache-2.0
"""The table of parameters by name, used by sharding, weight decay, Muon and the Hugging Face layout.

The name decides a parameter's kind, not the number of axes: biases of heads have two axes but are not matrices.
"""

from typing import Literal, NamedTuple

import jax

STACK = "stack"
"""The word in a path that says that all layers' arrays are one, along a leading axis ``LAYERS``."""
LAYERS = "layers"

Kind = Literal["embedding", "head", "matrix", "bias", "norm", "value_head"]


class Parameter(NamedTuple):
    """One name's row of the table.

    Attributes:
        kind: "matrix": a layer's matrix. "embedding", "head": rows of the vocabulary. Other kinds are vectors.
        axes: the meaning of each axis, which ``sharding.RULES`` map to mesh axes.
        num_inputs: number of axes of a matrix that are inputs, the first of each layer's; the rest are outputs. 0 for
            other kinds.
    """

    kind: Kind
    axes: tuple[str, ...]
    num_inputs: int = 0

    @property
    def num_stacked(self) -> int:
        """Number of leading axes that count layers: 1 for stacked layers, else 0."""
        return self.axes.count(LAYERS)


PARAMETERS: dict[str, Parameter] = {
    "embedding": Parameter("embedding", ("vocab", "width")),
    "unembedding": Parameter("head", ("vocab", "width")),
    "query": Parameter("matrix", ("width", "heads", "head_dim"), num_inputs=1),
    "key": Parameter("matrix", ("width", "kv_heads", "head_dim"), num_inputs=1),
    "value": Parameter("matrix", ("width", "kv_heads", "head_dim"), num_inputs=1),
    "query_bias": Parameter("bias", ("heads", "head_dim")),
    "key_bias": Parameter("bias", ("kv_heads", "head_dim")),
    "value_bias": Parameter("bias", ("kv_heads", "head_dim")),
    "output": Parameter("matrix", ("heads", "head_dim", "width"), num_inputs=2),
    "gate": Parameter("matrix", ("width", "feed_forward"), num_inputs=1),
    "up": Parameter("matrix", ("width", "feed_forward"), num_inputs=1),
    "down": Parameter("matrix", ("feed_forward", "width"), num_inputs=1),
    "scale": Parameter("norm", ("whole",)),
    "value_head": Parameter("value_head", ("whole",)),
}
TABLE_NAME = "PARAMETERS in ntl_jax/models/parameters.py"
NNX_VALUE = jax.tree_util.GetAttrKey("value")  # last key in the path of an ``nnx.State`` leaf, inside its ``nnx.Param``


def leaf_name(path: jax.tree_util.KeyPath) -> str | None:
    """The last word of a leaf's path: the name of a parameter, or of an optimizer's own leaf.

    Example:
        >>> paths = [path for path, _ in jax.tree.leaves_with_path({"layers": [{"up": 1.0}]})]
        >>> leaf_name(paths[0])
        'up'
    """
    words = _words(path)
    return words[-1] if words else None


def parameter_at(path: jax.tree_util.KeyPath) -> Parameter:
    """The row of the parameter at a path; arrays of stacked layers have one more axis, the first.

    Raises:
        ValueError: for a name that is not in the table.

    Example:
        >>> paths = [path for path, _ in jax.tree.leaves_with_path({"stack": {"up": 1.0}, "up": 1.0})]
        >>> [parameter_at(path).axes for path in paths]
        [('layers', 'width', 'feed_forward'), ('width', 'feed_forward')]
    """
    name = leaf_name(path)
    if name not in PARAMETERS:
        raise ValueError(f"{unknown(path)}; {TABLE_NAME} has {', '.join(PARAMETERS)}")
    row = PARAMETERS[name]
    return row._replace(axes=(LAYERS, *row.axes)) if STACK in _words(path) else row


def unknown(path: jax.tree_util.KeyPath) -> str:
    """The message for a leaf that is not in the table, with the fix."""
    where, name = jax.tree_util.keystr(path), leaf_name(path)
    return f"{where}: unknown parameter {name!r}; add a row for it (kind, axes, num_inputs) to {TABLE_NAME}"


def _words(path: jax.tree_util.KeyPath) -> list[str]:
    words = []
    for key in path:
        match key:
            case jax.tree_util.DictKey(key=str(word)):
                words.append(word)
            case jax.tree_util.GetAttrKey(name=str(word)) if key != NNX_VALUE:
                words.append(word)
    return words

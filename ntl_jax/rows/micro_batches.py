# SPDX-License-Identifier: Apache-2.0
"""How many rows go through a model at once."""


def micro_batches(num_rows: int, row_size: int, max_tokens: int, num_shards: int) -> tuple[int, int]:
    """The fewest equal parts to split rows into; the parts may hold more rows than there are.

    Args:
        num_rows: at least 1.
        row_size: padded tokens per row.
        max_tokens: most padded tokens per part, unless one row per shard is more.
        num_shards: the rows of a part are a multiple of it.

    Returns:
        Number of parts, and rows per part.

    Example:
        >>> micro_batches(128, 96, 16384, 1), micro_batches(127, 96, 8192, 1), micro_batches(6, 512, 100, 4)
        ((1, 128), (2, 64), (2, 4))
    """
    per_shard = -(-num_rows // num_shards)
    parts = -(-per_shard // max(1, max_tokens // (row_size * num_shards)))
    return parts, -(-per_shard // parts) * num_shards

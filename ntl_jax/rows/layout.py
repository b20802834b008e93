# SPDX-License-Identifier: Apache-2.0
"""The layout of rows that costs least: padded, packed, or with a prompt shared by its samples."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ntl_jax.config import RunConfig
from ntl_jax.models import ModelConfig
from ntl_jax.models.attention.rows import choose_attention
from ntl_jax.records import AnyRows, Targets
from ntl_jax.rows.padding import RowShape, pad_rows, share_rows

Kind = Literal["padded", "packed", "shared"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How prompts and responses become rows.

    Args:
        kind: "padded": a row per response. "packed": padded here, and packed when weights are known. "shared": a row
            per prompt, with several responses.
        shape: bounds of rows and responses.
        samples_per_row: samples of a prompt that go through updates together, in every layout; in one row if shared.
    """

    kind: Kind
    shape: RowShape
    samples_per_row: int = 1

    def rows(
        self,
        prompts: Sequence[np.ndarray],
        responses: Sequence[np.ndarray],
        *,
        numbers: Sequence[np.ndarray],
        keep: np.ndarray | None = None,
    ) -> tuple[AnyRows, Targets]:
        """The rows and their targets, not packed; arguments as in `share_rows`.

        Example:
            >>> prompts, responses = [np.array([5])] * 2, [np.array([1]), np.array([2])]
            >>> nothing = [np.full(1, np.nan)] * 2
            >>> for layout in (Layout("padded", RowShape(8, 8), 2), Layout("shared", RowShape(16, 8), 2)):
            ...     print(layout.rows(prompts, responses, numbers=nothing)[0].shape)
            (2, 8)
            (1, 24)
        """
        settings = {"numbers": numbers, "keep": keep}
        if self.kind == "shared" and self.samples_per_row > 1:
            return share_rows(prompts, responses, self.shape, self.samples_per_row, **settings)
        return pad_rows(prompts, responses, self.shape, **settings)

    def of_samples(self, draws: Sequence[int]) -> "Layout":
        """This layout for a forward pass over other samples, which follow each other by prompt.

        Args:
            draws: the draw of each sample's prompt.

        Example:
            >>> layout = Layout("shared", RowShape(16, 8), 8)
            >>> [layout.of_samples(draws).samples_per_row for draws in ([7, 7, 9, 9], [7, 7, 9], [7, 9, 9, 9])]
            [2, 1, 1]
        """
        starts = [0, *(np.flatnonzero(np.diff(draws)) + 1).tolist(), len(draws)]
        return dataclasses.replace(self, samples_per_row=int(np.gcd.reduce(np.diff(starts))))


def layout_on(config: RunConfig, model: ModelConfig, shape: RowShape, num_shards: int, platform: str) -> Layout:
    """The layout of the rows of an update, which passes over an iteration's samples use too.

    Args:
        config, model: of the run.
        shape: bounds of rows and responses.
        num_shards: shards of rows.
        platform: of the devices.

    Example:
        >>> sizes = {"width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32, "feed_forward": 128}
        >>> model = ModelConfig(vocab_size=512, num_layers=2, **sizes)
        >>> [layout_on(RunConfig(), model, RowShape(256, 128), 1, platform).kind for platform in ("cpu", "tpu")]
        ['shared', 'padded']
    """
    rollout, trainer = config.rollout, config.trainer
    rows = rollout.prompts_per_step * rollout.num_samples // config.algorithm.minibatches
    together = samples_together(rows, rollout.num_samples, shape, trainer.max_tokens_per_micro_batch, num_shards)
    return Layout(choose_kind(trainer.row_layout, shape, model, together, platform), shape, together)


def choose_kind(
    setting: Literal["auto", "padded", "packed", "shared"],
    shape: RowShape,
    model: ModelConfig,
    samples_per_row: int,
    platform: str,
) -> Kind:
    """Resolves "auto": shared rows if their products are fewer and the platform has no attention kernel for whole rows.

    Args:
        setting: ``trainer.row_layout``.
        shape: bounds of rows and responses.
        model: the policy's sizes.
        samples_per_row: samples of a prompt in a row.
        platform: the devices' platform.

    Example:
        >>> sizes = {"width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32, "feed_forward": 128}
        >>> model = ModelConfig(vocab_size=512, num_layers=2, **sizes)
        >>> [choose_kind("auto", RowShape(96, 32), model, samples, "cpu") for samples in (1, 8)]
        ['padded', 'shared']
    """
    if setting != "auto":
        return setting
    if samples_per_row == 1:
        return "padded"
    queries = (1, shape.row, model.num_heads, model.head_dim)
    has_kernel = choose_attention(model.attention, queries, np.dtype(model.compute_dtype), platform) != "xla"
    return "padded" if has_kernel or relative_cost(shape, model, samples_per_row) >= 1 else "shared"


def relative_cost(shape: RowShape, model: ModelConfig, samples_per_row: int) -> float:
    """Multiplications of a pass over shared rows, relative to padded rows, with prompts and responses of full length.

    Example: 64 + 8 x 32 positions and not 8 x 96
        >>> sizes = {"width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32, "feed_forward": 128}
        >>> model = ModelConfig(vocab_size=512, num_layers=2, **sizes)
        >>> round(relative_cost(RowShape(96, 32), model, 8), 2)
        0.47
    """
    prompt, response = shape.row - shape.response, shape.response
    of_position = model.width * (model.head_dim * 2 * (model.num_heads + model.num_kv_heads) + 3 * model.feed_forward)
    of_score = 2 * model.num_heads * model.head_dim
    head = samples_per_row * response * model.width * model.vocab_size

    def cost(positions: int, scores: int) -> int:
        return model.num_layers * (positions * of_position + scores * of_score) + head

    shared = cost(prompt + samples_per_row * response, prompt**2 + samples_per_row * response * shape.row)
    return shared / cost(samples_per_row * shape.row, samples_per_row * shape.row**2)


def samples_together(rows_per_update: int, num_samples: int, shape: RowShape, max_tokens: int, num_shards: int) -> int:
    """The most samples of a prompt that can share a row of an update.

    Args:
        rows_per_update: responses in an update.
        num_samples: samples per prompt.
        shape: bounds of rows and responses.
        max_tokens: most padded tokens per forward pass.
        num_shards: the rows of an update divide over it.

    Example: 32 responses of 4 prompts; 12 responses of one and a half
        >>> [samples_together(rows, 8, RowShape(96, 32), 16_384, 1) for rows in (32, 12)]
        [8, 4]
    """
    prompt = shape.row - shape.response
    fits = [
        count
        for count in range(1, num_samples + 1)
        if num_samples % count == 0
        and rows_per_update % (count * num_shards) == 0
        and prompt + count * shape.response <= max_tokens
    ]
    return max(fits, default=1)


def check_rows(config: RunConfig, num_shards: int) -> None:
    """Checks that the rows of an update divide over the devices.

    Args:
        config: of the run.
        num_shards: shards of rows.

    Raises:
        ValueError: naming the settings that decide the number of rows.

    Example:
        >>> check_rows(RunConfig(), 3)
        Traceback (most recent call last):
        ...
        ValueError: warm_start.batch_size = 64 and rollout.prompts_per_step * rollout.num_samples / algorithm.minibatches = 128: rows of an update must divide over the 3 devices along data and fsdp; change them, or model.mesh=(-1, 1, 1)
    """  # noqa: E501
    rows, rollout = {}, config.rollout
    if config.warm_start.steps:
        rows["warm_start.batch_size"] = config.warm_start.batch_size
    if config.trainer.steps:
        name = "rollout.prompts_per_step * rollout.num_samples / algorithm.minibatches"
        rows[name] = rollout.prompts_per_step * rollout.num_samples // config.algorithm.minibatches
    uneven = [f"{name} = {count}" for name, count in rows.items() if count % num_shards]
    if uneven:
        raise ValueError(
            f"{' and '.join(uneven)}: rows of an update must divide over the {num_shards} devices along data and fsdp; "
            f"change them, or model.mesh={config.model.mesh}"
        )

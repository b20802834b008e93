# SPDX-License-Identifier: Apache-2.0
"""One checkpoint's folder: how it is written, checked and read."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from ntl_jax.processes.arrays import fetch
from ntl_jax.processes.exchange import all_do, first_does, process_id
from ntl_jax.records import Params
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.train.checkpoints.manifest import MANIFEST, damage_of, is_sealed
from ntl_jax.train.checkpoints.place import ARRAYS, Place, storage_errors, system_errors
from ntl_jax.train.checkpoints.stacking import restore_as
from ntl_jax.update.state import TrainState

STATE, ARRIVED = ARRAYS, "arrived"
META, HELD_OUT = "meta/metadata", "metrics/metrics"
MISFIT = "does not fit this run's policy and optimizer"
PASSING = re.compile("UNAVAILABLE|UNAUTHENTICATED|PERMISSION_DENIED|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|ABORTED")
"""What the library that reads arrays from a bucket says, in a ValueError, of errors that are none of the checkpoint."""
Tree = TypeVar("Tree")
SEALED = "sealed"
"""Key in the meta of a checkpoint that has a manifest, so that a manifest that has gone is missed."""


class UnusableError(ValueError):
    """A checkpoint that is damaged, cannot be read, or does not fit; the message goes on after its path."""


class DamagedError(UnusableError):
    """A checkpoint whose contents are not what was written."""


class MisfitError(UnusableError):
    """A checkpoint of another policy or optimizer."""


class Restored(NamedTuple):
    """What a stage goes on from.

    Args:
        step: steps done so far.
        state: placed like the state of the stage.
        meta: the metadata saved with it.
        held_out: metrics of the policy's evaluation; empty without one.
        arrived: samples for later steps; empty if there are none.
    """

    step: int
    state: TrainState
    meta: dict[str, Any]
    held_out: dict[str, float]
    arrived: FlatTrajectories


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was written: ``run/checkpoints/stage/<step>``, an absolute path or one below a bucket."""

    stage: str
    step: int
    folder: Place

    @property
    def is_sealed(self) -> bool:
        """Whether it has a manifest to be compared with; otherwise an older version wrote it."""
        return is_sealed(self.folder)

    def check(self, *, without_state: bool = False) -> None:
        """Compares all files with the manifest, if there is one; of those of the state perhaps only the lengths.

        Raises:
            DamagedError: saying which file is damaged and how.
            UnusableError: if a file cannot be read, which may pass.
        """
        if self.is_sealed:
            try:
                damage = damage_of(self.folder, without=STATE if without_state else None)
            except storage_errors() as error:
                named = getattr(error, "filename", None) or self.folder
                raise _unreadable(str(named).rpartition("/")[2], error) from error
        else:
            damage = f"{MANIFEST} is missing" if SEALED in self._json(META) else None
        if damage:
            raise DamagedError(f"is damaged: {damage}")

    @property
    def meta(self) -> dict[str, Any]:
        """The metadata saved with the state."""
        return {name: value for name, value in self._json(META).items() if name != SEALED}

    @property
    def held_out(self) -> dict[str, float]:
        """Metrics of the policy's evaluation; empty without one."""
        return self._json(HELD_OUT) if (self.folder / HELD_OUT).exists() else {}

    @property
    def accuracy(self) -> float:
        """Held-out accuracy; -inf without an evaluation, or if it cannot be read."""
        try:
            return self.held_out.get("val/accuracy", float("-inf"))
        except UnusableError:
            return float("-inf")

    def restore(self, like: TrainState) -> Restored:
        """Reads everything, checked, with the state placed like ``like``. Layers may be stacked in one of them.

        Of several processes, each reads its part, and the first checks the files. What one of them cannot read is an
        error of all.

        Raises:
            UnusableError: if it is damaged, its weights are not finite, or its arrays differ in shape from ``like``.
        """
        first_does(self.check)

        def read(abstract: TrainState) -> TrainState:
            with _reader() as checkpointer:
                return checkpointer.restore(self.folder / STATE, args=ocp.args.StandardRestore(abstract))

        state = self._placed(like, all_do(self._stored_tree), read)
        for model in state.models.values():
            _check_finite(model.params)
            _check_finite(model.average)
        return Restored(self.step, state, *all_do(lambda: (self.meta, self.held_out, self._arrived())))

    def restore_policy(self, like: Params) -> Params:
        """The policy's moving average if kept, else its parameters, checked and placed like ``like``.

        Raises:
            UnusableError: as `restore`.
        """
        self.check()
        try:
            stored = self._stored_tree()["models"]["policy"]
            name = "params" if stored["average"] is None else "average"
        except (KeyError, TypeError) as error:
            raise DamagedError(f"is damaged: its state holds no policy ({error})") from error

        def read(params: Params) -> Params:
            item = {"models": {"policy": {name: params}}}
            arguments = ocp.args.PyTreeRestore(
                item=item, restore_args=ocp.checkpoint_utils.construct_restore_args(item), partial_restore=True
            )
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(), multiprocessing_options=_alone()) as checkpointer:
                return checkpointer.restore(self.folder / STATE, args=arguments)["models"]["policy"][name]

        params = self._placed(like, stored[name], read)
        _check_finite(params)
        return params

    def _placed(self, like: Tree, stored: PyTree, read: Callable[[Tree], Tree]) -> Tree:
        """What ``read`` reads from the shapes that are stored, with the layers as in ``like``."""

        def read_fitting(abstract: Tree) -> Tree:
            expected, found = (sorted(x.shape for x in jax.tree.leaves(tree)) for tree in (abstract, stored))
            if expected != found:
                raise MisfitError(MISFIT)
            with self._judged():
                return read(abstract)

        with self._judged():
            shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
            return restore_as(shapes, stored, lambda abstract: all_do(lambda: read_fitting(abstract)))

    @contextlib.contextmanager
    def _judged(self) -> Iterator[None]:
        """Raises what reading the state raises as an UnusableError."""
        try:
            yield
        except storage_errors() as error:
            raise _unreadable(STATE, error) from error
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, UnusableError):
                raise
            if PASSING.search(str(error)):
                raise _unreadable(STATE, error) from error
            if not self.is_sealed:
                raise DamagedError(f"is damaged, or {MISFIT}") from error
            raise MisfitError(MISFIT) from error

    def _arrived(self) -> FlatTrajectories:
        if not (self.folder / ARRIVED).exists():
            return {}
        try:
            with _reader() as checkpointer:
                arrays = checkpointer.restore(self.folder / ARRIVED, args=ocp.args.StandardRestore())
        except (ValueError, KeyError, AttributeError, *storage_errors()) as error:
            raise _unreadable(ARRIVED, error) from error
        return {name: np.asarray(array)[:-1] for name, array in arrays.items()}

    def _stored_tree(self) -> dict[str, Any]:
        """The stored state with metadata in place of arrays."""
        try:
            with ocp.PyTreeCheckpointer() as checkpointer:
                return checkpointer.metadata(self.folder / STATE).item_metadata.tree
        except (ValueError, KeyError, AttributeError, *storage_errors()) as error:
            raise _unreadable(STATE, error) from error

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / name).read_bytes())
        except (ValueError, *storage_errors()) as error:
            raise _unreadable(name, error) from error
        if not isinstance(found, dict) or (name == META and not found):
            raise DamagedError(f"is damaged: {name} holds {found!r:.40}")
        return found


def _alone() -> ocp.options.MultiprocessingOptions:
    """So that Orbax waits for no other process, which may have failed to read."""
    return ocp.options.MultiprocessingOptions(primary_host=process_id(), active_processes={process_id()})


def _reader() -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.StandardCheckpointHandler(), multiprocessing_options=_alone())


def write_checkpoint(
    folder: Place,
    state: TrainState,
    meta: Mapping[str, object],
    held_out: Mapping[str, float],
    arrived: FlatTrajectories,
) -> None:
    """Writes everything but the manifest to a folder, which is made. Several processes write their parts of the state.

    Raises:
        OSError, ValueError: as the disk or the library that writes the arrays says.
    """
    first_does(system_errors()(lambda: folder.mkdir()))
    arrays: dict[str, Any] = {STATE: state}
    if arrived:
        # Orbax refuses empty arrays, which are all that lost samples have: each gets a row that is dropped again.
        arrays[ARRIVED] = {
            name: np.concatenate([array, np.zeros_like(array, shape=(1, *array.shape[1:]))])
            for name, array in arrived.items()
        }
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        for name, tree in arrays.items():
            checkpointer.save(folder / name, args=ocp.args.StandardSave(tree))
    first_does(lambda: _write_json(folder / META, {**meta, SEALED: True}))
    first_does(lambda: _write_json(folder / HELD_OUT, held_out))


@system_errors()
def _write_json(path: Place, contents: Mapping[str, object]) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps(dict(contents)), encoding="utf-8")


def _check_finite(params: PyTree) -> None:
    finite = jax.tree.leaves_with_path(fetch(_finite(params)))
    if names := [jax.tree_util.keystr(path) for path, is_finite in finite if not is_finite]:
        raise DamagedError(f"is damaged: {len(names)} of its weights are not finite, the first of them {names[0]}")


@jax.jit
def _finite(params: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.isfinite(x).all(), params)


def _unreadable(name: str, error: BaseException) -> UnusableError:
    """Damage, or where the system or the network does not let a file be read, what may pass."""
    may_pass = isinstance(error, storage_errors()) or PASSING.search(str(error))
    if may_pass and not isinstance(error, FileNotFoundError):
        return UnusableError(f"cannot be read: {name} ({_first_line(error)})")
    return DamagedError(f"is damaged: {name} cannot be read ({_first_line(error)})")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]

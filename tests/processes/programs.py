# SPDX-License-Identifier: Apache-2.0
"""What the tests run in several processes: python tests/processes/programs.py NAME ARGUMENTS."""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import shutil
import signal
import sys
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ntl_jax.config import RunConfig, TrainerSection
from ntl_jax.models import ModelConfig, make_mesh
from ntl_jax.models.hf.load import check_weights, decoder_from
from ntl_jax.models.hf.names import hf_tensors
from ntl_jax.models.hf.safetensors import StoredTensor
from ntl_jax.processes.alike import check_alike, check_same_data
from ntl_jax.processes.arrays import fetch, host_or_here, local_copy, local_mesh, place
from ntl_jax.processes.exchange import (
    agreed,
    barrier,
    first_does,
    from_first,
    gather,
    is_first,
    num_processes,
    process_id,
)
from ntl_jax.processes.group import find_group
from ntl_jax.processes.start import joined
from ntl_jax.processes.watch import Watch
from ntl_jax.train import create_ppo_trainer
from ntl_jax.train.checkpoints.checkpointer import Checkpointer
from ntl_jax.train.factory import build_scoring, build_task, ppo_trainer, supervised_trainer, supervised_update
from ntl_jax.train.policy import build_params, build_policy
from ntl_jax.train.prompts import build_prompts
from ntl_jax.update.state import ModelState, TrainState
from tests.conftest import TINY
from tests.samples import answering


def exchanges(watch: Watch | None) -> None:
    """Values of any length, an error of one process, what the first alone does."""
    number, count = process_id(), num_processes()
    assert gather((number, b"x" * 3000 * number)) == [(i, b"x" * 3000 * i) for i in range(count)]
    assert gather("short") == ["short"] * count
    assert from_first(number) == 0
    assert agreed(lambda: number) == list(range(count))

    def fails_in_the_last() -> None:
        if number == count - 1:
            raise OSError(28, "no space")

    for _ in range(2):  # afterwards they go on together
        try:
            agreed(fails_in_the_last)
        except OSError as error:
            assert error.errno == 28
        else:
            raise AssertionError(number)
    assert first_does(lambda: number) == 0
    barrier()


def arrays(watch: Watch | None) -> None:
    """Arrays are placed, fetched and copied to the devices of each process, in every kind of mesh."""
    x = np.arange(64.0, dtype=np.float32).reshape(8, 8)
    for shape in ((-1, 1, 1), (1, -1, 1), (1, -1, 2), (1, 2, -1)):
        mesh = make_mesh(shape)
        local = local_mesh(mesh)
        for spec in (P(), P("fsdp"), P("fsdp", "tensor"), P(("data", "fsdp"))):
            placed: Any = place(x, NamedSharding(mesh, spec))
            np.testing.assert_array_equal(fetch(placed), x)
            np.testing.assert_array_equal(host_or_here(placed), x)
            copied = local_copy(placed, NamedSharding(local, spec))
            assert copied.is_fully_addressable
            np.testing.assert_array_equal(np.asarray(copied), x)
            if placed.is_fully_replicated and copied.is_fully_replicated:  # in the same memory
                parts = [{s.data.unsafe_buffer_pointer() for s in a.addressable_shards} for a in (copied, placed)]
                assert parts[0] == parts[1]


def steps(watch: Watch | None, out: str) -> None:
    """One supervised and one PPO step on given samples, in several meshes: losses, and gradients as first moments."""
    found = {}
    meshes = {"data": (-1, 1, 1), "fsdp*tensor": (1, -1, 2)} if num_processes() > 1 else {"": (1, 1, 1)}
    for name, mesh in meshes.items():
        config = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, mesh=mesh))
        # Minibatches are dealt by rows, which depend on the number of devices: one holds all samples.
        config = dataclasses.replace(config, algorithm=dataclasses.replace(config.algorithm, minibatches=1))
        policy, task = build_policy(config), build_task(config)
        prompts = build_prompts(config, task, policy.tokenizer)
        update = supervised_update(config, policy, prompts)
        supervised = supervised_trainer(config, update, build_params(policy, seed=0))
        scorer, digits = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
        engine = answering(lambda request, sample: f"2+{sample}={sample + 1}\n#### {sample}")
        ppo = ppo_trainer(config, policy, build_params(policy, seed=0), prompts, engine, scorer, digits)
        for stage in (supervised, ppo):
            metrics = stage.step()[0]
            of_stage = {key: value for key, value in metrics.items() if "timing" not in key and "perf" not in key}
            moments = jax.tree.leaves_with_path(fetch(stage.state.policy.opt_state))
            of_stage |= {jax.tree_util.keystr(path): x for path, x in moments if ".mu" in jax.tree_util.keystr(path)}
            found |= {f"{name} {stage.name} {key}": value for key, value in of_stage.items()}
        scorer.close()
    if is_first():
        np.savez(out, **found)


def differ(watch: Watch | None) -> None:
    """Settings and data that are not those of the first process."""
    for check in (
        lambda: check_alike(RunConfig(seed=process_id(), trainer=TrainerSection(process_id=process_id()))),
        lambda: check_same_data({"data.train": "same", "data.eval": str(process_id())}),
    ):
        try:
            check()
        except ValueError as error:
            print(error, flush=True)


def trains(watch: Watch | None) -> None:
    """Two iterations by a trainer of the public interface; prints hashes of their metrics and of the weights."""
    config = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, mesh=(1, -1, 1)))
    trainer = create_ppo_trainer(config)
    metrics = [trainer.step()[0] for _ in range(2)]
    plain = [{k: v for k, v in step.items() if "timing" not in k and "perf" not in k} for step in metrics]
    print(hashlib.sha256(repr(plain).encode()).hexdigest())
    print(
        hashlib.sha256(b"".join(x.tobytes() for x in jax.tree.leaves(fetch(trainer.state.params)))).hexdigest(),
        flush=True,
    )
    trainer.close()


class Counting:
    """A stored tensor that counts the bytes that are read of it, and those of the rows in which they lie."""

    def __init__(self, stored: StoredTensor):
        self.stored, self.num_read, self.num_touched = stored, 0, 0

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        read = self.stored[part]
        self.num_read += read.nbytes
        self.num_touched += read.nbytes if read.ndim == 1 else read.nbytes * self.stored.get_shape()[1] // read.shape[1]
        return read


def loads(watch: Watch | None, folder: str) -> None:
    """Loads a model in every kind of mesh: what each process reads of its file is its share, once, in whole rows."""
    path = pathlib.Path(folder)
    for scan_layers, shape in itertools.product(
        (False, True), ((1, -1, 1), (1, 1, -1), (1, 2, -1), (2, -1, 1), (-1, 1, 1))
    ):
        config = dataclasses.replace(ModelConfig.from_hf(path), scan_layers=scan_layers)
        stored = {name: Counting(tensor) for name, tensor in check_weights(path, config).items()}
        decoder = decoder_from(stored, config, mesh=make_mesh(shape))
        shards = [x.addressable_shards for x in jax.tree.leaves(nnx.state(decoder, nnx.Param))]
        share = sum(sum({str(shard.index): shard.data.nbytes for shard in of_array}.values()) for of_array in shards)
        num_read, num_touched = (sum(getattr(x, name) for x in stored.values()) for name in ("num_read", "num_touched"))
        assert num_read == num_touched == share, (scan_layers, shape, num_read, num_touched, share)
        for name, array in hf_tensors(decoder):
            np.testing.assert_array_equal(array, stored[name].stored[...])
        print(*shape, share, flush=True)


def restores(watch: Watch | None, run: str, own: str) -> None:
    """Goes on from a checkpoint whose arrays each process sees in its own working directory: the second does not.

    The directories are ``own``/NUMBER. Prints the step, and what is said of newer ones.
    """
    os.makedirs(folder := f"{own}/{process_id()}", exist_ok=True)
    os.chdir(folder)
    sharding = NamedSharding(make_mesh((1, -1, 1)), P("fsdp"))

    def state_at(step: int) -> TrainState:
        x: Any = place(np.full((8, 4), step, np.float32), sharding)
        return TrainState(
            place(np.int32(step), NamedSharding(sharding.mesh, P())), {"policy": ModelState({"x": x}, ())}
        )

    with contextlib.closing(Checkpointer(pathlib.Path(run), "ppo")) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state_at(step), {"cursor": step}, {}, {})
        checkpoints.wait()

        def hide() -> None:
            state = pathlib.Path(run, "checkpoints", "ppo", "2", "state")
            shutil.move(state, "state")
            state.symlink_to("/proc/self/cwd/state")

        first_does(hide)
        said: list[str] = []
        restored = checkpoints.restore(state_at(0), said.append)
        assert (fetch(restored.state.policy.params["x"]) == restored.step).all() and restored.meta[
            "cursor"
        ] == restored.step
        print(restored.step, *said, flush=True)
        checkpoints.save(2, state_at(2), {"cursor": 2}, {}, {})
        assert checkpoints.restore(state_at(0)).step == 2


def ends(watch: Watch | None, how: str, number: str) -> None:
    """One process ends while the others wait for it."""
    assert watch is not None
    barrier()
    if process_id() == int(number):
        match how:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "fails":
                watch.fail("error: no luck", code=3)
            case "raises":
                raise KeyError("what")
    barrier()


if __name__ == "__main__":
    group = find_group("auto", os.environ)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    with joined(group, heartbeat_timeout_s=5) as watch:
        programs = (exchanges, arrays, steps, differ, trains, loads, restores, ends)
        {program.__name__: program for program in programs}[sys.argv[1]](watch, *sys.argv[2:])

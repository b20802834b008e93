# SPDX-License-Identifier: Apache-2.0
"""A manifest notices every change of every file, its own included."""

import numpy as np
import pytest

from ntl_jax.train.checkpoints.manifest import MANIFEST, damage_of, is_sealed, seal


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "state" / "d").mkdir(parents=True)
    (tmp_path / "state" / "d" / "a1").write_bytes(np.random.default_rng(0).bytes(300))
    (tmp_path / "meta").write_text('{"cursor": 1}')
    (tmp_path / "empty").touch()
    assert not is_sealed(tmp_path)
    seal(tmp_path)
    return tmp_path


def test_an_intact_folder_has_no_damage(folder):
    assert is_sealed(folder) and damage_of(folder) is None


def test_every_flipped_bit_is_noticed(folder):
    for path in [folder / "state" / "d" / "a1", folder / "meta", folder / MANIFEST]:
        whole = path.read_bytes()
        for position in range(len(whole)):
            bit = 1 << (position * 5) % 8
            path.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
            assert damage_of(folder), (path, position)
        path.write_bytes(whole)
    assert damage_of(folder) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "state/d/a1 is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "state/d/a1 is cut short: 299 of 300 bytes"),
        (lambda path: path.write_bytes(path.read_bytes() + b"1"), "state/d/a1 is too long: 301 of 300 bytes"),
        (lambda path: path.write_bytes(bytes(300)), "state/d/a1 has other contents than were written (sha256)"),
        (lambda path: (path.parents[2] / MANIFEST).write_text(""), "manifest.json cannot be read: JSONDecodeError"),
        (lambda path: (path.parents[2] / MANIFEST).write_text("{}"), "manifest.json is not as it was written"),
        (lambda path: (path.parents[2] / MANIFEST).write_text("[]"), "manifest.json cannot be read: AttributeError"),
    ],
)
def test_damage_is_named_with_its_file(folder, change, said):
    change(folder / "state" / "d" / "a1")
    assert damage_of(folder) == said


def test_of_large_files_perhaps_only_the_lengths_are_compared(folder):
    (folder / "state" / "d" / "a1").write_bytes(bytes(300))
    assert damage_of(folder, without="state") is None and damage_of(folder) is not None
    (folder / "state" / "d" / "a1").write_bytes(bytes(299))
    assert damage_of(folder, without="state") is not None

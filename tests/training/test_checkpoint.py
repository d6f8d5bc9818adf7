"""Checkpoints: what goes in comes out, and a failed or damaged one is noticed."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfcn import weights
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.run import Run
from tinyfcn.weights import tree

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**130), 2**130),
    st.floats(allow_nan=False),
    st.text(),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
        st.dictionaries(st.integers(), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(trees)
def test_a_tree_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.npz"
    checkpoint.save(path, {"tree": tree})
    assert checkpoint.load(path) == {"tree": tree}


def test_arrays_keep_bits_dtype_and_shape(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "float32": random.standard_normal((2, 3, 1)).astype(np.float32),
        "float64": np.array([np.nan, -0.0, np.inf, 5e-324]),
        "transposed": random.standard_normal((4, 3)).T,
        "int": np.array(7),
        "empty": np.zeros((0, 5), np.uint8),
        "file": np.ones(1),  # a name that numpy.savez keeps for itself
    }
    path = tmp_path / "a.npz"
    checkpoint.save(path, arrays | {"state": {0: {"step": np.int64(3)}}})
    loaded = checkpoint.load(path)
    assert loaded["state"] == {0: {"step": 3}}
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes()


def test_numpy_alone_reads_the_weights(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.npz", {"model": {"conv.weight": np.ones((2, 3))}})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["model/conv.weight"].shape == (2, 3)
    assert weights.load(tmp_path / "a.npz")["conv.weight"].shape == (2, 3)


def test_rejects_what_it_cannot_keep(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.npz", {"x": 1})
    for value in (object(), {1, 2}, np.array([object()])):
        with pytest.raises(TypeError, match="model/x"):
            checkpoint.save(tmp_path / "a.npz", {"model": {"x": value}})
    assert checkpoint.load(tmp_path / "a.npz") == {"x": 1}


@pytest.fixture
def small_files() -> Iterator[int]:
    """Let the system reject files of more than 20,000 bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield 20_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, small_files: int) -> None:
    path = tmp_path / "last.npz"
    checkpoint.save(path, {"iteration": 1})
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"could not save.*last\.npz.*untouched"):
        checkpoint.save(path, {"weight": np.zeros(small_files, np.float32)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.npz"]


def test_no_space_when_the_bytes_go_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "last.npz"
    checkpoint.save(path, {"iteration": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(path, {"iteration": 2})
    monkeypatch.undo()
    assert checkpoint.load(path) == {"iteration": 1}
    assert os.listdir(tmp_path) == ["last.npz"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file or directory"):
        checkpoint.save(tmp_path / "nowhere" / "last.npz", {"iteration": 1})


def whole(path: Path) -> bytes:
    random = np.random.default_rng(0)
    checkpoint.save(path, {"model": {"w": random.standard_normal(5000)}, "iteration": 9})
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.npz"
    data = whole(path)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"last\.npz.*truncated"):
        checkpoint.load(path)
    with pytest.raises(ValueError, match=r"last\.npz.*truncated"):
        weights.load(path)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "last.npz"
    data = bytearray(whole(path))
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"last\.npz.*damaged"):
        checkpoint.load(path)
    with pytest.raises(ValueError, match=r"last\.npz.*damaged"):
        weights.load(path)


def test_says_what_it_found_instead(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="empty"):
        checkpoint.load(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n not a checkpoint")
    with pytest.raises(CheckpointError, match="PNG"):
        checkpoint.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"")
    with pytest.raises(CheckpointError, match=r"zip.*photo\.jpg"):
        checkpoint.load(path)
    np.savez(tmp_path / "weights.npz", a=np.ones(2))
    with pytest.raises(CheckpointError, match=r"not a tinyfcn checkpoint.*arrays a$"):
        checkpoint.load(tmp_path / "weights.npz")
    np.save(tmp_path / "one.npy", np.ones(2))
    with pytest.raises(CheckpointError, match="single array"):
        checkpoint.load(tmp_path / "one.npy")
    with pytest.raises(FileNotFoundError, match="no such file"):
        checkpoint.load(tmp_path / "nowhere.npz")
    with pytest.raises(
        FileNotFoundError, match=r"this is a folder; expected a file, such as .*best\.npz"
    ):
        checkpoint.load(tmp_path)


def test_a_pickle_in_the_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, **{tree.JSON: np.array([{"a": 1}], dtype=object)})
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


def state(inner: str) -> str:
    return f'{{"format": "tinyfcn checkpoint", "version": 1, "state": {{"model": {inner}}}}}'


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[1, 2]",
        "3",
        "null",
        "NaN",
        '{"a": ' + "9" * 100_000 + "}",
        state('{"w": {"~array": "nowhere"}}'),
        state('{"w": {"~array": ["w"]}}'),
        state('{"~dict": [[["a"], 1]]}'),
        state('{"~dict": [1, 2]}'),
        state('{"~tuple": 5}'),
        state('{"~dict": [' + ",".join(f"[{i * (2**61 - 1)}, 0]" for i in range(20_000)) + "]}"),
        state("[" + "[]," * 300_000 + "[]]"),
        '{"format": "' + "x" * 100_000 + '", "version": 1, "state": {}}',
    ],
    ids=range(15),
)
def test_foreign_contents(tmp_path: Path, text: str) -> None:
    """The checksums are right."""
    np.savez(tmp_path / "a.npz", **{tree.JSON: np.array(text), "w": np.ones(2)})
    for read, kind in ((checkpoint.load, CheckpointError), (weights.read, weights.WeightsError)):
        start = time.process_time()
        with pytest.raises(kind) as caught:
            read(tmp_path / "a.npz")
        assert time.process_time() - start < 5
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model", []),
        ("model/0.weight", np.full((4, 3, 3, 3), np.nan, np.float32)),
        ("model/0.weight", np.ones((4, 3, 3, 1), np.float32)),
        ("model/0.weight", 3.0),
        ("optimizer/state/0/first", np.full((4, 3, 3, 3), np.inf, np.float32)),
        ("optimizer/param_groups", {}),
        ("schedule/iteration", -1),
        ("schedule/iteration", 10**400),
        ("random/state/state", 1.5),
        ("random/state/inc", -1),
        ("random/has_uint32", 1 << 40),
        ("random/bit_generator", "MT19937"),
        ("loader/position", 99),
        ("loader/position", True),
        ("loader/epoch", 0.0),
        ("progress/iteration", "7"),
        ("progress/loss_sum", np.nan),
        ("progress/best_mean_iu", np.inf),
        ("progress/trained", 1),
        ("progress/more", 1),
        ("log", [{"epoch": 1}]),
        ("log", {"epoch": 1}),
    ],
)
def test_each_field_is_checked_before_a_run_goes_on(
    tmp_path: Path, make_trainer: Callable[..., Run], place: str, value: Any
) -> None:
    run = make_trainer(tmp_path)
    for parameter in run.model.parameters():
        parameter.grad = parameter.detach()
    run.optimizer.step()
    checkpoint.save(tmp_path / "a.npz", run.state_dict())
    loaded = checkpoint.load(tmp_path / "a.npz")
    run.load_state_dict(loaded)  # as it is, it can be gone on from
    inner, keys = loaded, [int(key) if key == "0" else key for key in place.split("/")]
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    checkpoint.save(tmp_path / "b.npz", loaded)
    run = make_trainer(tmp_path)
    before = run.model.state_dict()
    with pytest.raises(CheckpointError):
        run.load_state_dict(checkpoint.load(tmp_path / "b.npz"))
    for name, array in run.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "VERSION", 99)
    checkpoint.save(tmp_path / "a.npz", {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"version 1, found .* version 99"):
        checkpoint.load(tmp_path / "a.npz")


class Crash(BaseException):
    """The end of a process at this instant: nothing after it is done."""


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("call", range(8))
def test_at_every_instant_one_of_two_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, links: bool
) -> None:
    last, previous = tmp_path / "last.npz", tmp_path / "previous.npz"
    for iteration in (1, 2):
        checkpoint.save(last, {"iteration": iteration}, previous)
    calls = iter(range(9))

    def crashing(function: Any, name: str) -> Any:
        def change(*arguments: Any, **options: Any) -> Any:
            if name == "link" and not links:
                raise OSError(errno.EPERM, "Operation not permitted")
            if next(calls) == call:
                raise Crash
            return function(*arguments, **options)

        return change

    with monkeypatch.context() as patch:
        for name in ("fsync", "unlink", "link", "replace"):
            patch.setattr(os, name, crashing(getattr(os, name), name))
        with contextlib.suppress(Crash):
            checkpoint.save(last, {"iteration": 3}, previous)
    found = [checkpoint.load(p)["iteration"] for p in (last, previous) if p.exists()]
    assert max(found) in (2, 3)
    if found == [3, 2]:
        checkpoint.save(last, {"iteration": 4}, previous)
        assert [checkpoint.load(path)["iteration"] for path in (last, previous)] == [4, 3]


def test_a_failed_save_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last, previous = tmp_path / "last.npz", tmp_path / "previous.npz"
    for iteration in (1, 2):
        checkpoint.save(last, {"iteration": iteration}, previous)

    def full(*anything: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in (os, "fsync"), (checkpoint.npz, "write"):
        with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="untouched"):
            patch.setattr(owner, name, full)
            checkpoint.save(last, {"iteration": 3}, previous)
        assert [checkpoint.load(path)["iteration"] for path in (last, previous)] == [2, 1]
    assert sorted(os.listdir(tmp_path)) == ["last.npz", "previous.npz"]


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    """It is noticed, but in dates and what else the zip format says twice, which nobody reads."""
    path = tmp_path / "last.npz"
    checkpoint.save(path, {"w": np.arange(4.0), "log": [{"epoch": 1}]})
    data, state = path.read_bytes(), repr(checkpoint.load(path))
    noticed = 0
    for place in range(0, len(data), 2):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        try:
            assert repr(checkpoint.load(path)) == state, place
        except CheckpointError:
            noticed += 1
    assert noticed > 0.7 * len(data) / 2

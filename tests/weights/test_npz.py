"""Reading plain .npz files, and recognising a format by content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyfcn import weights


def test_the_name_of_the_file_does_not_matter(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"conv.weight": np.ones((2, 3)), "conv.bias": np.zeros(2)})
    (tmp_path / "a.npz").rename(tmp_path / "a.bin")
    loaded = weights.load(tmp_path / "a.bin")
    assert list(loaded) == ["conv.weight", "conv.bias"]
    assert loaded["conv.weight"].tolist() == np.ones((2, 3)).tolist()


def test_compressed(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", w=np.arange(1000))
    assert weights.load(tmp_path / "a.npz")["w"].sum() == 499500


def test_unknown_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text that is long enough")
    with pytest.raises(ValueError, match=r"a\.txt: not a format.*npz.*some text"):
        weights.load(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        weights.load(tmp_path / "b")
    with pytest.raises(FileNotFoundError, match="folder"):
        weights.load(tmp_path)


def test_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        weights.load(tmp_path / "a.npz")

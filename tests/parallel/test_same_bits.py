"""--same-bits: what a training leaves behind is the same, bit for bit, for any number of ranks."""

import json
import shutil

import any_ranks
import numpy as np
import pytest
from mpiexec import needs_mpi, run_ranks
from PIL import Image

from tinyfcn import visualize
from tinyfcn.data import write_voc_tree
from tinyfcn.training import checkpoint
from tinyfcn.training.run_folder import RunFolder

# Batches of 8, 8 and 5 images in 4 shards, the last in 2; steps of 2 batches and 1. There is batch
# norm, and dropout.
OPTIONS = [
    "--same-bits", "--batch-size", 8, "--accumulate", 2, "--iterations", 3, "--width", 1 / 64,
    "--warmup", 0, "--lr", 0.02,
    "--jitter", 0.2, "--colour-jitter", 0.1, "--crop", 24, "--class-weights", "median-frequency",
    "--loss", "ce+0.5*dice", "--clip-norm", 0.5, "--ema", 0.9, "--lr-trunk", 0.5, "--patience", 9,
]  # fmt: skip


def bits(state):
    """In a form that ``==`` compares to the last bit; times are left out."""
    if isinstance(state, dict):
        return {key: bits(part) for key, part in state.items() if key != "seconds"}
    if isinstance(state, list | tuple):
        return [bits(part) for part in state]
    if isinstance(state, np.ndarray):
        return state.dtype.str, state.shape, state.tobytes()
    return repr(state)


def left(path):
    """What a training leaves behind."""
    folder = RunFolder(path)
    states = [bits(checkpoint.load(file)) for file in (folder.last, folder.best)]
    return *states, bits(folder.read_log()), folder.predictions.read_bytes()


@needs_mpi
def test_any_number_of_ranks_leaves_the_same(tmp_path):
    tree = write_voc_tree(tmp_path / "scenes", train=21, val=9, size=32, diameter=(10.0, 20.0))
    options = [str(option) for option in ["--data-root", tree, *OPTIONS]]
    half, go_on = [*options, "--half-exchange"], ["--resume"]
    rounds = [
        [["2", 2, options], ["stopped", 2, half]],
        [["3", 3, options], ["resumed on 1", 1, go_on]],
        [["4", 4, options]],
        [["resumed on 4", 4, go_on]],
    ]
    ended = run_ranks(4, [any_ranks.__file__, tmp_path, json.dumps(rounds)], 300)
    assert ended.code == 0, ended.stderr
    assert checkpoint.load(tmp_path / "stopped" / "last.npz")["progress"]["iteration"] == 1
    shutil.copytree(tmp_path / "stopped", tmp_path / "resumed on 3")
    command = ["-m", "tinyfcn", "train", "--out", tmp_path / "resumed on 3", *go_on]
    ended = run_ranks(3, command, 300)
    assert ended.code == 0, ended.stderr
    assert ended.stdout.count("mean IU") == 2  # the head and the end, of one rank
    assert "mean IU" in (tmp_path / "resumed on 3" / "rank-2.log").read_text()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visualize, "plot_curves", lambda rows: [Image.new("L", (1, 1))] * 2)
        any_ranks.train(["--out", str(tmp_path / "alone"), *options])
        any_ranks.train(["--out", str(tmp_path / "half"), *half])
    alone, in_half = left(tmp_path / "alone"), left(tmp_path / "half")
    assert all(left(tmp_path / name) == alone for name in ("2", "3", "4"))
    assert all(left(tmp_path / f"resumed on {ranks}") == in_half for ranks in (1, 3, 4))
    assert alone[0]["model"] != in_half[0]["model"]

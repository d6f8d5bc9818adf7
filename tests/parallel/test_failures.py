"""A rank that fails: all end in time, one message tells why and what is saved; and going on."""

import re
from pathlib import Path

import pytest
from mpiexec import needs_mpi, run_ranks

from tinyfcn import cli
from tinyfcn.data import write_voc_tree
from tinyfcn.training import checkpoint

FAILING = Path(__file__).with_name("failing.py")
pytestmark = needs_mpi


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("failures") / "data"
    return write_voc_tree(folder, train=16, val=3, size=32, diameter=(16.0, 28.0))


def options(data, out):
    text = "--width 0.016 --crop 24 --same-bits --epochs 2 --lr 0.1 --warmup 0 --workers 0"
    return ["--data-root", str(data), "--out", str(out), *text.split()]


@pytest.fixture
def fail(data, tmp_path):
    """A function of a fault and a number of ranks, which gives the exit status, the lines on the
    screen but for bars and what the launcher says, and the number of steps that are saved."""

    def failing(fault, ranks=2):
        out = tmp_path / "run"
        ended = run_ranks(ranks, [FAILING, fault, *options(data, out)], 30)
        assert ended.seconds < 20  # of which starting takes some on a loaded machine
        lines = [line.rpartition("\r")[2].strip() for line in ended.stderr.splitlines()]
        ours = re.compile("error:|rank |stopp|training|iteration|no checkpoint|Traceback|KeyError")
        said = [line.replace(str(out), "OUT") for line in lines if ours.match(line)]
        saved = checkpoint.load(out / "last.npz") if (out / "last.npz").exists() else {}
        return ended.code, said, saved and saved["progress"]["iteration"]

    return failing


def test_a_damaged_image_on_one_rank_and_going_on_with_another_number(
    fail, data, tmp_path, monkeypatch
):
    code, said, saved = fail("damaged image")
    reason = "sample 'Zürich': the image is cut short"
    assert said == [
        f"error: rank 1: {reason}; iteration 1 of 4 is saved in OUT/last.npz; --resume goes on "
        "with it"
    ]
    assert (code, saved) == (2, 1)
    assert f"error: {reason}" in (tmp_path / "run/rank-1.log").read_text("utf-8")

    assert cli.main(["train", *options(data, tmp_path / "run"), "--resume"]) == 0
    assert cli.main(["train", *options(data, tmp_path / "straight")]) == 0
    one, other = (
        {name: values.tobytes() for name, values in checkpoint.load(path)["model"].items()}
        for path in (tmp_path / "run/last.npz", tmp_path / "straight/last.npz")
    )
    assert one == other


def test_a_defect_of_the_program_while_one_rank_scores(fail):
    code, said, saved = fail("defect", 3)
    saved_in = "iteration 2 of 4 is saved in OUT/last.npz"
    assert said == [
        saved_in, "error: rank 2:", "Traceback (most recent call last):", "KeyError: 'no such key'",
    ]  # fmt: skip
    assert (code, saved) == (1, 2)


def test_a_first_rank_that_can_save_no_more(fail):
    code, said, saved = fail("disk full")
    assert len(said) == 1 and said[0].startswith("error: could not save the checkpoint OUT/last")
    assert (code, saved) == (2, 2)


def test_a_loss_that_is_nan_on_one_rank_where_the_first_cannot_say_so(fail, tmp_path):
    assert fail("NaN") == (1, [], 1)
    assert "the loss is nan in epoch 1, iteration 2" in (tmp_path / "run/rank-1.log").read_text()


def test_a_signal_to_one_rank(fail):
    code, said, saved = fail("SIGTERM")
    assert said == [
        "stopping: saving the last step",
        "stopped by SIGTERM: iteration 2 of 4 is saved in OUT/last.npz; --resume goes on from "
        "there",
    ]
    assert (code, saved) == (143, 2)


def test_a_first_rank_that_does_not_listen(fail):
    assert fail("busy") == (2, ["rank 1: error: sample 'Zürich': the image is cut short"], {})

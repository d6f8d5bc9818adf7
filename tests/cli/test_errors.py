"""What a user can put right is one message and an exit status, not a traceback."""

import pytest

from tinyfcn.backend.cuda.device import DeviceError
from tinyfcn.backend.cuda.emulator.errors import BuildError
from tinyfcn.cli.errors import UsageError, plain_errors, usage_errors
from tinyfcn.functional.normalization import BatchTooSmall
from tinyfcn.training.errors import Diverged, Interrupted, Stopped
from tinyfcn.training.published import UnknownModel


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DeviceError("no GPU"), 2, "error: no GPU"),
        (BuildError("no g++"), 2, "error: no g++"),
        (OSError(28, "No space left", "a.npz"), 2, "error: a.npz: no space left"),
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError("9 GB"), 2, "error: not enough memory: 9 GB; a smaller --batch-size, "),
        (BatchTooSmall("one value"), 2, "error: one value; a larger --batch-size"),
        (Interrupted("a.jpg: saved"), 2, "error: a.jpg: saved; --resume goes on with it"),
        (Stopped(2, "saved"), 130, "stopped by SIGINT: saved; --resume goes on from there"),
        (Diverged("the loss is nan"), 1, "training stopped: the loss is nan. What helps most "),
    ],
)
def test_what_a_user_can_put_right(capsys, error, status, said):
    with pytest.raises(SystemExit) as exit, plain_errors():
        raise error
    assert exit.value.code == status
    complaint = capsys.readouterr().err
    assert complaint.startswith(said) and complaint.count("\n") == 1


def test_what_helps_against_divergence(capsys):
    with pytest.raises(SystemExit), plain_errors():
        raise Diverged("the loss is nan")
    complaint = capsys.readouterr().err
    for option in ("--lr", "--warmup", "--batch-norm", "--loss-reduction sum"):
        assert option in complaint


def test_an_option_that_the_library_rejects():
    expected = pytest.raises(UsageError, match=r"^--weights: a\.pth does not say: give --model$")
    with expected, usage_errors("--weights"):
        raise UnknownModel("a.pth does not say")


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), plain_errors():
        raise ZeroDivisionError

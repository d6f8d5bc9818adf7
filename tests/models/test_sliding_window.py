"""What FCNs replaced: one window per pixel; and convolutions at full size."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.geometry import receptive_field
from tinyfcn.models.sliding_window import SlidingWindow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sliding_window.py"


@pytest.mark.parametrize("at_once", [1, 7, 512])
def test_every_pixel_is_what_the_classifier_says_of_its_window(rng, at_once):
    classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    model = SlidingWindow(classifier, window=5, pixels_at_once=at_once).double()
    x = rng.standard_normal((2, 3, 4, 7))
    scores = model(tinyfcn.tensor(x)).numpy()
    mirrored = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), "reflect")
    for i, j in np.ndindex(4, 7):
        window = np.ascontiguousarray(mirrored[:, :, i : i + 5, j : j + 5])
        expected = classifier(tinyfcn.tensor(window)).numpy()
        assert np.allclose(scores[:, :, i, j], expected, rtol=1e-10)


def test_it_equals_a_convolution_where_the_classifier_is_one(rng):
    """A linear classifier of 3 x 3 windows is a 3 x 3 convolution; so are its gradients."""
    linear = nn.Linear(27, 2).double()
    model = SlidingWindow(nn.Sequential(nn.Flatten(), linear), window=3)
    dense = models.convolutionalize(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), linear))[2]
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 6, 5)), requires_grad=True)
    y = model(x)
    inner = dense(tinyfcn.tensor(x.data))
    assert np.allclose(y.numpy()[:, :, 1:-1, 1:-1], inner.numpy())
    weights = np.zeros(y.shape)
    weights[:, :, 1:-1, 1:-1] = rng.standard_normal(inner.shape)
    (y * weights).sum().backward()
    (inner * weights[:, :, 1:-1, 1:-1]).sum().backward()
    assert np.allclose(linear.weight.grad.numpy(), dense.weight.grad.numpy().reshape(2, 27))


def test_nothing_becomes_smaller_in_same_resolution():
    model = models.same_resolution(width=1 / 64)
    assert receptive_field(model.layers) == (17, 1)
    convolutions = [m for m in model.layers if isinstance(m, nn.Conv2d)]
    assert [m.padding[0] for m in convolutions] == [1] * 8 + [0]
    full = models.same_resolution(num_classes=21)
    first, others = 3 * 9 * 64 + 64, 7 * (64 * 9 * 64 + 64)
    assert nn.count_parameters(full) == first + others + 64 * 21 + 21


def test_the_number_of_parameters_of_the_sliding_window():
    first, second, hidden = 3 * 16 * 32 + 32, 32 * 16 * 64 + 64, 64 * 25 * 256 + 256
    count = nn.count_parameters(models.sliding_window(num_classes=21))
    assert count == first + second + hidden + 256 * 21 + 21 == 449_653


def test_errors():
    with pytest.raises(ValueError, match="SlidingWindow: window must be odd, got 4"):
        SlidingWindow(nn.Identity(), window=4)
    with pytest.raises(ValueError, match="pixels_at_once must be an integer of at least 1, got 0"):
        SlidingWindow(nn.Identity(), window=3, pixels_at_once=0)
    with pytest.raises(ValueError, match="same_resolution: depth must be at least 1, got 0"):
        models.same_resolution(depth=0)


def test_the_example_prints_its_table(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--size", "24", "--width", "0.0625"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:15].strip() for line in lines[-3:]] == [
        "sliding window", "same resolution", "FCN-8s",
    ]  # fmt: skip
    assert "29 x 29" in lines[-3]
    assert "17 x 17" in lines[-2]
    assert "404 x 404" in lines[-1]


def test_the_example_rejects_what_it_cannot_do(call):
    for arguments, words in (
        (["--width", "0"], "--width: width 0.0 leaves 0 of 32 channels"),
        (["--size", "0"], "--size: expected an integer of at least 1, got '0'"),
        (["--seed", "-1"], "--seed: expected an integer of at least 0, got '-1'"),
    ):
        status, _, complaint = call(EXAMPLE, *arguments)
        assert status == 2
        assert complaint.startswith("error: ") and words in complaint
        assert complaint.count("\n") == 1


def test_the_example_can_be_stopped(monkeypatch, capsys):
    def stop(self, x):
        raise KeyboardInterrupt

    monkeypatch.setattr(SlidingWindow, "forward", stop)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--size", "9", "--width", "0.0625"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "stopped\n"

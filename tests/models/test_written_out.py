"""Every network gives what the same network gives that is written out in ``written_out.py``.

Counts and keys do not tell a 3 x 3 window from a dilated one, a maximum from a mean, or where a
ReLU is missing. All of it is narrow and in double precision, with random biases and running
statistics, on images of odd sizes.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models

spec = importlib.util.spec_from_file_location(
    "written_out", Path(__file__).with_name("written_out.py")
)
written_out = importlib.util.module_from_spec(spec)
spec.loader.exec_module(written_out)


def randomized(rng, model):
    """In evaluation and in double precision, with nothing left that is 0 or 1."""
    model.double().eval()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim > 1:
            std = np.sqrt(2 / np.prod(tensor.shape[1:]))
            tensor.data[...] = std * rng.standard_normal(tensor.shape)
        elif tensor.ndim == 1:
            tensor.data[...] = rng.uniform(0.1, 0.9, tensor.shape)
    return model


@pytest.mark.parametrize(("name", "arguments", "size", "forward"), written_out.NETWORKS)
def test_the_network_is_what_its_description_says(rng, name, arguments, size, forward):
    model = models.create(name, num_classes=3, **{"width": 1 / 32, **arguments})
    w = written_out.Weights(randomized(rng, model))
    # Of the size of pixels, where response normalization matters.
    scale = 60.0 if name == "segnet_basic" or "form" in arguments else 1.0
    x = tinyfcn.tensor(scale * rng.standard_normal((2, 3, *size)))
    with tinyfcn.no_grad():
        expected = forward(w, x)
        if not isinstance(expected, dict):
            expected = {"out": expected}
        found = model.outputs(x) if len(expected) > 1 else {"out": model(x)}
    assert set(found) == set(expected)
    for key, y in expected.items():
        tolerance = 1e-9 * np.abs(y.numpy()).max()
        assert y.numpy().std() > 0
        assert np.allclose(found[key].numpy(), y.numpy(), rtol=0, atol=tolerance), key


def test_the_classifier_of_sliding_windows_is_what_its_description_says(rng):
    model = randomized(rng, models.sliding_window(num_classes=3, width=1 / 8))
    x = tinyfcn.tensor(rng.standard_normal((2, 3, 29, 29)))
    expected = written_out.small_classifier(written_out.Weights(model.classifier), x).numpy()
    assert np.allclose(model(x).numpy()[:, :, 14, 14], expected, rtol=1e-9)

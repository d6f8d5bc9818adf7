"""Receptive fields of every model: those of the summary, and those that are measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, models, summary
from tinyfcn.backend.meta import empty
from tinyfcn.functional import pooling, unpooling
from tinyfcn.receptive_field_rules import ReceptiveFields
from tinyfcn.without_values import without_values

RNG = np.random.default_rng(0)


class Ops(tinyfcn.Hook):
    """Keeps what each op gives, or what lets every pixel through in its place: means instead of
    maxima, and unpooling that fills its windows."""

    def __init__(self, linear):
        self.linear, self.outputs, self.inside = linear, [], False

    def op(self, function, inputs, outputs):
        if self.inside:
            return None
        self.inside = True
        if self.linear and isinstance(function, pooling.MaxPool2d):
            kernel, stride, padding, _ = function.window
            mean = F.avg_pool2d(inputs[0], kernel, stride, padding, function.ceil_mode)
            outputs = (mean, *outputs[1:])
        if self.linear and isinstance(function, unpooling.ScatterPlane):
            x, window = inputs[0], function.window
            stamp = Tensor(np.ones((x.shape[1], 1, *window.kernel)))
            y = F.conv_transpose2d(x, stamp, None, window.stride, window.padding, groups=x.shape[1])
            height, width = (n - m for n, m in zip(function.size, y.shape[2:], strict=True))
            outputs = (F.pad(y, (0, width, 0, height)),)
        self.inside = False
        self.outputs.append(outputs[0])
        return outputs


def all_positive(model):
    """Weights with which no ReLU hides a pixel and no two pixels cancel each other out."""
    for p in model.double().parameters():
        p.data[...] = RNG.uniform(0.5, 1.5, p.shape) / max(1, np.prod(p.shape[1:]))
    for name, buffer in model.named_buffers():
        buffer.data[...] = "var" in name
    return model.eval()


# Heights of images, where not 1, and widths, where they are not free.
HEIGHTS = {"alexnet": 224, "caffenet": 227, "googlenet": 33, "unet": 188, "vgg": 33}
WIDTHS = {"alexnet": 224, "caffenet": 227, "unet": 332}


@pytest.mark.parametrize("name", [name for name in models.names() if name != "sliding_window"])
def test_every_model(name, depends_on):
    """What is said of a network's coarsest map is measured there, along the width."""
    model = all_positive(models.create(name, num_classes=2, width=1 / 16))
    height = next((n for start, n in HEIGHTS.items() if name.startswith(start)), 1)
    said = summary(model, (3, height, WIDTHS.get(name, 1536)))
    size, stride = said.receptive_field[1], said.stride[1]
    width = 32 * math.ceil((size + 4 * stride) / 32) if size < math.inf else 320
    shape = (2, 3, height, WIDTHS.get(name, width))
    images = Tensor(empty(shape, np.float64, ()))
    with without_values(model), ReceptiveFields(images) as fields, Ops(linear=False) as watched:
        model(images)
    found = [fields.of(y)[1] if y.ndim == 4 else None for y in watched.outputs]
    coarsest = max(
        n
        for n, field in enumerate(found)
        if field and (field.size(), field.stride()) == (size, stride)
    )
    x = Tensor(RNG.uniform(0.5, 1.5, shape), requires_grad=True)
    with Ops(linear=True) as real:
        model(x)
    y = real.outputs[coarsest]
    middle = y.shape[3] // 2
    seen = depends_on(y, x, [(y.shape[2] // 2, middle), (y.shape[2] // 2, middle - 1)]).any(1)
    here, before = (np.flatnonzero(row)[[0, -1]] for row in seen)
    if size == math.inf:
        assert tuple(here) == (0, shape[3] - 1)
    else:  # what lies between the ends that are not cut off by the border
        assert before[1] - here[0] + 1 + stride == size
        assert before[0] == max(0, here[0] - stride)

"""Each op as an ONNX file, run by onnxruntime on images of other sizes than it was written with."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import nn, onnx
from tinyfcn.models.mirror import mirror
from tinyfcn.onnx import operators
from tinyfcn.onnx.operators import RULES

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
WEIGHT = tinyfcn.tensor(RNG.standard_normal((6, 2, 3, 2), np.float32))
MATRIX = tinyfcn.tensor(RNG.standard_normal((5, 4), np.float32))
VECTOR = tinyfcn.tensor(RNG.standard_normal(4, np.float32))
POSITIVE = tinyfcn.tensor(RNG.uniform(0.5, 2, 4).astype(np.float32))


class Stage(nn.Module):
    """One function as a network."""

    def __init__(self, function, **constants):
        self.function = function
        for name, value in constants.items():
            setattr(self, name, nn.Parameter(value.data))

    def forward(self, x):
        return self.function(x)


SHAPES = (1, 4, 9, 7), (2, 4, 12, 15)


def check(function, folder, shapes=SHAPES, written=(4, 31, 45)):
    """The same results from both, on images of two sizes, whether or not the file is for one."""
    model = Stage(function)
    onnx.export(model, folder / "any.onnx", written)
    for shape in shapes:
        x = np.random.default_rng(1).standard_normal(shape, np.float32)
        with tinyfcn.no_grad():
            expected = model(tinyfcn.tensor(x)).numpy()
        if shape[0]:
            onnx.export(model, folder / "one.onnx", shape, dynamic=False)
        for name in ("any", "one") if shape[0] else ("any",):
            options = ort.SessionOptions()
            options.log_severity_level = 3
            path = folder / f"{name}.onnx"
            runs = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            (got,) = runs.run(None, {"images": x})
            assert got.shape == expected.shape, name
            np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5, err_msg=name)


def pooled_back(x, kernel, stride=None, padding=0, ceil_mode=False, larger=0):
    y, indices = F.max_pool2d(x, kernel, stride, padding, 1, ceil_mode, return_indices=True)
    size = [n + larger for n in x.shape[2:]]
    return F.max_unpool2d(y, indices, kernel, stride, padding, output_size=size)


OPS = {
    "arithmetic": lambda x: (x * 2.0 - 1.0 + x / 3.0) * -x,
    "powers and roots": lambda x: (x * x + 1.0).sqrt() ** 1.5 + (x * x + 2.0).log() + x.exp(),
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "prelu": lambda x: F.prelu(x, VECTOR),
    "elu": lambda x: F.elu(x, 0.7),
    "sigmoid and tanh": lambda x: F.sigmoid(x) + F.tanh(x),
    "softmax over classes": lambda x: F.softmax(x, 1),
    "log_softmax over a row": lambda x: F.log_softmax(x, -1),
    "local_response_norm": lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 2.0),
    "batch_norm": lambda x: F.batch_norm(x, VECTOR, POSITIVE, POSITIVE, VECTOR, eps=1e-3),
    "batch_norm and relu": lambda x: F.batch_norm(x, VECTOR, POSITIVE, relu=True),
    "linear over a row of channels": lambda x: F.linear(x.permute(0, 2, 3, 1), MATRIX),
    "global mean": lambda x: F.mean(x, (2, 3)),
    "mean, spread out again": lambda x: x - F.mean(x, (1, 3), keepdim=True),
    "sum and maximum": lambda x: F.sum(x, 1, keepdim=True) + F.amax(x, 1, keepdim=True),
    "maximum of the plane": lambda x: F.amax(x, (2, 3)),
    "cat": lambda x: F.cat([x, x * 2.0], 1),
    "cat of rows": lambda x: F.cat([x, x[:, :, :2]], 2),
    "pixels as a sequence": lambda x: x.reshape(x.shape[0], x.shape[1], -1).transpose(1, 2),
    "reshape with a product": lambda x: x.reshape(-1, x.shape[2] * x.shape[3]),
    "flatten": lambda x: F.flatten(x, 1, 2),
    "indices": lambda x: x[:, 1, ..., None, 2:-1],
    "index from the end": lambda x: x[..., -1],
    "steps": lambda x: x[:, :, 1::2, :-1:3],
    "half of the map": lambda x: x[:, :, : x.shape[2] // 2, (x.shape[3] + 1) // 2 :],
    "half, counted from the end": lambda x: x[..., (4 - x.shape[3]) // 2 :],
    "crop": lambda x: F.crop(x, (1, 2), (x.shape[2] - 3, x.shape[3] - 2)),
    "pad": lambda x: F.pad(x, (1, 0, 2, 3), value=0.5),
    "pad and crop": lambda x: F.pad(x, (-1, 2, 3, -2)),
    "pad up to a multiple": lambda x: F.pad(x, (0, -x.shape[3] % 8, 0, -x.shape[2] % 8)),
    "zeros around, then maxima": lambda x: F.max_pool2d(F.pad(x - 9.0, (1, 1, 1, 1)), 2),
    "zeros around, then means": lambda x: F.avg_pool2d(F.pad(x, (1, 0, 0, 1)), 3, 2),
    "zeros around, then means in them": lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 2, 2, 1),
    "reflect": lambda x: F.pad(x, (3, 2, 1, 0), "reflect"),
    "replicate": lambda x: F.pad(x, (3, 12, 0, 1), "replicate"),
    "mirrored again and again": lambda x: mirror(x, (30, 1, 0, 50)),
    "unpool_nearest": lambda x: F.unpool_nearest(x, (2, 3)),
    "unpool_bed_of_nails": lambda x: F.unpool_bed_of_nails(x, (3, 2)),
    "max_unpool2d": lambda x: pooled_back(x, 2, ceil_mode=True),
    "max_unpool2d into another size": lambda x: pooled_back(x, 2, ceil_mode=True, larger=1),
    "max_unpool2d where windows overlap": lambda x: pooled_back(x, 3, 2, 1, ceil_mode=True),
    "adaptive means": lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
    "adaptive means of one axis": lambda x: F.adaptive_avg_pool2d(x, (None, 2)),
    "one mean": lambda x: F.adaptive_avg_pool2d(x, 1),
    "bilinear": lambda x: F.interpolate(x, (11, x.shape[3] * 2), mode="bilinear"),
    "bilinear to one pixel": lambda x: F.interpolate(x, 1, mode="bilinear"),
    "bilinear, aligned": lambda x: F.interpolate(x, (20, 5), None, "bilinear", True),
    "bilinear, twice": lambda x: F.interpolate(x, None, 2, "bilinear"),
    "bilinear, one and a half": lambda x: F.interpolate(x, None, (1.5, 0.5), "bilinear"),
    "nearest, three times": lambda x: F.interpolate(x, None, 3),
    "nearest to a size": lambda x: F.interpolate(x, (18, 14)),
}


# What belongs to training: gradients, losses, dropout.
NOT_EXPORTED = {
    "BatchNormGrad", "ChannelSums", "Conv2dWeightGrad", "CrossEntropy", "CrossEntropyGrad",
    "Dropout", "GatherPlane", "LocalResponseNormGrad", "PutClass", "PutItem",
    "ReLUGrad", "Select", "TakeClass",
}  # fmt: skip


def ops_of(kind):
    """All ops of tinyfcn.functional."""
    for op in kind.__subclasses__():
        if op.__module__.startswith("tinyfcn.functional."):
            yield op
        yield from ops_of(op)


def test_every_op_has_a_rule_or_is_known_to_have_none():
    for op in ops_of(tinyfcn.Function):
        assert (op in RULES) != (op.__name__ in NOT_EXPORTED), (
            f"{op.__name__} in {inspect.getsourcefile(op)}: add a rule to {operators.__file__}, "
            f"or its name to NOT_EXPORTED in {__file__}"
        )


@pytest.mark.parametrize("name", OPS)
def test_op(name, tmp_path):
    check(OPS[name], tmp_path)


# Without images these do not say how long the rest is, and onnxruntime 1.19 multiplies nothing.
WITH_IMAGES = {
    "pixels as a sequence", "sum and maximum", "maximum of the plane", "adaptive means",
    "adaptive means of one axis",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in OPS if name not in WITH_IMAGES])
def test_a_batch_of_no_image(name, tmp_path):
    check(OPS[name], tmp_path, [(0, 4, 8, 9)])


def test_nearest_where_the_quotient_is_whole(tmp_path):
    shapes = [(1, 4, 49, 14), (1, 4, 98, 21), (2, 4, 147, 28)]
    check(lambda x: F.interpolate(x, (7, 2)), tmp_path, shapes)


def test_one_pixel_is_its_own_mirror_image(tmp_path):
    check(lambda x: mirror(x, (3, 1, 0, 5)), tmp_path, [(1, 4, 1, 6), (1, 4, 6, 1), (2, 4, 1, 1)])


def test_a_cut_that_is_empty_for_the_images_it_is_written_with(tmp_path):
    check(lambda x: x[:, :, x.shape[2] % 4 :], tmp_path, written=(4, 32, 64))


@pytest.mark.parametrize(
    "kernel, stride, padding, dilation, extra",
    [
        (3, 1, 0, 2, 1), (3, 1, 1, 3, 2), (2, 2, 0, 3, 2), (1, 1, 0, 2, 1), (3, 2, 2, 5, 4),
        (2, (1, 2), 1, 3, (0, 2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("groups", [1, 4])
def test_more_output_padding_than_a_stride(
    kernel, stride, padding, dilation, extra, groups, tmp_path
):
    rows, columns = np.broadcast_to(kernel, 2)
    weight = tinyfcn.tensor(RNG.standard_normal((4, 4 // groups, rows, columns), np.float32))
    window = stride, padding, extra, groups, dilation
    shapes = [*SHAPES, (0, 4, 8, 9)]
    check(lambda x: F.conv_transpose2d(x, weight, VECTOR, *window), tmp_path, shapes)


@pytest.mark.parametrize(
    "kernel, stride, padding", [(2, 2, 0), (3, 2, 1), ((4, 3), (3, 2), (1, 0))]
)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_means(kernel, stride, padding, ceil_mode, count_include_pad, tmp_path):
    options = kernel, stride, padding, ceil_mode, count_include_pad
    check(lambda x: F.avg_pool2d(x, *options), tmp_path, [*SHAPES, (1, 4, 8, 11), (0, 4, 8, 9)])


def test_no_pad_goes_straight_into_a_pooling(tmp_path):
    """onnxruntime 1.19 would join the two and give other numbers; a newer one may be installed."""
    import onnx as package

    for function in (
        lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 2),
        lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 2),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    ):
        onnx.export(Stage(function), tmp_path / "a.onnx")
        nodes = package.load(tmp_path / "a.onnx").graph.node
        assert [node.op_type for node in nodes][:2] == ["Pad", "Max"]
        assert nodes[2].op_type in ("MaxPool", "AveragePool")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_convolutions(data):
    stride, padding, dilation = (
        data.draw(st.tuples(st.integers(low, 3), st.integers(low, 3))) for low in (1, 0, 1)
    )
    bias = data.draw(st.sampled_from([None, tinyfcn.tensor(RNG.standard_normal(6, np.float32))]))
    most = [max(axis) - 1 for axis in zip(stride, dilation, strict=True)]
    extra = tuple(data.draw(st.integers(0, n)) for n in most)
    bias_up = data.draw(st.sampled_from([None, VECTOR]))
    relu = data.draw(st.booleans())

    def down(x):
        return F.conv2d(x, WEIGHT, bias, stride, padding, dilation, groups=2, relu=relu)

    def up(x):  # a transposed one from 6 to 4 channels
        weight = WEIGHT.reshape(6, 2, 3, 2)
        six = F.cat([x, x[:, :2]], 1)
        return F.conv_transpose2d(six, weight, bias_up, stride, padding, extra, 2, dilation)

    with tempfile.TemporaryDirectory() as folder:
        check(data.draw(st.sampled_from([down, up])), Path(folder))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_poolings(data):
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    fits = all(k >= s + p for k, s, p in zip(kernel, stride, padding, strict=True))
    ceil_mode = fits and data.draw(st.booleans())
    dilation = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    shapes = [(1, 4, data.draw(st.integers(10, 14)), data.draw(st.integers(10, 14)))]

    def largest(x):
        return F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)

    def back(x):
        y, where = F.max_pool2d(x, kernel, stride, padding, 1, ceil_mode, return_indices=True)
        return F.max_unpool2d(y, where, kernel, stride, padding, output_size=x.shape[2:])

    def mean(x):
        return F.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad)

    count_include_pad = data.draw(st.booleans())
    with tempfile.TemporaryDirectory() as folder:
        check(data.draw(st.sampled_from([largest, mean])), Path(folder), shapes)
        if all(k >= s for k, s in zip(kernel, stride, strict=True)):
            check(back, Path(folder), shapes)  # else sizes may differ by more than unpooling takes

"""Nothing stays nothing: empty batches, and elements that do not count, whatever they hold."""

import warnings

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, grad, nn, tensor
from tinyfcn.backend.cpu.conv import ALGORITHMS

INF, NAN, HUGE = np.inf, np.nan, np.float32(3e38)
BACKENDS = "numpy", "reference", "emulator"


def zeros(*shape):
    return Tensor(np.zeros(shape, "f4"), requires_grad=True)


# ---- pixels and classes that do not count ----

COUNTED = np.array([[[1.0, 2.0]], [[0.5, -1.0]], [[3.0, 0.0]]], "f4")  # (C, 1, 2), class 1 and 2
VOID = {
    "minus infinity in class 0": [-INF, 1.0, 0.0],
    "minus infinity in all": [-INF] * 3,
    "infinity in one": [0.0, INF, 0.0],
    "infinity in all": [INF] * 3,
    "both": [INF, -INF, 0.0],
    "NaN": [0.0, NAN, 0.0],
    "huge": [HUGE, -HUGE, HUGE],
}
LOSSES = {
    "cross_entropy": F.cross_entropy, "nll_loss": F.nll_loss, "focal_loss": F.focal_loss,
    "dice_loss": F.dice_loss,
}  # fmt: skip


def loss_and_gradients(fn, x, target, weight, reduction):
    """The loss, its gradient and the one of that, with a seed that is infinite in void pixels."""
    x = tensor(x[None], requires_grad=True)
    loss = fn(x, target[None], weight, 255, reduction)
    seed = np.ones(loss.shape, "f4")
    if loss.shape == target[None].shape:
        seed[target[None] >= 3] = INF
    seed = tensor(seed)
    seed.requires_grad_()
    (g,) = grad(loss, x, seed, create_graph=True)
    second = grad((g * g).sum() if g.requires_grad else g, [x, seed], allow_unused=True)
    return [loss, g, *(Tensor(np.zeros(1)) if s is None else s for s in second)]


@pytest.mark.parametrize("which", BACKENDS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("how", ["label", "weight"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("held", VOID)
def test_what_does_not_count_contributes_exactly_nothing(held, name, how, reduction, which):
    void = np.array(VOID[held], "f4")[:, None, None]
    x = np.concatenate([COUNTED, void], 2)
    target = np.array([[1, 2, 255 if how == "label" else 0]])
    weight = np.array([0.0, 1.0, 2.0], "f4") if how == "weight" else None
    with backend.using(which):
        found = loss_and_gradients(LOSSES[name], x, target, weight, reduction)
        expected = loss_and_gradients(LOSSES[name], COUNTED, target[:, :2], weight, reduction)
    for got, wanted in zip(found, expected, strict=True):
        counted = got.numpy()[..., :2] if got.ndim > 1 else got.numpy()
        np.testing.assert_array_equal(counted, wanted.numpy())
        np.testing.assert_array_equal(got.numpy()[..., 2:] if got.ndim > 1 else 0, 0)


@pytest.mark.parametrize("which", BACKENDS)
@pytest.mark.parametrize("held", VOID)
def test_a_mean_over_nothing_is_0_whatever_is_there(held, which):
    with backend.using(which):
        for fn in LOSSES.values():
            x = tensor(np.array([VOID[held]] * 2, "f4"), requires_grad=True)
            for target, weight in (([255, 255], None), ([0, 1], np.array([0, 0, 1.0]))):
                loss = fn(x, np.array(target), weight, 255)
                (g,) = grad(loss, x)
                assert loss.item() == 0.0
                assert not g.numpy().any()


@pytest.mark.parametrize("which", BACKENDS)
def test_a_class_that_is_impossible_costs_nothing_unless_it_is_the_label(which):
    with backend.using(which):
        x = tensor([[-INF, 0.0, 0.0], [0.0, -INF, -INF]], requires_grad=True)
        loss = F.cross_entropy(x, np.array([1, 0]), reduction="none")
        (g,) = grad(loss.sum(), x, create_graph=True)
        (second,) = grad((g * g).sum(), x)
        np.testing.assert_allclose(loss.numpy(), [np.log(2), 0], rtol=1e-6)
        np.testing.assert_allclose(g.numpy(), [[0, -0.5, 0.5], [0, 0, 0]], atol=1e-7)
        np.testing.assert_allclose(second.numpy(), [[0, -0.5, 0.5], [0, 0, 0]], atol=1e-6)
        loss = F.cross_entropy(x, np.array([0, 0]), reduction="none")
        assert loss.numpy().tolist() == [INF, 0.0]


def test_void_pixels_are_no_matter_in_large_images_and_both_orders_of_memory(rng):
    x = rng.standard_normal((2, 21, 70, 80)).astype("f4")
    target = rng.integers(0, 21, (2, 70, 80))
    target[rng.random(target.shape) < 0.3] = 255
    bad = x.copy()
    for n, value in enumerate((INF, -INF, NAN, HUGE)):
        bad[:, n * 5 :][np.broadcast_to((target == 255)[:, None], bad[:, n * 5 :].shape)] = value
    results = []
    for values in (x, bad, np.ascontiguousarray(bad.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        leaf = Tensor(values, requires_grad=True)
        loss = F.cross_entropy(leaf, target, ignore_index=255)
        results.append((loss.item(), grad(loss, leaf)[0].numpy().tobytes()))
    assert results[0] == results[1] == results[2]


# ---- masks: what is masked is 0, not 0 · ∞ ----

SEED = np.array([INF, NAN, 1.0], "f4")
MASKED = {  # the inputs, and which of each have a gradient of exactly 0
    "relu": (F.relu, [[-1.0, -INF, 2.0]], [[0, 1]]),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0), [[-1.0, -INF, 2.0]], [[0, 1]]),
    "elu": (lambda x: F.elu(x, 0), [[-1.0, -INF, 2.0]], [[0, 1]]),
    "prelu": (F.prelu, [[INF, 1.0, 2.0], [INF]], [[], [0]]),
    "clamp": (lambda x: F.clamp(x, -1, 1), [[-3.0, INF, 0.5]], [[0, 1]]),
    "clamp to a tensor": (F.clamp, [[-3.0, 2.0, 2.5], [0.0, 1.0, 0.0]], [[0], [1, 2]]),
    "maximum": (F.maximum, [[-1.0, INF, 2.0], [1.0, 0.0, 0.0]], [[0], [1, 2]]),
    "minimum": (F.minimum, [[-1.0, INF, 2.0], [1.0, 0.0, 3.0]], [[1], [0, 2]]),
    "abs": (F.abs, [[0.0, 0.0, 2.0]], [[0, 1]]),
    "where": (
        lambda a, b: F.where(np.array([True, False, True]), a, b),
        [[INF, NAN, 1.0], [NAN, INF, 0.0]],
        [[1], [0, 2]],
    ),
    "amax": (lambda x: F.amax(x), [[1.0, 1.0, 1.0]], [[1, 2]]),
    "getitem": (lambda x: x[2], [[INF, NAN, 1.0]], [[0, 1]]),
    "power of 0": (lambda x: x**0, [[2.0, -1.0, 0.0]], [[0, 1, 2]]),
    "power of a tensor": (lambda b: tensor([0.0, 0.0, 1.0]) ** b, [[1.0, 2.0, 3.0]], [[0, 1]]),
    "max_pool2d": (
        lambda x: F.max_pool2d(x.reshape(1, 1, 1, 3), (1, 3)).reshape(1),
        [[0.0, 3.0, 1.0]],
        [[0, 2]],
    ),
    "conv2d": (
        lambda x: F.conv2d(x.reshape(3, 1, 1, 1), zeros(1, 1, 1, 1) + 1, relu=True).reshape(3),
        [[-1.0, 0.0, 2.0]],
        [[0, 1]],
    ),
    "batch_norm": (
        lambda x: F.batch_norm(
            x.reshape(3, 1), np.zeros(1, "f4"), np.ones(1, "f4"), relu=True
        ).reshape(3),
        [[-1.0, 0.0, 2.0]],
        [[0, 1]],
    ),
}


@pytest.mark.parametrize("which", BACKENDS)
@pytest.mark.parametrize("name", MASKED)
def test_a_masked_element_has_no_gradient_whatever_arrives(name, which):
    fn, values, masked = MASKED[name]
    with backend.using(which), np.errstate(all="ignore"):
        leaves = [tensor(v, dtype="float32", requires_grad=True) for v in values]
        y = fn(*leaves)
        seed = tensor(SEED if y.shape == (3,) else np.full(y.shape, INF, "f4"), requires_grad=True)
        first = grad(y, leaves, seed, create_graph=True)
        # And what arrives at a masked element of the gradient goes nowhere either.
        back = [np.zeros(g.shape, "f4") for g in first]
        for array, places in zip(back, masked, strict=True):
            array[places] = INF
        linked = [(g, array) for g, array in zip(first, back, strict=True) if g.requires_grad]
        outputs, arrays = zip(*linked, strict=True)
        second = grad(outputs, [*leaves, seed], arrays, allow_unused=True)
    for g, places in zip(first, masked, strict=True):
        np.testing.assert_array_equal(g.numpy()[places], 0)
    for g in second:
        assert g is None or not g.numpy().any()


@pytest.mark.parametrize("p", [0.5, 1.0])
@pytest.mark.parametrize("op", [F.dropout, F.dropout2d])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("which", BACKENDS)
def test_what_is_dropped_is_gone(which, dtype, op, p):
    with backend.using(which):
        x = tensor(np.ones((4, 5, 3, 2), dtype), requires_grad=True)
        tinyfcn.manual_seed(3)
        kept = op(x, p).numpy() > 0
        for held in (INF, -INF, NAN):
            x = tensor(np.full((4, 5, 3, 2), held, dtype), requires_grad=True)
            tinyfcn.manual_seed(3)
            y = op(x, p)
            (g,) = grad(y, x, x.detach())
            for result in (y, g):
                assert (result.numpy() == np.where(kept, held, 0))[~kept].all()
                assert not np.isfinite(result.numpy()[kept]).any()


def test_the_examples_of_relu_before_a_root():
    x = tensor([-1.0, 4.0, 0.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        F.relu(x).sqrt().sum().backward()
        assert x.grad.numpy().tolist() == [0.0, 0.25, 0.0]
        x.grad = None
        F.clamp(x, min=0).log().sum().backward()
        assert x.grad.numpy()[:2].tolist() == [0.0, 0.25]


# ---- empty batches ----


def image(n=0):
    return zeros(n, 4, 6, 7)


VECTOR = np.zeros(4, "f4"), np.ones(4, "f4")
EMPTY = {
    "amax of an axis": (lambda: F.amax(image(), 1), (0, 6, 7)),
    "amax of two": (lambda: F.amax(image(), (1, 3)), (0, 6)),
    "amax keeping them": (lambda: F.amax(image(), (2, 3), True), (0, 4, 1, 1)),
    "max": (lambda: image().max(1)[0], (0, 6, 7)),
    "argmax": (lambda: image().max(1)[1], (0, 6, 7)),
    "adaptive_avg_pool2d": (lambda: F.adaptive_avg_pool2d(image(), 2), (0, 4, 2, 2)),
    "avg_pool2d": (lambda: F.avg_pool2d(image(), 2), (0, 4, 3, 3)),
    "batch_norm": (lambda: F.batch_norm(image(), *VECTOR), (0, 4, 6, 7)),
    "batch_norm with relu": (lambda: F.batch_norm(image(), *VECTOR, relu=True), (0, 4, 6, 7)),
    "cat": (lambda: F.cat([image(), image(2)]), (2, 4, 6, 7)),
    "clamp": (lambda: F.clamp(image(), 0, 1), (0, 4, 6, 7)),
    "crop": (lambda: F.crop(image(), 1, 2), (0, 4, 2, 2)),
    "dropout": (lambda: F.dropout(image()), (0, 4, 6, 7)),
    "dropout2d": (lambda: F.dropout2d(image()), (0, 4, 6, 7)),
    "elu": (lambda: F.elu(image()), (0, 4, 6, 7)),
    "flatten": (lambda: F.flatten(image(), 1), (0, 168)),
    "getitem": (lambda: image()[:, 1:3, ::2], (0, 2, 3, 7)),
    "interpolate": (lambda: F.interpolate(image(), 9, None, "bilinear"), (0, 4, 9, 9)),
    "leaky_relu": (lambda: F.leaky_relu(image()), (0, 4, 6, 7)),
    "linear": (lambda: F.linear(zeros(0, 5), zeros(3, 5), zeros(3)), (0, 3)),
    "local_response_norm": (lambda: F.local_response_norm(image(), 3), (0, 4, 6, 7)),
    "log_softmax": (lambda: F.log_softmax(image(), 1), (0, 4, 6, 7)),
    "matmul": (lambda: zeros(0, 2, 3) @ zeros(3, 4), (0, 2, 4)),
    "max_pool2d": (lambda: F.max_pool2d(image(), 3, 2, 1), (0, 4, 3, 4)),
    "max_unpool2d": (
        lambda: F.max_unpool2d(zeros(0, 4, 3, 3), np.zeros((0, 4, 3, 3), int), 2),
        (0, 4, 6, 6),
    ),
    "maximum": (lambda: F.maximum(image(), 0.0), (0, 4, 6, 7)),
    "mean of a channel": (lambda: F.mean(image(), 1), (0, 6, 7)),
    "no loss": (
        lambda: F.cross_entropy(image(), np.zeros((0, 6, 7), int), reduction="none"),
        (0, 6, 7),
    ),
    "mean loss": (lambda: F.cross_entropy(image(), np.zeros((0, 6, 7), int), VECTOR[1]), ()),
    "sum of losses": (lambda: F.nll_loss(image(), np.zeros((0, 6, 7), int), reduction="sum"), ()),
    "pad": (lambda: F.pad(image(), (1, 2, 0, 1)), (0, 4, 7, 10)),
    "pad by reflection": (lambda: F.pad(image(), (1, 1, 1, 1), "reflect"), (0, 4, 8, 9)),
    "pow": (lambda: image() ** 2, (0, 4, 6, 7)),
    "prelu": (lambda: F.prelu(image(), zeros(4)), (0, 4, 6, 7)),
    "softmax": (lambda: F.softmax(image(), 1), (0, 4, 6, 7)),
    "softmax of nothing": (lambda: F.softmax(image(), 0), (0, 4, 6, 7)),
    "log_softmax of nothing": (lambda: F.log_softmax(image(), 0), (0, 4, 6, 7)),
    "sum of channels": (lambda: F.sum(image(), (0, 2, 3)), (4,)),
    "unpool_bed_of_nails": (lambda: F.unpool_bed_of_nails(image(), 2), (0, 4, 12, 14)),
    "unpool_nearest": (lambda: F.unpool_nearest(image(), 2), (0, 4, 12, 14)),
    "where": (lambda: F.where(np.zeros((0, 4, 6, 7), bool), image(), 0.0), (0, 4, 6, 7)),
}


@pytest.mark.parametrize("which", BACKENDS)
@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_batch(name, which):
    make, shape = EMPTY[name]
    with backend.using(which):
        y = make()
        assert y.shape == shape
        assert not y.numpy().any()
        if y.requires_grad:
            (y * y).sum().backward()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_of_an_empty_batch(transposed, groups):
    algorithms = ("auto", *ALGORITHMS)
    for which, name in [*(("numpy", a) for a in algorithms), ("reference", ""), ("emulator", "")]:
        for kernel, stride in ((1, 1), (3, 1), (4, 2), (2, 2), (16, 8)):
            options = {"stride": stride, "padding": kernel // 4, "groups": groups}
            with backend.using(which), pytest.MonkeyPatch.context() as patch:
                patch.setenv("TINYFCN_CONV", name or "auto")
                x = zeros(0, 64, 32, 32)
                if transposed:
                    weight, bias = zeros(64, 4, kernel, kernel), zeros(4 * groups)
                    y = F.conv_transpose2d(x, weight, bias, **options)
                else:
                    weight, bias = zeros(4, 64 // groups, kernel, kernel), zeros(4)
                    y = F.conv2d(x, weight, bias, **options, relu=True)
                (gw,) = grad((y * y).sum(), weight, create_graph=True)
                grad(gw.sum(), [x, bias], allow_unused=True)
                assert y.shape[0] == 0
                assert not gw.numpy().any()


@pytest.mark.parametrize("groups", [1, 2])
def test_layers_and_errors_of_an_empty_batch(groups):
    layers = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=groups), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(),
        nn.ConvTranspose2d(8, 2, 4, stride=2, groups=groups), nn.Flatten(), nn.Linear(7, 3),
    )  # fmt: skip
    with pytest.raises(ValueError, match="linear"):
        layers(image())
    assert layers[:-1](image()).shape == (0, 72)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(4)(image())
    with pytest.raises(ValueError, match=r"amax: no elements along axes \(0,\)"):
        image().amax(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(image().mean().item())  # as in PyTorch

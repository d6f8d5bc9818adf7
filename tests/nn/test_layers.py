"""Layers hand their settings and parameters on to the ops, whole and in the right places."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend, nn, optim

X = np.random.default_rng(1).standard_normal((2, 4, 9, 8)).astype(np.float32)


def same(a, b):
    return np.array_equal(a.numpy(), b.numpy())


def x():
    return tinyfcn.tensor(X)


CASES = {
    "MaxPool2d(3, 2, 1, ceil_mode=True)": (
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        lambda t: F.max_pool2d(t, 3, 2, 1, ceil_mode=True),
    ),
    "MaxPool2d(3, dilation=2)": (
        nn.MaxPool2d(3, dilation=2), lambda t: F.max_pool2d(t, 3, dilation=2),
    ),
    "AvgPool2d(3, 2, 1, True, False)": (
        nn.AvgPool2d(3, 2, 1, True, False), lambda t: F.avg_pool2d(t, 3, 2, 1, True, False),
    ),
    "AdaptiveAvgPool2d((3, 2))": (
        nn.AdaptiveAvgPool2d((3, 2)), lambda t: F.adaptive_avg_pool2d(t, (3, 2)),
    ),
    "Dropout(1.0)": (nn.Dropout(1.0), lambda t: t * 0.0),
    "LocalResponseNorm(3, 0.1, 0.5, 2)": (
        nn.LocalResponseNorm(3, 0.1, 0.5, 2.0),
        lambda t: F.local_response_norm(t, 3, 0.1, 0.5, 2.0),
    ),
    "ReLU": (nn.ReLU(), F.relu),
    "LeakyReLU": (nn.LeakyReLU(0.3), lambda t: F.leaky_relu(t, 0.3)),
    "ELU": (nn.ELU(0.3), lambda t: F.elu(t, 0.3)),
    "Sigmoid": (nn.Sigmoid(), F.sigmoid),
    "Tanh": (nn.Tanh(), F.tanh),
    "Softmax": (nn.Softmax(), lambda t: F.softmax(t, 1)),
    "LogSoftmax": (nn.LogSoftmax(2), lambda t: F.log_softmax(t, 2)),
    "Upsample(size)": (
        nn.Upsample((11, 5), mode="bilinear", align_corners=True),
        lambda t: F.interpolate(t, (11, 5), mode="bilinear", align_corners=True),
    ),
    "Upsample(scale)": (
        nn.Upsample(scale_factor=2), lambda t: F.interpolate(t, scale_factor=2),
    ),
    "ZeroPad2d": (nn.ZeroPad2d((1, 2, 3, 0)), lambda t: F.pad(t, (1, 2, 3, 0))),
    "Flatten": (nn.Flatten(), lambda t: t.reshape(2, -1)),
    "Identity": (nn.Identity(), lambda t: t),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_layer_is_its_op_with_its_settings(name):
    layer, op = CASES[name]
    assert same(layer(x()), op(x()))


def test_convolution_layers():
    conv = nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 3), groups=2)
    assert conv.weight.shape == (6, 2, 3, 2)
    conv.bias.data[...] = np.arange(6)
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 3), "groups": 2}
    assert same(conv(x()), F.conv2d(x(), conv.weight, conv.bias, **options))

    deconv = nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), groups=2, dilation=(1, 2))
    assert deconv.weight.shape == (4, 3, 3, 2)
    deconv.bias.data[...] = np.arange(6)
    expected = F.conv_transpose2d(
        x(), deconv.weight, deconv.bias, (2, 3), (1, 0), (1, 2), groups=2, dilation=(1, 2)
    )
    assert same(deconv(x()), expected)

    linear = nn.Linear(8, 3)
    linear.bias.data[...] = 1, 2, 3
    rows = tinyfcn.tensor(X[0, 0])
    assert same(linear(rows), F.linear(rows, linear.weight, linear.bias))


@pytest.mark.parametrize("make", [nn.Conv2d, nn.ConvTranspose2d])
def test_the_backend_decides_how_weights_lie_and_the_seed_what_they_are(make):
    weights = []
    for name in ("numpy", "reference"):
        with backend.using(name):
            tinyfcn.manual_seed(5)
            weights.append(make(4, 6, 3).weight.data)
            backend_own = backend.active().empty(weights[-1].shape, np.float32)
            assert weights[-1].strides == backend_own.strides
    assert weights[0].strides != weights[1].strides
    np.testing.assert_array_equal(*weights)


def test_loading_and_converting_keep_how_weights_lie():
    layer = nn.Conv2d(4, 6, 3)
    strides = layer.weight.data.strides
    state = {k: np.ascontiguousarray(v) for k, v in nn.Conv2d(4, 6, 3).state_dict().items()}
    layer.load_state_dict(state)
    assert layer.weight.data.strides == strides
    assert layer.double().float().weight.data.strides == strides
    layer(x()).sum().backward()
    optimizer = optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state[layer.weight]["velocity"].strides == strides


def test_bias_may_be_left_out():
    for layer in (nn.Conv2d(2, 2, 1, bias=False), nn.Linear(2, 2, bias=False)):
        assert layer.bias is None
        assert list(layer.state_dict()) == ["weight"]


def test_unpooling_undoes_pooling():
    values, indices = nn.MaxPool2d(2, return_indices=True)(x())
    y = nn.MaxUnpool2d(2)(values, indices, output_size=(9, 8))
    assert y.shape == X.shape
    assert same(y, F.max_unpool2d(values, indices, 2, output_size=(9, 8)))


def test_batch_norm_keeps_running_means_while_training_only():
    bn = nn.BatchNorm2d(4, momentum=0.25)
    y = bn(x()).numpy()
    assert np.allclose(y.mean((0, 2, 3)), 0, atol=1e-6)
    assert np.allclose(y.std((0, 2, 3)), 1, atol=1e-4)
    mean, var = X.astype(np.float64).mean((0, 2, 3)), X.astype(np.float64).var((0, 2, 3), ddof=1)
    assert np.allclose(bn.running_mean.numpy(), 0.25 * mean, atol=1e-6)
    assert np.allclose(bn.running_var.numpy(), 0.75 + 0.25 * var, atol=1e-6)
    assert bn.num_batches_tracked.item() == 1
    bn.eval()
    before = bn.state_dict()
    expected = F.batch_norm(x(), bn.running_mean, bn.running_var, bn.weight, bn.bias)
    assert same(bn(x()), expected)
    assert all(np.array_equal(v, before[k]) for k, v in bn.state_dict().items())


def test_batch_norm_options():
    plain = nn.BatchNorm2d(4, affine=False, track_running_stats=False).eval()
    assert list(plain.state_dict()) == []
    assert np.allclose(plain(x()).numpy().mean((0, 2, 3)), 0, atol=1e-6)


@pytest.mark.parametrize("make", [nn.Dropout, nn.Dropout2d])
def test_dropout_drops_while_training_only(make):
    layer = make(0.5)
    y = layer(x()).numpy()
    dropped = y == 0
    assert 0 < dropped.sum() < X.size
    assert np.allclose(y[~dropped], 2 * X[~dropped])
    if make is nn.Dropout2d:
        assert all(channel.all() or not channel.any() for channel in dropped.reshape(8, -1))
    assert same(layer.eval()(x()), x())


def test_prelu_learns_its_slopes():
    layer = nn.PReLU(4)
    layer.weight.data[...] = 0.1, 0.2, 0.3, 0.4
    assert same(layer(x()), F.prelu(x(), layer.weight))
    layer(x()).sum().backward()
    expected = np.minimum(X, 0).sum((0, 2, 3))
    assert np.allclose(layer.weight.grad.numpy(), expected, rtol=1e-5)


def test_losses():
    target = tinyfcn.tensor(np.random.default_rng(2).integers(0, 4, (2, 9, 8)))
    weight = np.array([1, 2, 3, 4], np.float32)
    assert same(nn.CrossEntropyLoss()(x(), target), F.cross_entropy(x(), target))
    loss = nn.CrossEntropyLoss(weight, ignore_index=2, reduction="sum")
    assert same(loss(x(), target), F.cross_entropy(x(), target, tinyfcn.tensor(weight), 2, "sum"))
    assert same(
        nn.NLLLoss(reduction="none")(x(), target), F.nll_loss(x(), target, None, -100, "none")
    )


class Own(nn.Module):
    """A user's: what is kept under the name of its argument shows, what is not does not."""

    def __init__(self, width, rate=0.1, mode="a", count=1, bias=True, other=()):
        self.width, self.rate, self.mode, self.count = width, rate, mode, count
        self.forgotten = bias, other


REPRS = {
    "Conv2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2)": (
        nn.Conv2d(4, 6, 3, 2, 1, 2, 2)
    ),
    "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1), bias=False)": (
        nn.ConvTranspose2d(4, 6, 3, 2, output_padding=1, bias=False)
    ),
    "Linear(4, 2, bias=False)": nn.Linear(4, 2, bias=False),
    "MaxPool2d(kernel_size=(2, 2), stride=(2, 2), return_indices=True, ceil_mode=True)": (
        nn.MaxPool2d(2, return_indices=True, ceil_mode=True)
    ),
    "AvgPool2d(kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))": nn.AvgPool2d(3, 1, 1),
    "AdaptiveAvgPool2d(output_size=(7, 7))": nn.AdaptiveAvgPool2d(7),
    "Dropout(p=0.5)": nn.Dropout(),
    "Upsample(scale_factor=2, mode='nearest')": nn.Upsample(scale_factor=2),
    "BatchNorm2d(4, eps=1e-05, momentum=0.1)": nn.BatchNorm2d(4),
    "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)": nn.LocalResponseNorm(5),
    "LogSoftmax(dim=2)": nn.LogSoftmax(2),
    "Own(3, rate=0.5, mode='b')": Own(3, 0.5, "b", 1, True, [4]),
}


@pytest.mark.parametrize("text", REPRS)
def test_repr_shows_what_was_chosen(text):
    assert repr(REPRS[text]) == text


ERRORS = {
    "Conv2d: in_channels must be an integer of at least 1, got 0": lambda: nn.Conv2d(0, 2, 3),
    "Conv2d: out_channels 3 does not divide into groups=2": lambda: nn.Conv2d(2, 3, 3, groups=2),
    "ConvTranspose2d: in_channels 3 does not divide into groups=2": (
        lambda: nn.ConvTranspose2d(3, 2, 3, groups=2)
    ),
    r"Conv2d: stride must be at least 1, got \(1, 0\)": lambda: nn.Conv2d(2, 2, 3, stride=(1, 0)),
    "Linear: out_features must be an integer of at least 1, got 0": lambda: nn.Linear(3, 0),
    "MaxPool2d: kernel_size must be at least 1, got 0": lambda: nn.MaxPool2d(0),
    "BatchNorm2d: num_features must be an integer of at least 1, got 0": lambda: nn.BatchNorm2d(0),
    "BatchNorm2d: momentum must be between 0 and 1, got None": (
        lambda: nn.BatchNorm2d(3, momentum=None)
    ),
    r"BatchNorm2d: x must have 4 axes \(N, C, H, W\), got shape \(2, 3\)": (
        lambda: nn.BatchNorm2d(3)(tinyfcn.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    ),
    "Dropout2d: p must be between 0 and 1, got 1.5": lambda: nn.Dropout2d(1.5),
    "Upsample: give either size or scale_factor": lambda: nn.Upsample(),
    "conv2d: weight expects 3 input channels .* but x has 4": lambda: nn.Conv2d(3, 2, 3)(x()),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_the_layer_the_argument_and_the_value(message):
    with pytest.raises(ValueError, match=message):
        ERRORS[message]()


def test_sequential_fuses_a_layer_and_its_relu_without_changing_a_bit(monkeypatch, rng):
    layers = nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.ReLU(),
        nn.ReLU(),
        nn.Conv2d(3, 3, 1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.BatchNorm2d(3),
        nn.LeakyReLU(),
        nn.Conv2d(3, 2, 1),
    )
    x = tinyfcn.tensor(rng.standard_normal((1, 2, 6, 6)), "float32")
    expected = x
    for layer in layers:
        expected = layer(expected)
    fused = []

    def spy_on(name):
        op = getattr(F, name)

        def spy(*args, relu, **options):
            fused.append((name, relu))
            return op(*args, relu=relu, **options)

        monkeypatch.setattr(F, name, spy)

    spy_on("conv2d")
    spy_on("batch_norm")
    np.testing.assert_array_equal(layers(x).numpy(), expected.numpy())
    assert fused == [
        ("conv2d", True),
        ("conv2d", False),
        ("batch_norm", True),
        ("batch_norm", False),
        ("conv2d", False),
    ]

"""Anomaly mode: planted NaNs are found where they were planted, with what led to them."""

import threading

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import AnomalyError, Function, Tensor, detect_anomaly, nn, tensor


class Fn(nn.Module):
    """A layer of any function."""

    def __init__(self, fn):
        self.fn = fn

    def forward(self, x):
        return self.fn(x)


def network(layer):
    """The layer under test in the middle, as backbone.suspect."""
    parts = {"conv": nn.Conv2d(1, 2, 1), "suspect": layer, "relu": nn.ReLU()}
    return nn.Sequential({"backbone": nn.Sequential(parts), "score": nn.Conv2d(2, 1, 1)})


def image(requires_grad=False):
    return tensor(np.linspace(-1, 1, 12).reshape(1, 1, 3, 4), np.float32, requires_grad)


def found(run, **options):
    with (
        pytest.raises(AnomalyError, match="detect_anomaly: ") as caught,
        detect_anomaly(**options),
    ):
        run()
    return caught.value


class Planted(Function):
    """The identity with NaN on one of its two ways."""

    def __init__(self, forward, backward):
        self.gains = forward, backward

    def forward(self, x):
        return x * np.float32(self.gains[0])

    def backward(self, gy):
        return Tensor(gy.data * np.float32(self.gains[1]))


FORWARD = {
    "log of a negative number": (lambda x: (-x * x - 1.0).log(), "Log"),
    "root of a negative number": (lambda x: (-x * x - 1.0).sqrt(), "Sqrt"),
    "a broken power": (lambda x: (-x * x - 1.0) ** 0.5, "Pow"),
    "zero by zero": (lambda x: (x * 0.0) / (x * 0.0), "Div"),
    "an op of one's own": (lambda x: Planted(np.nan, 1)(x), "Planted"),
}


@pytest.mark.parametrize("fn, op", FORWARD.values(), ids=FORWARD)
def test_forward(fn, op):
    error = found(lambda: network(Fn(fn))(image()))
    assert (error.op, error.module) == (op, "backbone.suspect (Fn)")
    assert str(error).endswith(f"{op} in backbone.suspect (Fn) gave NaN; {FINITE}")


FINITE = "what it was given was finite"

BACKWARD = {
    "root at zero": (lambda x: (x * 0.0).sqrt() * 0.0, "Sqrt"),
    "a root of squares": (lambda x: F.where(x < 9.0, x, (x * 0.0).sqrt()), "Sqrt"),
    "an op of one's own": (lambda x: Planted(1, np.nan)(x), "Planted"),
}


@pytest.mark.parametrize("fn, op", BACKWARD.values(), ids=BACKWARD)
@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
def test_backward(fn, op, again):
    model = network(Fn(fn))
    run = Fn(lambda x: nn.recompute(model.backbone, x)) if again else model.backbone
    model.forward = lambda x: model.score(run(x))
    losses = []

    def step():
        losses.append(model(image()).sum())
        losses[0].backward()

    error = found(step)
    assert np.isfinite(losses[0].item())
    assert (error.op, error.module) == (op, "backbone.suspect (Fn)")
    assert f"the backward pass of {op} in backbone.suspect (Fn) gave NaN; {FINITE}" in str(error)


def test_backward_of_a_forward_pass_outside_knows_the_op_alone():
    loss = network(Fn(BACKWARD["root at zero"][0]))(image()).sum()
    error = found(loss.backward)
    assert (error.op, error.module) == ("Sqrt", None)
    assert "the backward pass of Sqrt, outside of modules, gave NaN" in str(error)


def test_second_order():
    x = image(requires_grad=True)
    model = network(Fn(lambda x: (x * x) ** 1.5))

    def run():
        (slope,) = tinyfcn.grad(model(x * 0.0).sum(), x, create_graph=True)
        (slope * slope).sum().backward()

    model.backbone.conv.bias.data[...] = 0
    error = found(run)
    assert error.module == "backbone.suspect (Fn)"
    assert "the backward pass" in str(error)


@pytest.mark.parametrize("name", ["backbone.conv.weight", "score.bias"])
def test_a_weight(name):
    model = network(nn.ReLU())
    dict(model.named_parameters())[name].data.flat[0] = np.nan
    error = found(lambda: model(image()))
    layer = name.rpartition(".")[0]
    assert (error.op, error.module) == ("Conv2d", f"{layer} (Conv2d)")
    assert str(error).endswith(f"gave NaN; {name} held NaN before")


def test_a_running_mean():
    model = network(nn.BatchNorm2d(2)).eval()
    model.backbone.suspect.running_mean.data[1] = np.nan
    error = found(lambda: model(image()))
    assert (error.op, error.module) == ("BatchNorm", "backbone.suspect (BatchNorm2d)")
    assert str(error).endswith("backbone.suspect.running_mean held NaN before")


def test_a_tensor_that_is_neither():
    layer = Fn(lambda x: x + layer.offset)
    layer.offset = tensor([np.nan])
    error = found(lambda: network(layer)(image()))
    assert str(error).endswith("backbone.suspect.offset held NaN before")


def test_the_data():
    x = image()
    x.data[0, 0, 1, 1] = np.nan
    error = found(lambda: network(nn.ReLU())(x))
    assert (error.op, error.module) == ("Conv2d", "backbone.conv (Conv2d)")
    assert str(error).endswith("input 0 held NaN before")


@pytest.mark.parametrize("given", [np.full(3, np.nan), [np.inf] * 3])
def test_the_gradient_that_backward_is_given(given):
    y = F.exp(tensor([1.0, 2.0, 3.0], requires_grad=True) * 0.0) * 0.0
    error = found(lambda: y.backward(tensor(given, np.float32)))
    what = "NaN" if np.isnan(given[0]) else "infinity"
    assert error.op == "Mul"
    assert str(error).endswith(f"the gradient that arrived held {what} before")


OVERFLOW = {
    "exp": (lambda x: (x * x + 100.0).exp(), "Exp"),
    "a product": (lambda x: (x * x + 1.0) * 1e38 * 1e3, "Mul"),
    "a division by zero": (lambda x: (x * x + 1.0) / (x * 0.0), "Div"),
    "log of zero": (lambda x: (x * 0.0).log(), "Log"),
}


@pytest.mark.parametrize("fn, op", OVERFLOW.values(), ids=OVERFLOW)
def test_overflow_is_followed_to_where_it_began(fn, op):
    model = nn.Sequential(
        {"first": Fn(fn), "flat": Fn(lambda y: y * 2.0), "last": Fn(lambda y: y - y)}
    )
    error = found(lambda: model(image()))
    assert (error.op, error.module) == ("Sub", "last (Fn)")
    assert str(error).endswith(f"input 0 held infinity before, first from {op} in first (Fn)")
    error = found(lambda: model(image()), check_inf=True)
    assert str(error).endswith(f"{op} in first (Fn) gave infinity; {FINITE}")


def test_overflow_in_backward():
    x = tensor([0.0], requires_grad=True)
    error = found(lambda: ((x * 0.0).sqrt() + 0.0).sum().backward())
    assert error.op == "Mul"
    assert str(error).endswith(
        "held infinity before, first from the backward pass of Sqrt, outside of modules,"
    )


def test_infinity_alone_is_no_anomaly():
    with detect_anomaly():
        y = F.softmax(tensor([[-np.inf, 1.0, 2.0]], requires_grad=True), 1)
        (y * y).sum().backward()
    assert y.data[0, 0] == 0


def test_check_nan_false_looks_at_nothing():
    with detect_anomaly(check_nan=False):
        assert np.isnan(F.log(tensor([-1.0])).item())


def test_the_mode_ends_with_its_block_nests_and_decorates():
    with detect_anomaly(), detect_anomaly(), pytest.raises(AnomalyError, match="Log"):
        F.log(tensor([-1.0]))
    with np.errstate(invalid="ignore"):
        assert np.isnan(F.log(tensor([-1.0])).item())

    @detect_anomaly()
    def run():
        return F.log(tensor([-1.0]))

    for _ in range(2):
        with pytest.raises(AnomalyError, match="Log, outside of modules, gave NaN"):
            run()


def test_other_threads_are_not_looked_at():
    results = []

    def work():
        with np.errstate(invalid="ignore"):
            results.append(F.log(tensor([-1.0])).item())

    with detect_anomaly():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert np.isnan(results).all() and len(results) == 1


def test_modules_keep_their_names_in_a_slice_and_those_of_others_have_their_own():
    model = nn.Sequential({"head": nn.Sequential(nn.ReLU(), Fn(lambda x: (x - 1.0).log()))})
    hidden = nn.Sequential(nn.ReLU(), Fn(lambda x: (x - 1.0).sqrt()))
    model.forward = lambda x: model.head[1:](x)
    assert found(lambda: model(image())).module == "head.1 (Fn)"
    model.forward = lambda x: hidden(x)
    assert found(lambda: model(image())).module == "1 (Fn)"


def test_modules_that_an_error_has_left_are_forgotten():
    model = nn.Sequential({"a": nn.ReLU(), "b": Fn(lambda x: x.reshape(12))})
    other = nn.Sequential({"d": Fn(lambda x: (x - 1.0).log())})

    def failing():
        for _ in range(2):
            with pytest.raises(ValueError, match="reshape"):
                model(tensor(np.zeros((1, 1, 1, 1), np.float32)))

    def run(function):
        failing()
        model(image())
        function(image() - 1.0)

    assert found(lambda: run(F.log)).module is None
    assert found(lambda: (failing(), other(image()))).module == "d (Fn)"


def test_values_and_gradients_are_the_same_inside():
    model = nn.Sequential(network(nn.BatchNorm2d(2)), nn.Dropout(0.5))
    results = []
    for mode in (detect_anomaly(), detect_anomaly(check_nan=False)):
        tinyfcn.manual_seed(0)
        model.zero_grad()
        with mode:
            model(image()).sum().backward()
        results.append([p.grad.numpy().copy() for p in model.parameters()])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_a_summary_inside_has_no_values_to_look_at():
    with detect_anomaly():
        tinyfcn.summary(network(nn.ReLU()), (1, 3, 4))

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn
from tinyfcn import Tensor, backend
from tinyfcn.optim import SGD, Adam, AdamW


def sgd_by_hand(w, grads, rates, momentum, dampening, weight_decay, nesterov, caffe):
    v = None
    for g, lr in zip(grads, rates, strict=True):
        d = g + weight_decay * w
        gain = (lr if caffe else 1.0) * (1.0 if v is None else 1 - dampening)
        v = gain * d if v is None else momentum * v + gain * d
        if momentum == 0:
            w = w - lr * d
        elif nesterov:
            w = w - lr * (d + momentum * v)
        else:
            w = w - (v if caffe else lr * v)
    return w


def adam_by_hand(w, grads, lr, beta1, beta2, eps, penalty, decay):
    m = v = np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        w = w - lr * decay * w
        d = g + penalty * w
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d * d
        w = w - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w


def run(make, start, grads, rates=None):
    parameter = Tensor(start.copy(order="K"), requires_grad=True)
    optimizer = make([parameter])
    for i, g in enumerate(grads):
        if rates is not None:
            optimizer.param_groups[0]["lr"] = rates[i]
        parameter.grad = Tensor(g)
        optimizer.step()
    return parameter.numpy()


@pytest.mark.parametrize(
    "momentum, dampening, nesterov, caffe",
    [
        (0.0, 0.0, False, False), (0.9, 0.0, False, False), (0.9, 0.3, False, False),
        (0.9, 0.0, True, False), (0.0, 0.0, False, True), (0.9, 0.3, False, True),
    ],
)  # fmt: skip
@given(
    weight_decay=st.sampled_from([0.0, 0.1]), dtype=st.sampled_from(["float32", "float64"]),
    shape=st.sampled_from([(), (3,), (2, 3, 2, 2)]),
)  # fmt: skip
def test_sgd_by_hand(momentum, dampening, nesterov, caffe, weight_decay, dtype, shape):
    random = np.random.default_rng(1)
    start = np.asarray(random.standard_normal(shape))
    grads = [np.asarray(random.standard_normal(shape)) for _ in range(4)]
    rates = [0.1, 0.1, 0.02, 0.05]
    expected = sgd_by_hand(
        start, grads, rates, momentum, dampening, weight_decay, nesterov, caffe and momentum > 0
    )

    def make(parameters):
        return SGD(
            parameters, 1.0, momentum, dampening, weight_decay, nesterov, caffe_momentum=caffe
        )

    w = run(make, start.astype(dtype), [g.astype(dtype) for g in grads], rates)
    assert w.dtype == dtype
    np.testing.assert_allclose(w, expected, atol=20 * np.finfo(dtype).eps)


def test_caffe_momentum_differs_only_when_the_rate_changes(rng):
    start, grads = rng.standard_normal(5), list(rng.standard_normal((6, 5)))

    def both(rates):
        return [
            run(lambda p, c=c: SGD(p, 1.0, 0.9, caffe_momentum=c), start, grads, rates)
            for c in (False, True)
        ]

    ours, caffe = both([0.1] * 6)
    np.testing.assert_allclose(ours, caffe, rtol=1e-13)
    ours, caffe = both([0.1] * 3 + [0.01] * 3)
    assert np.abs(ours - caffe).max() > 0.05


@given(
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.5)]), eps=st.sampled_from([1e-8, 0.1]),
    weight_decay=st.sampled_from([0.0, 0.3]), decoupled=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_adam_by_hand(betas, eps, weight_decay, decoupled, dtype):
    random = np.random.default_rng(2)
    start, grads = random.standard_normal((3, 4)), list(random.standard_normal((4, 3, 4)))
    penalty, decay = (0.0, weight_decay) if decoupled else (weight_decay, 0.0)
    expected = adam_by_hand(start, grads, 0.1, *betas, eps, penalty, decay)
    kind = AdamW if decoupled else Adam
    w = run(
        lambda p: kind(p, 0.1, betas, eps, weight_decay),
        start.astype(dtype), [g.astype(dtype) for g in grads],
    )  # fmt: skip
    assert w.dtype == dtype
    np.testing.assert_allclose(w, expected, atol=60 * np.finfo(dtype).eps)


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def with_gaps(x):
    return np.repeat(x, 2, axis=1)[:, ::2]


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9, weight_decay=0.1), Adam])
@pytest.mark.parametrize("lay_parameter", [np.copy, channels_last, with_gaps])
@pytest.mark.parametrize("lay_gradient", [np.copy, channels_last, with_gaps])
def test_parameter_and_gradient_may_lie_differently_in_memory(
    make, lay_parameter, lay_gradient, rng
):
    start = rng.standard_normal((300, 110, 3, 3)).astype("float32")  # more than one block
    grads = list(rng.standard_normal((2, *start.shape)).astype("float32"))
    expected = run(make, start, grads)
    np.testing.assert_array_equal(
        run(make, lay_parameter(start), [lay_gradient(g) for g in grads]), expected
    )


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9, nesterov=True), Adam])
def test_the_same_bits_for_any_number_of_threads(make, monkeypatch, rng):
    start = rng.standard_normal(1_000_003).astype("float32")
    grads = [rng.standard_normal(start.size).astype("float32")]
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("TINYFCN_NUM_THREADS", threads)
        results.append(run(make, start, grads))
    np.testing.assert_array_equal(*results)


def test_a_step_changes_the_very_array_and_skips_what_has_no_gradient():
    used, unused = tinyfcn.tensor([1.0], requires_grad=True), tinyfcn.tensor([5.0])
    array = used.data
    optimizer = SGD([used, unused], lr=0.5)
    (used * 2.0).sum().backward()
    optimizer.step()
    assert used.data is array and array.tolist() == [0.0]
    assert unused.numpy().tolist() == [5.0]


def test_zero_grad():
    w = tinyfcn.tensor([1.0], requires_grad=True)
    optimizer = SGD([w], lr=0.5)
    (w * 2.0).sum().backward()
    assert w.grad is not None
    optimizer.zero_grad()
    assert w.grad is None


def test_groups_have_their_own_options():
    a, b = tinyfcn.tensor([1.0], requires_grad=True), tinyfcn.tensor([1.0], requires_grad=True)
    optimizer = SGD([{"params": [a]}, {"params": b, "lr": 0.2, "weight_decay": 1.0}], lr=0.1)
    for parameter in (a, b):
        parameter.grad = tinyfcn.tensor([1.0])
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.9, 0.6], rtol=1e-6)


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1), AdamW])
def test_a_restored_optimizer_goes_on_bit_by_bit(make, rng):
    shapes = [(4,), (2, 3, 3, 3)]
    grads = [[rng.standard_normal(s).astype("float32") for s in shapes] for _ in range(6)]

    def steps(parameters, optimizer, chosen):
        for step in chosen:
            for parameter, g in zip(parameters, step, strict=True):
                parameter.grad = Tensor(g)
            optimizer.step()

    straight = [Tensor(np.ones(s, "float32"), True) for s in shapes]
    optimizer = make([{"params": straight[:1], "lr": 0.3}, {"params": straight[1:]}])
    steps(straight, optimizer, grads[:3])
    saved = optimizer.state_dict()
    saved = {
        "state": {
            str(number): {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in state.items()}
            for number, state in saved["state"].items()
        },
        "param_groups": [dict(group) for group in saved["param_groups"]],
    }
    resumed = [Tensor(channels_last(p.data) if p.ndim == 4 else p.data.copy()) for p in straight]
    steps(straight, optimizer, grads[3:])

    other = make([{"params": resumed[:1]}, {"params": resumed[1:]}])
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.3
    steps(resumed, other, grads[3:])
    for a, b in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_state_dict_is_plain():
    w = tinyfcn.tensor([[1.0, 2.0]], requires_grad=True)
    optimizer = Adam([w], lr=0.1)
    assert optimizer.state_dict()["state"] == {}
    w.grad = tinyfcn.tensor([[1.0, 1.0]])
    optimizer.step()
    state = optimizer.state_dict()
    assert set(state["state"][0]) == {"step", "first", "second"}
    assert state["state"][0]["step"] == 1
    assert isinstance(state["state"][0]["second"], np.ndarray)
    assert state["param_groups"] == [
        {"params": [0], "lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    ]


def test_state_that_does_not_fit_changes_nothing():
    def made(shape):
        parameter = Tensor(np.ones(shape), True)
        optimizer = SGD([parameter], lr=0.1, momentum=0.9)
        parameter.grad = Tensor(np.ones(shape))
        optimizer.step()
        return optimizer

    optimizer = made((2, 3))
    with pytest.raises(ValueError, match=r"velocity of parameter 0 has shape \(3, 2\), .*\(2, 3\)"):
        optimizer.load_state_dict(made((3, 2)).state_dict())
    two = SGD([Tensor(np.ones(1)), Tensor(np.ones(1))], lr=0.7)
    with pytest.raises(ValueError, match=r"groups are \[\(2, .*\)\], not \[\(1, .*\)\]"):
        optimizer.load_state_dict(two.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.state_dict()["state"][0]["velocity"].shape == (2, 3)


def test_errors():
    w = tinyfcn.tensor([1.0])
    with pytest.raises(ValueError, match=r"SGD: got no parameters"):
        SGD([])
    with pytest.raises(ValueError, match=r"SGD: params\[1\], of shape \(1,\), comes twice"):
        SGD([w, w])
    with pytest.raises(TypeError, match=r"SGD: params\[0\] must be a floating Tensor, got array"):
        SGD([np.ones(3)])
    with pytest.raises(ValueError, match=r"Adam: unknown option 'learning_rate' in a parameter gr"):
        Adam([{"params": [w], "learning_rate": 0.1}])
    with pytest.raises(
        ValueError, match=r"SGD: lr must be a finite number of at least 0, got -0.1"
    ):
        SGD([w], lr=-0.1)
    with pytest.raises(
        ValueError, match=r"SGD: weight_decay must be a finite number of at least 0, got -1"
    ):
        SGD([{"params": [w], "weight_decay": -1}])
    with pytest.raises(
        ValueError, match=r"SGD: momentum must be a finite number of at least 0, got -0.5"
    ):
        SGD([w], momentum=-0.5)
    with pytest.raises(
        ValueError, match=r"Adam: eps must be a finite number of at least 0, got -1e-08"
    ):
        Adam([w], eps=-1e-8)
    with pytest.raises(ValueError, match=r"SGD: nesterov needs momentum above 0"):
        SGD([w], nesterov=True)
    with pytest.raises(ValueError, match=r"AdamW: betas must be two numbers in \[0, 1\), got \(1"):
        AdamW([w], betas=(1.0, 0.9))


def test_no_temporary_of_the_size_of_a_parameter(monkeypatch):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "2")  # each thread has its blocks
    size = 8_000_000
    param, grad, a, b = (np.ones(size, "float32") for _ in range(4))
    tracemalloc.start()
    try:
        backend.active().sgd_update([param], [grad], [a], 0.9, 1.0, 0.1, 0.1, True)
        backend.active().adam_update([param], [grad], [a], [b], 0.1, 0.9, 0.99, 0.5, 1e-8, 0.1, 1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * size

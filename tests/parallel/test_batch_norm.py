"""Synchronised batch norm: ranks that share a batch give what one process gives for all of it."""

import importlib.util
import threading

import numpy as np
import pytest
from thread_group import on_ranks

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, models, nn, onnx
from tinyfcn.functional.normalization import BatchTooSmall
from tinyfcn.parallel.batch_norm import SyncBatchNorm2d, sync_batch_norm
from tinyfcn.parallel.group import Group
from tinyfcn.training.objective import total_loss

MAKING = threading.Lock()  # of models: all threads draw from one source of random numbers
SHARDS = [(4,), (2, 2), (1, 4), (3, 0), (2, 1, 3), (0, 5, 0), (1, 0, 2, 3)]


def shares(array, shards):
    return np.split(array, np.cumsum(shards)[:-1])


def step(model, x, gy):
    """Outputs, gradients of x and of the parameters, and all values, after a step."""
    x = tinyfcn.tensor(x, requires_grad=True)
    y = model(x)
    y.backward(gy)
    grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return y.numpy(), x.grad.numpy(), grads, model.state_dict()


def compare(make, x, gy, shards, tolerance=1e-12):
    """Two steps on ranks against two on one process; gives what the ranks had in the second."""

    def rank(group):
        with MAKING:
            model = make()
        sync_batch_norm(model, group)
        own = shares(x, shards)[group.rank], shares(gy, shards)[group.rank]
        step(model, *own)
        model.zero_grad()
        return step(model, *own)

    alone = make()
    step(alone, x, gy)
    alone.zero_grad()
    y, gx, grads, state = step(alone, x, gy)
    ranks = on_ranks(len(shards), rank)
    found_y, found_gx, found_grads, found_state = zip(*ranks, strict=True)
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(np.concatenate(found_y), y, **close)
    np.testing.assert_allclose(np.concatenate(found_gx), gx, **close)
    for name, g in grads.items():
        own = [found[name] for found in found_grads]
        np.testing.assert_allclose(sum(own), g, **close, err_msg=name)
        assert not any(g.any() for g, n in zip(own, shards, strict=True) if n == 0)
    for name, value in state.items():
        np.testing.assert_allclose(found_state[0][name], value, **close, err_msg=name)
        assert len({found[name].tobytes() for found in found_state}) == 1, name
    return ranks


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shards", SHARDS)
def test_a_layer(shards, affine, relu, rng):
    def make():
        layer = nn.BatchNorm2d(3, momentum=0.3, affine=affine)
        if affine:
            layer.weight.data[:] = 1.5, -0.5, 2.0
            layer.bias.data[:] = 0.1, 0.2, -0.3
        return (nn.Sequential(layer, nn.ReLU()) if relu else layer).double()

    x = rng.standard_normal((sum(shards), 3, 4, 5)) * [[[2]], [[1]], [[7]]] + [[[3]], [[0]], [[9]]]
    gy = rng.standard_normal(x.shape) + 0.5
    ranks = compare(make, x, gy, shards)
    for (y, _, grads, _), own in zip(ranks, shares(gy, shards), strict=True):
        own = own * (y > 0) if relu else own
        for name, g in grads.items():
            if name.endswith("bias"):  # this rank's own, not that of all
                np.testing.assert_allclose(g, own.sum((0, 2, 3)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("which", ["reference", "emulator"])
def test_the_other_backends(which, rng):
    x, gy = rng.standard_normal((2, 5, 2, 3, 4))
    with backend.using(which):
        compare(lambda: nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()).double(), x, gy, (2, 0, 3))


def test_no_digit_is_lost_where_the_mean_is_large(rng):
    x = (rng.standard_normal((6, 2, 8, 8)) + 3e4).astype("f4")
    gy = rng.standard_normal(x.shape).astype("f4")
    alone = step(nn.BatchNorm2d(2).double(), x.astype("f8"), gy.astype("f8"))

    def rank(group):
        layer = nn.BatchNorm2d(2)
        sync_batch_norm(layer, group)
        return step(layer, *(shares(a, (2, 3, 1))[group.rank] for a in (x, gy)))

    ranks = on_ranks(3, rank)
    np.testing.assert_allclose(ranks[0][3]["running_var"], alone[3]["running_var"], rtol=1e-5)
    y, gx = (np.concatenate([found[i] for found in ranks]) for i in (0, 1))
    # The mean itself is a float32: half a unit of its last place, as with one process.
    np.testing.assert_allclose(y, alone[0], atol=3e-3)
    np.testing.assert_allclose(gx, alone[1], atol=3e-3)


class Network(nn.Module):
    """Layers that are nested, shared, alone, in front of a ReLU, and recomputed."""

    def __init__(self):
        tinyfcn.manual_seed(7)
        shared = nn.BatchNorm2d(4)
        self.first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), shared, nn.ReLU())
        self.again = shared
        self.part = nn.Sequential(
            nn.Sequential({"conv": nn.Conv2d(4, 4, 3), "bn": nn.BatchNorm2d(4), "relu": nn.ReLU()}),
            nn.Dropout(0.0), nn.MaxPool2d(2),
        )  # fmt: skip
        self.last = nn.Conv2d(4, 3, 1)
        self.double()

    def forward(self, x):
        x = self.first(x)
        x = nn.recompute(self.part, F.relu(self.again(x * x)) + x)
        return self.last(x)


@pytest.mark.parametrize("shards", SHARDS[1:])
def test_a_network(shards, rng):
    x = rng.standard_normal((sum(shards), 2, 9, 8))
    compare(Network, x, rng.standard_normal((sum(shards), 3, 3, 3)), shards, 1e-11)


def test_a_layer_stays_the_object_that_it_is():
    model = Network()
    layers, names, before = list(model.modules()), list(model.state_dict()), model.state_dict()
    for group in (Group(), Group()):  # a second time, for another group
        sync_batch_norm(model, group)
        assert all(a is b for a, b in zip(model.modules(), layers, strict=True))
        found = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
        assert [type(layer) for layer in found] == [SyncBatchNorm2d] * 2
        assert all(layer.group is group for layer in found)
    assert list(model.state_dict()) == names
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert "SyncBatchNorm2d(4, eps=1e-05" in repr(model)


def test_it_runs_as_one_op_with_the_relu_behind():
    class Ops(tinyfcn.Hook):
        seen = ()

        def op(self, function, inputs, outputs):
            self.seen = *self.seen, type(function).__name__

    layers = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    sync_batch_norm(layers, Group())
    x = Tensor(np.ones((2, 3, 4, 4), "f4"))
    with Ops() as ops:
        layers(x)
        layers.eval()(x)
    assert ops.seen == ("SyncBatchNorm", "BatchNorm")


def test_a_class_of_somebody_else_is_refused():
    class Mine(nn.BatchNorm2d):
        pass

    with pytest.raises(TypeError, match=r"sync_batch_norm: 1\.0 must be a BatchNorm2d, .*Mine"):
        sync_batch_norm(nn.Sequential(nn.ReLU(), nn.Sequential(Mine(3))), Group())


class Silent(Group):
    """Nobody answers."""

    size = 2

    def start_collect(self, part, whole):
        raise AssertionError("asked the other ranks")


@pytest.mark.parametrize("tracked", [True, False])
def test_in_evaluation_a_rank_goes_its_own_way(tracked, rng):
    layers = [nn.BatchNorm2d(3, track_running_stats=tracked).eval() for _ in range(2)]
    sync_batch_norm(layers[1], Silent())
    x, gy = rng.standard_normal((2, 2, 3, 4, 4)).astype("f4")
    ours, theirs = (step(layer, x, gy) for layer in layers)
    np.testing.assert_equal(ours, theirs)
    with pytest.raises(AssertionError, match="asked the other ranks"):
        layers[1].train()(Tensor(x))


def test_a_summary_and_a_file_for_other_programs_ask_nobody(tmp_path):
    made = []
    for group in (None, Silent()):
        tinyfcn.manual_seed(0)
        model = models.segnet(3, width=1 / 32)
        if group:
            sync_batch_norm(model, group)
        text = str(tinyfcn.summary(model, (3, 64, 64))).replace("Sync", "")
        assert "BatchNorm2d" in text
        made.append([line.split() for line in text.splitlines() if "--" not in line])
    assert made[0] == made[1]
    if importlib.util.find_spec("onnx"):
        onnx.export(model, tmp_path / "model.onnx", (3, 64, 64))
    assert model.training


def test_one_value_in_all_is_too_few_on_all_ranks():
    def rank(group, images):
        layer = nn.BatchNorm2d(3)
        sync_batch_norm(layer, group)
        x = np.zeros((images[group.rank], 3, 1, 1), "f4")
        try:
            return layer(Tensor(x)).shape
        except BatchTooSmall as error:
            return str(error)

    assert on_ranks(2, lambda group: rank(group, (1, 1))) == [(1, 3, 1, 1)] * 2
    for images in ((1, 0), (0, 0)):
        for found in on_ranks(2, lambda group, images=images: rank(group, images)):
            assert found.startswith("SyncBatchNorm2d: expected more than 1 value per channel")


def test_second_derivatives_are_refused():
    layer = nn.BatchNorm2d(2)
    sync_batch_norm(layer, Group())
    x = tinyfcn.tensor(np.arange(8.0).reshape(2, 2, 1, 2), requires_grad=True)
    with pytest.raises(RuntimeError, match="SyncBatchNorm2d: has no second derivatives"):
        tinyfcn.grad(layer(x).sum(), x, create_graph=True)


NETWORKS = {
    "fcn8s": {"batch_norm": True},
    "fcn32s": {"backbone": "googlenet", "width": 1 / 16},
    "fcn16s": {"backbone": "resnet18"},
    "segnet": {},
    "unet": {"geometry": "aligned", "batch_norm": True},
    "pspnet": {},
    "deeplabv3_resnet50": {},
    "dilation_context": {"batch_norm": True},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_rank_without_images_takes_part(name, rng):
    x = rng.standard_normal((2, 3, 64, 64)).astype("f4")
    labels = rng.integers(0, 3, (2, 64, 64))

    def rank(group):
        with MAKING:
            tinyfcn.manual_seed(0)
            model = models.create(name, num_classes=3, **{"width": 1 / 32, **NETWORKS[name]})
        sync_batch_norm(model, group)
        own = slice(0, 0) if group.rank else slice(None)
        total_loss(model, Tensor(x[own]), labels[own], F.cross_entropy).backward()
        return {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}

    full, empty = on_ranks(2, rank)
    assert full.keys() == empty.keys()
    assert all(np.isfinite(g).all() for g in full.values())
    assert any(g.any() for g in full.values())
    assert not any(g.any() for g in empty.values())

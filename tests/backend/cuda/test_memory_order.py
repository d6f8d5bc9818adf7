"""Parameters and gradients lie in memory as kernels take them: none is copied to reorder it."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend, models, optim
from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.launcher import Launcher
from tinyfcn.training import checkpoint

OPTIMIZERS = {
    "sgd": lambda params: optim.SGD(params, lr=0.01, momentum=0.9, weight_decay=1e-3),
    "adam": lambda params: optim.Adam(params),
}


@pytest.fixture
def emulator():
    with backend.using("emulator") as used:
        yield used


@pytest.fixture
def copies(monkeypatch):
    """The shapes of the arrays that were copied, for a launch or to convert them."""
    made = []

    def counted(method):
        def counting(self, *given):
            results = method(self, *given)
            for a, b in zip(given, results if len(given) > 1 else [results], strict=True):
                if a is not None and np.size(a) > 1 and not np.shares_memory(a, b):
                    made.append(np.shape(a))
            return results

        return counting

    monkeypatch.setattr(Launcher, "_contiguous", counted(Launcher._contiguous))
    monkeypatch.setattr(CudaBackend, "_prepared", counted(CudaBackend._prepared))
    return made


def network():
    tinyfcn.manual_seed(0)
    return models.fcn8s(num_classes=5, width=1 / 32, batch_norm=True)


def step(model, optimizer):
    images = np.random.default_rng(1).standard_normal((1, 3, 33, 40)).astype("float32")
    labels = np.random.default_rng(2).integers(0, 5, (1, 33, 40))
    optimizer.zero_grad()
    F.cross_entropy(model(tinyfcn.tensor(images)), labels).backward()
    optimizer.step()


def weights(model):
    return [p for p in model.parameters() if p.ndim == 4 and p.requires_grad]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_reorders_no_parameter_and_no_gradient(emulator, copies, name):
    model = network()
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    for _ in range(2):
        step(model, optimizer)
        assert all(p.grad.data.flags.c_contiguous for p in weights(model))
    # What is copied: the scores, cut out of a larger map, and the gradient of their mean.
    assert {shape for shape in copies if len(shape) == 4} == {(1, 5, 33, 40)}
    assert len(copies) == 2 * 3


def test_the_counter_counts(emulator, copies):
    """Weights that lie otherwise are copied by each pass, and back and forth by the optimizer."""
    model = network()
    for p in weights(model):
        p.data = np.asfortranarray(p.data)
    optimizer = OPTIMIZERS["sgd"](list(model.parameters()))
    step(model, optimizer)
    counts = {p.shape: copies.count(p.shape) for p in weights(model)}
    assert len(weights(model)) > 15 and min(counts.values()) >= 3  # forward, weights, velocities


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_loaded_keeps_the_order(emulator, copies, name, tmp_path):
    """From a run on the CPU, whose arrays are channels-last, and from a file."""
    with backend.using("numpy"):
        trained = network()
        optimizer = OPTIMIZERS[name](list(trained.parameters()))
        step(trained, optimizer)
        state = {"model": trained.state_dict(), "optimizer": optimizer.state_dict()}
        assert not all(p.data.flags.c_contiguous for p in weights(trained))
        checkpoint.save(tmp_path / "last.npz", state)
    copies.clear()
    for saved in (state, checkpoint.load(tmp_path / "last.npz")):
        model = network()
        optimizer = OPTIMIZERS[name](list(model.parameters()))
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step(model, optimizer)
        assert all(p.data.flags.c_contiguous for p in weights(model))
        assert not {p.shape for p in weights(model)} & set(copies)

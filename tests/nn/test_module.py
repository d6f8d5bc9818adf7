"""Module: what it owns, in which order, and how it saves, loads and rejects."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import nn
from tinyfcn.nn.module import LoadResult


class Block(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.count = nn.Buffer(np.zeros((), np.int64))
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1, bias=False))
        self.label = "not a part"

    def forward(self, x):
        return self.head(self.bn(self.conv(x))) * self.scale


KEYS = [
    "scale", "count", "conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean",
    "bn.running_var", "bn.num_batches_tracked", "head.0.weight", "head.0.bias", "head.2.weight",
]  # fmt: skip


def test_everything_comes_in_the_order_in_which_it_was_set():
    block = Block()
    assert list(block.state_dict()) == KEYS
    buffers = ["count", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked"]
    assert [name for name, _ in block.named_buffers()] == buffers
    assert [name for name, _ in block.named_parameters()] == [k for k in KEYS if k not in buffers]
    assert [name for name, _ in block.named_children()] == ["conv", "bn", "head"]
    names = ["", "conv", "bn", "head", "head.0", "head.1", "head.2"]
    assert [name for name, _ in block.named_modules()] == names
    assert list(block.parameters()) == [p for _, p in block.named_parameters()]


def test_setting_a_part_again_replaces_it_in_its_place():
    block = Block()
    block.conv = nn.Conv2d(1, 4, 5)
    assert list(block.state_dict()) == KEYS
    assert block.state_dict()["conv.weight"].shape == (4, 1, 5, 5)
    block.scale = None
    assert list(block.state_dict()) == KEYS[1:]


def test_a_shared_module_is_one_parameter_under_two_keys():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(list(model.modules())) == 3

    one, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    other.weight = one.weight
    tied = nn.Sequential(one, other)
    assert [name for name, _ in tied.named_parameters()] == ["0.weight"]
    assert list(tied.state_dict()) == ["0.weight", "1.weight"]


def test_train_and_eval_reach_every_module():
    block = Block()
    assert all(m.training for m in block.modules())
    assert block.eval() is block
    assert not any(m.training for m in block.modules())
    block.train()
    assert all(m.training for m in block.modules())


def test_gradients_arrive_and_are_forgotten(rng):
    block = Block()
    y = block(tinyfcn.tensor(rng.standard_normal((2, 3, 8, 8)).astype(np.float32)))
    assert y.shape == (2, 2, 6, 6)
    (y * y).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in block.parameters())
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())


def test_frozen_parameters_get_no_gradient_and_do_not_count(rng):
    block = Block()
    every = nn.count_parameters(block)
    block.head.requires_grad_(False)
    block(tinyfcn.tensor(rng.standard_normal((1, 3, 8, 8)).astype(np.float32))).sum().backward()
    assert [p.grad is None for p in block.head.parameters()] == [True] * 3
    assert block.conv.weight.grad is not None
    assert nn.count_parameters(block) == every - (16 + 4 + 8)


def test_apply_visits_inner_modules_first():
    seen = []
    nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())).apply(lambda m: seen.append(type(m)))
    assert seen == [nn.Tanh, nn.Sequential, nn.ReLU, nn.Sequential]


def test_astype_converts_floats_only_and_keeps_identity_and_layout():
    block = Block()
    weight, strides = block.conv.weight, block.conv.weight.data.strides
    block.double()
    assert block.conv.weight is weight
    assert weight.data.strides == tuple(2 * s for s in strides)
    assert block.bn.running_var.dtype == np.float64
    assert block.bn.num_batches_tracked.dtype == np.int64
    x = np.zeros((1, 3, 5, 5))
    assert block(tinyfcn.tensor(x)).dtype == np.float64
    assert block.float()(tinyfcn.tensor(x.astype(np.float32))).dtype == np.float32


# ---- state ----


def test_a_state_is_a_snapshot_and_loads_bit_for_bit():
    one, other = Block(), Block()
    state = one.state_dict()
    assert all(isinstance(v, np.ndarray) for v in state.values())
    before = {k: v.copy() for k, v in state.items()}
    for p in one.parameters():
        p.data += 1.0
    assert all(np.array_equal(state[k], before[k]) for k in KEYS)
    assert other.load_state_dict(state) == LoadResult([], [])
    assert all(np.array_equal(v, state[k]) for k, v in other.state_dict().items())


def test_loading_writes_into_the_memory_and_dtype_that_is_there():
    block = Block()
    weight, data = block.conv.weight, block.conv.weight.data
    state = {k: np.array(v, np.float64, order="C") for k, v in Block().state_dict().items()}
    state["conv.weight"] = tinyfcn.tensor(state["conv.weight"])  # tensors are welcome too
    block.load_state_dict(state)
    assert block.conv.weight is weight and weight.data is data
    assert data.dtype == np.float32 and block.count.dtype == np.int64
    assert np.array_equal(data, state["conv.weight"].numpy().astype(np.float32))


def test_a_rejection_lists_everything_at_once_and_changes_nothing():
    block = Block()
    state = Block().state_dict()
    for wrong in ("conv.weight", "head.2.weight"):
        state[wrong] = state[wrong][:1]
    del state["bn.bias"], state["scale"]
    state["fc.weight"] = state["fc.bias"] = np.zeros(3)
    before = block.state_dict()
    with pytest.raises(ValueError) as error:
        block.load_state_dict(state)
    assert str(error.value).split("\n") == [
        "Block: this state does not fit, and nothing was loaded",
        "  missing: scale, bn.bias",
        "  unexpected: fc.weight, fc.bias",
        "  another shape: conv.weight is (4, 3, 3, 3) here, (1, 3, 3, 3) in the state",
        "  another shape: head.2.weight is (2, 4, 1, 1) here, (1, 4, 1, 1) in the state",
    ]
    assert all(np.array_equal(v, before[k]) for k, v in block.state_dict().items())


def test_a_lenient_load_reports_names_but_still_rejects_shapes():
    block, state = Block(), Block().state_dict()
    del state["scale"]
    state["extra"] = np.zeros(1)
    result = block.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale"] and result.unexpected_keys == ["extra"]
    assert np.array_equal(block.conv.weight.numpy(), state["conv.weight"])

    before = block.state_dict()
    state = {"bn.weight": np.full(4, 7.0), "conv.bias": np.zeros(5)}
    with pytest.raises(ValueError, match=r"conv\.bias is \(4,\) here, \(5,\) in the state"):
        block.load_state_dict(state, strict=False)
    assert all(np.array_equal(v, before[k]) for k, v in block.state_dict().items())


@pytest.mark.parametrize("value", ["text", {"a": 1}, np.array(["x"]), np.array([1j])])
def test_values_that_are_not_numbers_are_rejected(value):
    with pytest.raises(TypeError, match="load_state_dict: bias must be an array of numbers"):
        nn.Linear(2, 2).load_state_dict({"weight": np.zeros((2, 2)), "bias": value})


# ---- containers and repr ----


def test_repr_shows_the_tree_and_the_settings():
    assert repr(Block()).split("\n") == [
        "Block(",
        "  (conv): Conv2d(3, 4, kernel_size=(3, 3))",
        "  (bn): BatchNorm2d(4, eps=1e-05, momentum=0.1)",
        "  (head): Sequential(",
        "    (0): Conv2d(4, 4, kernel_size=(1, 1))",
        "    (1): ReLU()",
        "    (2): Conv2d(4, 2, kernel_size=(1, 1), bias=False)",
        "  )",
        ")",
    ]


def test_sequential_indexes_slices_and_appends():
    model = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    assert len(model) == 3 and model[-1] is model[2]
    assert [type(m) for m in model[1:]] == [nn.Tanh, nn.Sigmoid]
    model.append(nn.ELU())
    assert list(dict(model.named_children())) == ["0", "1", "2", "3"]
    with pytest.raises(IndexError, match="Sequential has 4 modules, no index 4"):
        model[4]


def test_containers_reject_what_is_not_a_module_and_names_that_are_taken():
    with pytest.raises(TypeError, match="Sequential: 1 must be a Module, got function"):
        nn.Sequential(nn.ReLU(), lambda x: x)
    with pytest.raises(ValueError, match="'forward' cannot be the name of a module"):
        nn.Sequential({"forward": nn.ReLU()})
    with pytest.raises(ValueError, match=r"'a\.b' cannot be the name"):
        nn.Sequential({"a.b": nn.ReLU()})


def test_module_list_owns_its_modules():
    heads = nn.ModuleList(nn.Linear(2, n) for n in (1, 2))
    assert list(heads.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        heads(None)

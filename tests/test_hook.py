"""The hook: what it is told, in which order, on which thread, and for how long."""

import threading

import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, nn, tensor


class Log(tinyfcn.Hook):
    def __init__(self):
        self.seen = []

    def op(self, function, inputs, outputs):
        self.seen.append((type(function).__name__, *(y.shape for y in outputs)))

    def enter(self, module, inputs):
        self.seen.append(("enter", type(module).__name__))

    def leave(self, module, inputs, result):
        self.seen.append(("leave", type(module).__name__, result.shape))


def test_ops_and_modules_in_the_order_in_which_they_run():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2))
    x = tensor([[[[0.0] * 6] * 6]])
    model(x)
    with Log() as log:
        model(x)
    model(x)
    assert log.seen == [
        ("enter", "Sequential"),
        ("enter", "Conv2d"), ("Conv2d", (1, 2, 4, 4)), ("leave", "Conv2d", (1, 2, 4, 4)),
        ("enter", "MaxPool2d"), ("MaxPool2d", (1, 2, 2, 2)), ("leave", "MaxPool2d", (1, 2, 2, 2)),
        ("leave", "Sequential", (1, 2, 2, 2)),
    ]  # fmt: skip


def test_the_backward_pass_is_made_of_ops_too():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = F.exp(x).sum()
    with Log() as log:
        y.backward()
    assert [name for name, *_ in log.seen] == ["Reshape", "BroadcastTo", "Mul"]


def test_inputs_are_those_of_the_call_and_outputs_have_their_node():
    class Inputs(tinyfcn.Hook):
        def op(self, function, inputs, outputs):
            self.inputs, self.outputs, self.node = inputs, outputs, outputs[0].grad_fn

    x = tensor([[[[1.0, 2.0]]]], requires_grad=True)
    with Inputs() as hook:
        y = F.conv2d(x, tensor([[[[3.0]]]]))
    assert hook.inputs[0] is x and hook.inputs[2] is None
    assert hook.outputs[0] is y and hook.node is y.grad_fn


def test_the_tensors_that_a_hook_returns_take_the_place_of_the_outputs():
    class Doubled(tinyfcn.Hook):
        def op(self, function, inputs, outputs):
            return tuple(Tensor(y.data * 2) for y in outputs)

    with Doubled(), Log() as inner:
        y, indices = F.max_pool2d(tensor([[[[1.0, 3.0]]]]), (1, 2), return_indices=True)
    assert (y.item(), indices.item()) == (6, 2)
    assert len(inner.seen) == 1


def test_hooks_nest_and_end_where_an_error_leaves_the_block():
    with Log() as outer:
        F.exp(tensor(1.0))
        with pytest.raises(ValueError, match="broadcast"), Log() as inner:
            F.exp(tensor([1.0, 2.0])) + tensor([1.0, 2.0, 3.0])
        F.exp(tensor([1.0]))
    F.exp(tensor([1.0, 2.0, 3.0]))
    assert inner.seen == [("Exp", (2,))]
    assert outer.seen == [("Exp", ()), ("Exp", (2,)), ("Exp", (1,))]


def test_a_hook_watches_its_own_thread_alone():
    with Log() as log:
        other = threading.Thread(target=lambda: F.exp(tensor(1.0)))
        other.start()
        other.join()
    assert log.seen == []

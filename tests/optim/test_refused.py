"""What optimizers and schedules refuse at the call, before anything is changed."""

import copy
import math

import numpy as np
import pytest

from tinyfcn import Tensor, nn, optim, tensor
from tinyfcn.optim import SGD, Adam, AdamW


def leaf(*shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


W = leaf(2, 3)
LAYER = nn.Linear(2, 2)

# What is given, the error, and what it says.
PARAMETERS = {
    "one tensor": (W, TypeError, "params must be a list of Tensors, got Parameter|Tensor"),
    "a set": ({W}, TypeError, "params must be a list of Tensors, got set"),
    "a frozenset": (frozenset([W]), TypeError, "got frozenset"),
    "one group": ({"params": [W]}, TypeError, "params must be a list of Tensors, got dict"),
    "a module": (LAYER, TypeError, "params must be a list of Tensors, got Linear"),
    "a string": ("weights", TypeError, "params must be a list of Tensors, got str"),
    "a number": (3, TypeError, "params must be a list of Tensors, got int"),
    "nothing": (None, TypeError, "params must be a list of Tensors, got NoneType"),
    "an empty list": ([], ValueError, "got no parameters"),
    "empty groups": ([{"params": []}], ValueError, "got no parameters"),
    "a sequential module": (nn.Sequential(LAYER), TypeError, r"params\[0\] must be .*got Linear"),
    "names": (list(LAYER.named_parameters()), TypeError, r"params\[0\] must be .* got \('weight"),
    "an array": (np.ones(3), TypeError, r"params\[0\] must be a floating Tensor, got np.float64"),
    "an int among them": ([W, 1], TypeError, r"params\[1\] must be a floating Tensor, got 1"),
    "a tensor of ints": ([W, tensor([1])], TypeError, r"params\[1\] must be .* got Tensor\(\[1\]"),
    "a result": ([leaf(1), W * 2], ValueError, r"params\[1\], of shape \(2, 3\), was computed"),
    "one twice": ([leaf(1), W, W], ValueError, r"params\[2\], of shape \(2, 3\), comes twice"),
    "one in two groups": (
        [{"params": [leaf(1), W]}, {"params": W}], ValueError,
        r"params\[1\]\['params'\]\[0\], of shape \(2, 3\), comes twice",
    ),
    "a group without any": ([{"params": W}, {"lr": 1}], TypeError, r"params\[1\] must be a dict"),
    "a tensor behind a group": ([{"params": [W]}, W], TypeError, r"params\[1\] must be a dict"),
    "a set in a group": (
        [{"params": {W}}], TypeError, r"params\[0\]\['params'\] must be a list of Tensors, got set"
    ),
    "a number in a group": (
        [{"params": [W, None]}], TypeError, r"params\[0\]\['params'\]\[1\] must be a .* got None"
    ),
    "an option of another": ([{"params": W, "rho": 0.9}], ValueError, "unknown option 'rho'"),
}  # fmt: skip


@pytest.mark.parametrize("given, error, said", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_parameters(kind, given, error, said):
    with pytest.raises(error, match=f"^{kind.__name__}: .*(?:{said})"):
        kind(given, lr=0.1)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_parameters_that_are_fine(kind):
    late = leaf(3)
    for given in (
        LAYER.parameters(), iter([late]), (late,), {"a": late}.values(), [Tensor(np.ones(2))],
        [{"params": iter([late]), "lr": np.float64(1)}], [{"params": []}, {"params": late}],
    ):  # fmt: skip
        assert kind(given, lr=np.float32(0.5)).param_groups[-1]["lr"] in (0.5, 1)
    with pytest.raises(ValueError, match="got no parameters"):
        kind(iter([]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5, "0.1", True, None, [0.1], tensor(0.1)])
@pytest.mark.parametrize(
    "kind, option",
    [
        (SGD, "lr"), (SGD, "momentum"), (SGD, "dampening"), (SGD, "weight_decay"), (Adam, "lr"),
        (Adam, "eps"), (AdamW, "lr"),
    ],
)  # fmt: skip
def test_options(kind, option, value):
    for make in (
        lambda: kind([W], **{option: value}),
        lambda: kind([{"params": [leaf(1)]}, {"params": [W], option: value}]),
    ):
        with pytest.raises(ValueError, match=f"{kind.__name__}: {option} must be a finite number"):
            make()


BETAS = [
    0.9,
    None,
    (0.9,),
    (0.9, 1.0),
    (0.9, math.nan),
    ("0.9", 0.9),
    (-0.1, 0.9),
    "ab",
    {0.9, 0.8},
]


@pytest.mark.parametrize("betas", BETAS, ids=str)
def test_betas(betas):
    with pytest.raises(ValueError, match=r"Adam: betas must be two numbers in \[0, 1\), got"):
        Adam([W], betas=betas)


@pytest.mark.parametrize("option", ["nesterov", "caffe_momentum"])
@pytest.mark.parametrize("value", ["no", 1, None])
def test_switches(option, value):
    with pytest.raises(ValueError, match=f"SGD: switches must be True or False, got .*{option}"):
        SGD([W], momentum=0.9, **{option: value})


def trained(kind, *shapes, **options):
    parameters = [leaf(*shape) for shape in shapes]
    optimizer = kind(parameters, lr=0.1, **options)
    for p in parameters:
        p.grad = Tensor(np.ones(p.shape, np.float32))
    optimizer.step()
    return optimizer


def momentum():
    return trained(SGD, (2, 3), (4,), momentum=0.9)


def adam():
    return trained(Adam, (2, 3), (4,))


def changed(*path, to):
    """A saved state with another value at one place."""

    def change(state):
        inner = state
        for key in path[:-1]:
            inner = inner[key]
        if to is ...:
            del inner[path[-1]]
        else:
            inner[path[-1]] = to
        return state

    return change


NAN = np.array([0, 1, math.nan, 0], np.float32)

# Whose, how the state is changed, and what the error says.
STATES = {
    "of Adam for SGD": (momentum, lambda _: adam().state_dict(), r"groups are .*betas.* not"),
    "of SGD for Adam": (adam, lambda _: momentum().state_dict(), r"groups are .*momentum.* not"),
    "what SGD keeps": (
        adam, lambda state: {**state, "state": momentum().state_dict()["state"]},
        "expected step, first, second of parameter 0, got velocity",
    ),
    "other shapes": (
        adam, lambda _: trained(Adam, (3, 2), (4,)).state_dict(), r"first of parameter 0 has shape"
    ),
    "a number for an array": (adam, changed("state", 1, "first", to=3.0), r"has shape \(\), it"),
    "another dtype": (
        momentum, changed("state", 1, "velocity", to=np.ones(4, complex)), "must hold finite"
    ),
    "strings": (adam, changed("state", 1, "second", to=["a"] * 4), "must hold finite"),
    "NaN": (momentum, changed("state", 1, "velocity", to=NAN), "velocity of parameter 1 must hold"),
    "infinity": (adam, changed("state", 1, "second", to=[np.inf] * 4), "second of parameter 1"),
    "one parameter more": (adam, lambda _: trained(Adam, (2, 3), (4,), (1,)).state_dict(), r"\(3,"),
    "a group more": (
        momentum, lambda state: {**state, "param_groups": state["param_groups"] * 2}, "not "
    ),
    "no group": (adam, changed("param_groups", to=[]), r"groups are \[\], not"),
    "an option missing": (adam, changed("param_groups", 0, "eps", to=...), "groups are"),
    "an option more": (adam, changed("param_groups", 0, "amsgrad", to=True), "are .*amsgrad"),
    "rate NaN": (adam, changed("param_groups", 0, "lr", to=math.nan), "lr must be a finite number"),
    "rate as text": (momentum, changed("param_groups", 0, "lr", to="0.1"), "lr must be a"),
    "momentum below 0": (momentum, changed("param_groups", 0, "momentum", to=-1), "momentum must"),
    "one beta": (adam, changed("param_groups", 0, "betas", to=[0.9]), "betas must be two numbers"),
    "no parameters": (adam, changed("param_groups", 0, "params", to=...), "params"),
    "members": (adam, changed("param_groups", 0, "params", to=2), "TypeError"),
    "an unknown parameter": (momentum, changed("state", 2, to={}), "KeyError.*2"),
    "a negative number": (momentum, changed("state", -1, to={}), "KeyError.*-1"),
    "half of it": (adam, changed("state", 1, "second", to=...), "expected step, first, second of"),
    "more than it keeps": (momentum, changed("state", 1, "third", to=1), "expected velocity of"),
    "steps below 1": (adam, changed("state", 1, "step", to=-3), "1: step must be an integer"),
    "half a step": (adam, changed("state", 1, "step", to=2.5), "1: step must be an integer"),
    "no state": (adam, changed("state", to=...), "KeyError.*state"),
    "a list": (adam, changed("state", to=[1]), "AttributeError"),
    "of a schedule": (adam, lambda _: {"iteration": 3}, "KeyError.*param_groups"),
    "nothing": (adam, lambda _: None, "TypeError"),
}  # fmt: skip


@pytest.mark.parametrize("make, change, said", STATES.values(), ids=STATES)
def test_states(make, change, said):
    optimizer = make()
    before = copy.deepcopy(optimizer.state_dict())
    state = change(copy.deepcopy(optimizer.state_dict()))
    with pytest.raises(ValueError, match=f"{type(optimizer).__name__}.load_state_dict: .*{said}"):
        optimizer.load_state_dict(state)
    np.testing.assert_equal(optimizer.state_dict(), before)
    optimizer.step()


def test_a_state_that_fits_is_taken_into_memory_of_its_own():
    ours, other = adam(), adam()
    saved = other.state_dict()
    saved["state"][0]["first"][...] = 7
    saved["param_groups"][0]["lr"] = 0.5
    ours.load_state_dict(saved)
    saved["state"][0]["first"][...] = 8
    assert (ours.state_dict()["state"][0]["first"] == 7).all()
    assert ours.param_groups[0]["lr"] == 0.5
    assert ours.param_groups[0]["params"][0].shape == (2, 3)


SCHEDULES = {
    "no optimizer": (lambda o: optim.ConstantLR([W]), TypeError, "ConstantLR: got .*list"),
    "a module": (lambda o: optim.CosineLR(LAYER, 3), TypeError, "CosineLR: got .*Linear"),
    "no schedule": (lambda o: optim.LinearWarmup(o, 3), TypeError, "LinearWarmup: got .*SGD"),
    "gamma NaN": (lambda o: optim.StepLR(o, 3, math.nan), ValueError, "StepLR: gamma must be"),
    "gamma as text": (lambda o: optim.StepLR(o, 3, "0.1"), ValueError, "StepLR: gamma must be"),
    "power below 0": (lambda o: optim.PolyLR(o, 3, -1), ValueError, "PolyLR: power must be"),
    "power NaN": (lambda o: optim.PolyLR(o, 3, math.nan), ValueError, "PolyLR: power must be"),
    "total NaN": (lambda o: optim.PolyLR(o, math.nan), ValueError, "PolyLR: total must be"),
    "total a float": (lambda o: optim.CosineLR(o, 3.5), ValueError, "CosineLR: total must be"),
    "total as text": (lambda o: optim.CosineLR(o, "3"), ValueError, "CosineLR: total must be"),
}


@pytest.mark.parametrize("make, error, said", SCHEDULES.values(), ids=SCHEDULES)
def test_schedules(make, error, said):
    optimizer = SGD([leaf(1)], lr=0.1)
    with pytest.raises(error, match=said):
        make(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1


SAVED = [
    {}, {"iteration": -1}, {"iteration": 2.5}, {"iteration": math.nan}, {"iteration": "3"},
    {"iteration": True}, {"iteration": None}, {"last_epoch": 3}, {"iteration": 3, "total": 9},
]  # fmt: skip


@pytest.mark.parametrize("saved", SAVED, ids=str)
def test_states_of_schedules(saved):
    schedule = optim.StepLR(SGD([leaf(1)], lr=0.1), 2)
    with pytest.raises(ValueError, match="expected nothing but an iteration"):
        schedule.load_state_dict(saved)
    assert (schedule.iteration, schedule.get_last_lr()) == (0, [0.1])

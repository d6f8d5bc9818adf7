import math

import pytest

import tinyfcn
from tinyfcn.optim import SGD, ConstantLR, CosineLR, LinearWarmup, PolyLR, StepLR


def optimizer_with_two_groups():
    return SGD(
        [{"params": [tinyfcn.tensor([1.0])]}, {"params": [tinyfcn.tensor([1.0])], "lr": 0.2}],
        lr=0.1,
    )


def rates(schedule, steps):
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr())
        schedule.step()
    return found


SCHEDULES = {
    "constant": (ConstantLR, lambda t: 1.0),
    "step": (lambda o: StepLR(o, 3, 0.5), lambda t: [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25][t]),
    "poly": (lambda o: PolyLR(o, 6), lambda t: max(0, 1 - t / 6) ** 0.9),
    "poly_square": (lambda o: PolyLR(o, 6, power=2), lambda t: max(0, 6 - t) ** 2 / 36),
    "cosine": (lambda o: CosineLR(o, 4), lambda t: math.cos(math.pi * min(t, 4) / 8) ** 2),
    "warm-up": (
        lambda o: LinearWarmup(PolyLR(o, 6, 1), 3),
        lambda t: [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1][t] * max(0, 1 - t / 6),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_group_keeps_its_proportion(name):
    make, factor = SCHEDULES[name]
    found = rates(make(optimizer_with_two_groups()), 8)
    for t, (first, second) in enumerate(found):
        assert first == pytest.approx(0.1 * factor(t), abs=1e-12)
        assert second == pytest.approx(0.2 * factor(t), abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_resumed_schedule_goes_on(name):
    make, _ = SCHEDULES[name]
    optimizer = optimizer_with_two_groups()
    schedule = make(optimizer)
    rates(schedule, 3)
    saved = optimizer.state_dict(), schedule.state_dict()
    expected = rates(schedule, 4)

    other = optimizer_with_two_groups()
    other.param_groups[0]["lr"] = 7.0  # what was saved counts, not what the new run was given
    resumed = make(other)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert rates(resumed, 4) == expected


def test_schedule_alone_restores_the_rate():
    schedule = StepLR(optimizer_with_two_groups(), 3, 0.5)
    schedule.load_state_dict({"iteration": 4})
    assert schedule.get_last_lr() == [0.05, 0.1]


def test_a_second_schedule_starts_from_the_same_initial_rate():
    optimizer = optimizer_with_two_groups()
    rates(PolyLR(optimizer, 10), 5)
    assert ConstantLR(optimizer).get_last_lr() == [0.1, 0.2]


def test_errors():
    optimizer = optimizer_with_two_groups()
    with pytest.raises(
        ValueError, match="StepLR: step_size must be an integer of at least 1, got 0"
    ):
        StepLR(optimizer, 0)
    with pytest.raises(ValueError, match="PolyLR: total must be an integer of at least 1, got -3"):
        PolyLR(optimizer, -3)
    with pytest.raises(ValueError, match=r"LinearWarmup: iterations must be .*got 1\.5"):
        LinearWarmup(ConstantLR(optimizer), 1.5)

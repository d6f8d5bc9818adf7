import numpy as np

from tinyfcn import nn
from tinyfcn.optim import SGD, parameter_groups


class Scale(nn.Module):
    """A layer with a bias alone, and a matrix called otherwise."""

    def __init__(self):
        self.bias = nn.Parameter(np.zeros(3, np.float32))
        self.gain = nn.Parameter(np.zeros((3, 3), np.float32))


def test_groups_of_the_paper():
    conv, norm, linear, scale = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2), Scale()
    upscore = nn.ConvTranspose2d(2, 2, 4)
    upscore.weight.requires_grad = False  # fixed bilinear interpolation
    model = nn.Sequential(conv, norm, linear, scale, upscore)
    weights, biases, vectors = parameter_groups(model, lr=0.5, weight_decay=0.1)

    def same(group, *parameters):
        return [id(p) for p in group["params"]] == [id(p) for p in parameters]

    assert same(weights, conv.weight, linear.weight, scale.gain)
    assert same(biases, conv.bias, linear.bias, upscore.bias)
    assert same(vectors, norm.weight, norm.bias, scale.bias)
    assert (weights["lr"], weights["weight_decay"]) == (0.5, 0.1)
    assert (biases["lr"], biases["weight_decay"]) == (1.0, 0.0)
    assert (vectors["lr"], vectors["weight_decay"]) == (0.5, 0.0)
    assert len(SGD([weights, biases, vectors]).param_groups) == 3


def test_empty_groups_are_left_out():
    (only,) = parameter_groups(nn.Linear(2, 3, bias=False), lr=1.0)
    assert len(only["params"]) == 1

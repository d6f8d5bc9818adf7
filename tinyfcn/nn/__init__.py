"""Layers with parameters of their own, under PyTorch's names and arguments."""

from tinyfcn.nn import init
from tinyfcn.nn.activation import (
    ELU,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from tinyfcn.nn.container import ModuleList, Sequential
from tinyfcn.nn.conv import Conv2d, ConvTranspose2d, Linear
from tinyfcn.nn.dropout import Dropout, Dropout2d
from tinyfcn.nn.loss import CrossEntropyLoss, NLLLoss
from tinyfcn.nn.module import Buffer, Module, Parameter, count_parameters
from tinyfcn.nn.normalization import BatchNorm2d, LocalResponseNorm
from tinyfcn.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, MaxUnpool2d
from tinyfcn.nn.recompute import recompute
from tinyfcn.nn.shape import Flatten, Identity, Upsample, ZeroPad2d

__all__ = [
    "ELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool2d",
    "MaxUnpool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Upsample",
    "ZeroPad2d",
    "count_parameters",
    "init",
    "recompute",
]

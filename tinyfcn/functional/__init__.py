"""The ops that users call, under PyTorch's names; usually ``import tinyfcn.functional as F``."""

from tinyfcn.functional.activation import (
    elu,
    leaky_relu,
    log_softmax,
    prelu,
    relu,
    sigmoid,
    softmax,
)
from tinyfcn.functional.arithmetic import add, div, exp, log, matmul, mul, neg, pow, sqrt, sub, tanh
from tinyfcn.functional.conv import conv2d, conv_transpose2d
from tinyfcn.functional.dropout import dropout, dropout2d
from tinyfcn.functional.linear import linear
from tinyfcn.functional.loss import cross_entropy, nll_loss
from tinyfcn.functional.normalization import batch_norm, local_response_norm
from tinyfcn.functional.padding import crop, pad
from tinyfcn.functional.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from tinyfcn.functional.reduction import amax, mean, sum
from tinyfcn.functional.shape import cat, flatten, getitem, permute, reshape, transpose
from tinyfcn.functional.unpooling import max_unpool2d, unpool_bed_of_nails, unpool_nearest
from tinyfcn.functional.upsampling import interpolate

__all__ = [
    "adaptive_avg_pool2d",
    "add",
    "amax",
    "avg_pool2d",
    "batch_norm",
    "cat",
    "conv2d",
    "conv_transpose2d",
    "crop",
    "cross_entropy",
    "div",
    "dropout",
    "dropout2d",
    "elu",
    "exp",
    "flatten",
    "getitem",
    "interpolate",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log",
    "log_softmax",
    "matmul",
    "max_pool2d",
    "max_unpool2d",
    "mean",
    "mul",
    "neg",
    "nll_loss",
    "pad",
    "permute",
    "pow",
    "prelu",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "unpool_bed_of_nails",
    "unpool_nearest",
]

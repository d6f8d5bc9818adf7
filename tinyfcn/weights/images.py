"""The preprocessing that belongs to other people's weights, as far as names of layers tell it.

No file of Caffe or PyTorch says it, and weights work with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinyfcn.data.preprocessing import CAFFE, TORCHVISION, Preprocessing

CAFFE_VGG = Preprocessing("BGR", 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
"""The VGG classifiers' own mean; the published FCNs use that of CaffeNet instead."""
CAFFE_GOOGLENET = Preprocessing("BGR", 1.0, (104.0, 117.0, 123.0), (1.0, 1.0, 1.0))
CAFFE_SEGNET = Preprocessing("BGR", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

TORCHVISION_GOOGLENET = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""torchvision's GoogLeNet: RGB, -1..1.

There the network itself (``transform_input``, set for the published weights) turns images prepared
as for all others, y = (x - mean) / std, into y · std / 0.5 + (mean - 0.5) / 0.5 = (x - 0.5) / 0.5.
"""


def caffe(names: Iterable[str]) -> Preprocessing:
    """For Caffe's names of arrays: VGG's, the published FCNs', GoogLeNet's, SegNet's (no mean),
    else CaffeNet's.

    Example:
        >>> caffe(["conv1_1.weight", "fc8.weight"]) == CAFFE_VGG
        True
    """
    layers = _layers(names)
    if any(layer.endswith("_D") for layer in layers):
        return CAFFE_SEGNET
    if any(layer.startswith("inception_") for layer in layers):
        return CAFFE_GOOGLENET
    if "conv1_1" in layers and not any(layer.startswith("score") for layer in layers):
        return CAFFE_VGG
    return CAFFE


def pytorch(names: Iterable[str]) -> Preprocessing:
    """For PyTorch's files: torchvision's, unless the layers have the names of its GoogLeNet, or
    those of VGG in Caffe, as in weights that were converted.

    A GoogLeNet trained with ``transform_input=False`` has the same names as the published one.

    Example:
        >>> pytorch(["features.0.weight", "features.0.bias"]) == TORCHVISION
        True
        >>> pytorch(["conv1_1.weight", "score_fr.weight"]) == CAFFE
        True
    """
    names = set(names)
    if "conv1_1" in _layers(names):
        return caffe(names)
    if any(name.endswith("inception3a.branch1.conv.weight") for name in names):
        return TORCHVISION_GOOGLENET
    return TORCHVISION


def _layers(names: Iterable[str]) -> set[str]:
    """``conv1_1`` for ``conv1_1.weight`` and ``model.conv1_1.weight``."""
    return {name.rpartition(".")[0].rpartition(".")[2] for name in names}

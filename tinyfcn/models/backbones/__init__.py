"""Trunks: the convolutional parts of classifiers, which segmentation networks build on."""

from tinyfcn.models.backbones.alexnet import AlexNetTrunk, CaffeNetTrunk
from tinyfcn.models.backbones.googlenet import GoogLeNetTrunk
from tinyfcn.models.backbones.resnet import ResNetTrunk
from tinyfcn.models.backbones.trunk import Trunk
from tinyfcn.models.backbones.vgg import VGG16Trunk, VGGTrunk

__all__ = [
    "AlexNetTrunk",
    "CaffeNetTrunk",
    "GoogLeNetTrunk",
    "ResNetTrunk",
    "Trunk",
    "VGG16Trunk",
    "VGGTrunk",
]

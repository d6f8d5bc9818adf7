"""Trunks: the convolutional parts of classifiers, which segmentation networks build on."""

from tinyfcn.models.backbones.vgg import VGG16Trunk

__all__ = ["VGG16Trunk"]

"""Backbones: the convolutional parts of classifiers, which segmentation networks build on."""

"""From images to network input, against the formula."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tinyfcn.data import CAFFE, TORCHVISION, Preprocessing

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_torchvision_numbers():
    out = TORCHVISION.apply(IMAGE)
    assert out.shape == (3, 5, 7) and out.dtype == np.float32
    for channel, (mean, std) in enumerate(
        zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    ):
        exact = (IMAGE[..., channel] / 255 - mean) / std
        np.testing.assert_allclose(out[channel], exact, atol=1e-6)


def test_caffe_numbers():
    out = CAFFE.apply(IMAGE)
    for channel, mean in enumerate((104.00699, 116.66877, 122.67892)):
        np.testing.assert_allclose(out[channel], IMAGE[..., 2 - channel] - mean, atol=1e-5)


def test_memory_is_channels_last():
    assert TORCHVISION.apply(IMAGE).transpose(1, 2, 0).flags.c_contiguous


def test_a_view_gives_what_its_copy_gives():
    flipped = IMAGE[:, ::-1]
    np.testing.assert_array_equal(TORCHVISION.apply(flipped), TORCHVISION.apply(flipped.copy()))


def test_the_size_is_said_and_left_to_the_caller():
    small, both = replace(TORCHVISION, resize=(3,)), replace(CAFFE, resize=[480, 640])
    assert both.resize == (480, 640)
    assert str(small) == f"{TORCHVISION}, resized to 3"
    assert str(both) == f"{CAFFE}, resized to 480 x 640"
    np.testing.assert_array_equal(small.apply(IMAGE), TORCHVISION.apply(IMAGE))


@pytest.mark.parametrize("preprocessing", [TORCHVISION, CAFFE, replace(CAFFE, resize=(9, 7))])
def test_json_gives_an_equal_one(preprocessing):
    text = json.dumps(preprocessing.to_dict())
    assert Preprocessing(**json.loads(text)) == preprocessing


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channel_order": "rgb"}, "'RGB' or 'BGR', got 'rgb'"),
        ({"mean": (1, np.nan, 2)}, "mean must be numbers, one a channel"),
        ({"mean": (1, 2)}, "std must be positive numbers, one a channel"),
        ({"std": (1, 0, 1)}, "std must be positive numbers, one a channel"),
        ({"mean": (), "std": ()}, "one a channel"),
        ({"range": (7, 7)}, "range must be two numbers, low first"),
        ({"scale": 0}, "scale must be positive"),
        ({"resize": [-1]}, r"Resize: size must be a longest side, or height and width, .*-1"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Preprocessing(**arguments)


def test_wrong_images_are_named():
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\), got float32"):
        TORCHVISION.apply(IMAGE.astype(np.float32))

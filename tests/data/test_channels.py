"""Grey images, four bands, 16 bits: read as they are, or refused in a sentence; and augmented."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinyfcn.data import (
    TORCHVISION,
    ColourJitter,
    Compose,
    DataError,
    DataLoader,
    Preprocessing,
    RandomBlur,
    RandomCrop,
    RandomNoise,
    RandomScale,
    RandomWarp,
    Sample,
    read_image,
)  # fmt: skip
from tinyfcn.data.conventions import as_seen

RNG = np.random.default_rng(0)
SIZE = (10, 14)
DEEP = (0, 65535)


def png(values: np.ndarray, exif: bytes = b"") -> bytes:
    """A PNG of 16 bits, (H, W, C), as its specification has it."""
    height, width, bands = values.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[bands - 1], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = chunk(b"IHDR", header) + chunk(b"eXIf", exif) * bool(exif)
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def tiff(
    values: np.ndarray, packed: bool = False, extra: int = 0, order: str = "<", grey: bool = False
) -> bytes:
    """A TIFF of one strip, (H, W, C); ``extra`` is what it says of bands beside RGB, or grey."""
    height, width, bands = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if packed else data
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = {256: [width], 257: [height], 258: [values.itemsize * 8] * bands,
            259: [8 if packed else 1], 262: [1 if bands < 3 or grey else 2], 273: [500],
            277: [bands], 278: [height], 279: [len(data)], 339: [kind] * bands}  # fmt: skip
    more = bands - (1 if tags[262] == [1] else 3)
    tags |= {338: [extra] * more} if more else {}
    entries, after = b"", b""
    for tag, numbers in sorted(tags.items()):
        packed_numbers = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(packed_numbers) > 4:
            place = 14 + 12 * len(tags) + len(after)
            after += packed_numbers
            packed_numbers = struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, 3, len(numbers)) + packed_numbers.ljust(4, b"\0")
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    return (start + entries + bytes(4) + after).ljust(500, b"\0") + data


def values(bands: int, dtype: Any = np.uint16, most: int = 65536) -> np.ndarray:
    return RNG.integers(0, most, (*SIZE, bands)).astype(dtype)


def written(folder: Path, data: bytes) -> Path:
    (folder / "a").write_bytes(data)
    return folder / "a"


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize(
    "form", ["PNG", "TIFF", "packed TIFF", "big endian", "alpha", "called grey", "premultiplied"]
)
def test_sixteen_bits_keep_their_depth(tmp_path: Path, bands: int, form: str) -> None:
    array = values(bands)
    more: dict[str, Any] = {"packed TIFF": {"packed": True}, "big endian": {"order": ">"},
            "alpha": {"extra": 2}, "called grey": {"grey": True},
            "premultiplied": {"extra": 1, "packed": True}}  # fmt: skip
    path = written(tmp_path, png(array) if form == "PNG" else tiff(array, **more.get(form, {})))
    read = read_image(path, channels=bands, range=DEEP)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(np.rint(read / 255 * 65535), array)
    np.testing.assert_allclose(read, array / 257, rtol=1e-6)


def test_sixteen_bits_are_turned_too(tmp_path: Path) -> None:
    array, exif = values(3), Image.Exif()
    exif[0x0112] = 6
    path = written(tmp_path, png(array, exif.tobytes()[6:]))
    read = [read_image(path, upright, range=DEEP) for upright in (False, True)]
    np.testing.assert_array_equal(np.rint(read[0] * 257), array)
    np.testing.assert_array_equal(read[1], np.rot90(read[0], -1))


@pytest.mark.parametrize("bands", [2, 4])
@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_bands_of_a_byte_are_read_as_they_are(
    tmp_path: Path, bands: int, extra: int, packed: bool
) -> None:
    array = values(bands, np.uint8, 256)
    path = written(tmp_path, tiff(array, packed, extra))
    np.testing.assert_array_equal(read_image(path, channels=bands), array)
    with pytest.raises(
        DataError, match=rf"a: expected an opaque .* or train with channels={bands}"
    ):
        read_image(path)
    array[..., -1] = 255
    path = written(tmp_path, tiff(array, packed, extra))
    np.testing.assert_array_equal(
        read_image(path), array[..., :3] if bands == 4 else array[..., :1].repeat(3, 2)
    )


def test_grey_and_colours_in_one_set(tmp_path: Path) -> None:
    rgb = values(3, np.uint8, 256)
    for mode in ("L", "RGB", "P", "CMYK"):
        image = Image.fromarray(rgb).convert(mode)
        image.save(tmp_path / "a.tif")
        expected = np.asarray(image.convert("RGB").convert("L"), int)
        read = read_image(tmp_path / "a.tif", channels=1)
        assert read.shape == (*SIZE, 1) and read.dtype == np.uint8
        assert abs(read[..., 0].astype(int) - expected).max() <= (mode != "L")
    grey = written(tmp_path, png(values(1, most=4096)))
    both = [read_image(grey, channels=n, range=(0, 4095)) for n in (1, 3)]
    np.testing.assert_array_equal(both[0].repeat(3, 2), both[1])


def test_signed_and_float_and_what_lies_beyond(tmp_path: Path) -> None:
    array = RNG.normal(0, 1000, (*SIZE, 1))
    for dtype in (np.int16, np.float32):
        path = written(tmp_path, tiff(array.astype(dtype)))
        read = read_image(path, channels=1, range=(-500, 500))
        expected = (np.clip(array.astype(dtype), -500, 500) + 500) / 1000 * 255
        np.testing.assert_allclose(read, expected, atol=1e-3)
    with pytest.raises(
        DataError, match=r"values from -\d+\.?\d* to \d+\.?\d*; .* range=-\d+\.?\d*,4095"
    ):
        read_image(path, channels=1)
    path = written(tmp_path, tiff(np.where(array > 0, np.nan, array).astype(np.float32)))
    with pytest.raises(DataError, match="a: expected values from 0 to 1, got float32 from nan"):
        read_image(path, channels=1, range=(0, 1))


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    rgb = values(3, np.uint8, 256)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    for channels, more, words in (
        (4, {}, "expected an image of 4 channels, got 3; convert it, or train with channels=3"),
        (2, {}, "expected an image of 2 channels, got 3"),
        (3, {"range": (0, 4095)}, "expected values from 0 to 4095, got uint8 from"),
    ):
        with pytest.raises(DataError, match=f"a.png: {words}"):
            read_image(tmp_path / "a.png", channels=channels, **more)
    with pytest.raises(DataError, match="expected an image of 4 channels, got 2; convert it"):
        read_image(np.full((3, 3, 2), 255, np.uint8), channels=4)
    read = read_image(tmp_path / "a.png", range=(50, 150))
    np.testing.assert_allclose(read, np.clip((rgb - 50.0) * 2.55, 0, 255), atol=1e-3)
    for most, usual in ((200, 255), (900, 4095), (4095, 4095), (4096, 65535)):
        with pytest.raises(DataError, match=f"from 7 to {most}; .*range=0,{usual}$"):
            read_image(np.array([[7, most]], np.uint16), channels=1)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_preprocessing_of_other_channels(channels: int) -> None:
    own = replace(TORCHVISION.for_channels(channels), range=(0, 4095))
    assert own.channels == channels and own.for_channels(channels) is own
    array = values(channels, most=4096)
    expected = (array / 4095 - 0.449) / 0.226
    image = own.read(array)
    np.testing.assert_allclose(own.apply(image), expected.transpose(2, 0, 1), atol=1e-5)
    assert own.for_channels(3).channels == 3 and Preprocessing(**own.to_dict()) == own
    with pytest.raises(ValueError, match=rf"float32 \(H, W, {channels}\), got uint8"):
        own.apply(np.zeros((3, 3, channels), np.uint8))
    seen = as_seen(image)
    assert seen.dtype == np.uint8 and seen.shape == (*SIZE, 3)
    np.testing.assert_array_equal(seen[..., 0], np.rint(image[..., 0]))


WAYS = Compose(
    RandomScale(), RandomWarp(20, 3, 30), RandomCrop(34), ColourJitter(), RandomBlur(2),
    RandomNoise(0.1),
)  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_augmentation_treats_channels_alike(channels: int, dtype: Any) -> None:
    """Those of one image that are equal stay so; floats become what bytes do, but for rounding."""
    grey = np.asarray(Image.fromarray(values(1, np.uint8, 256)[..., 0]).resize((60, 50)))
    mask = (grey > 128).astype(np.uint8)
    ways = (
        replace(ColourJitter(), saturation=0),
        RandomScale(),
        RandomWarp(20, 3, 30),
        RandomBlur(2),
    )

    def augmented(count: int, dtype: Any) -> Sample:
        image = grey[..., None].repeat(count, 2).astype(dtype)
        return Compose(*ways)(Sample("a", image, mask), np.random.default_rng(1))

    got, plain = augmented(channels, dtype), augmented(3, np.uint8)
    assert got.image.shape == (30, 30, channels) and got.image.dtype == dtype
    np.testing.assert_array_equal(got.mask, plain.mask)
    inside = got.mask != 255
    for channel in range(channels):
        apart = got.image[..., channel].astype(float) - plain.image[..., 0]
        assert abs(apart[inside]).max() <= 2
    sample = Sample("a", got.image, got.mask)
    again = [WAYS(sample, np.random.default_rng(seed)) for seed in range(3)]
    assert {one.image.shape for one in again} == {(34, 34, channels)}
    assert {one.image.dtype for one in again} == {np.dtype(dtype)}
    own = replace(TORCHVISION.for_channels(channels), range=DEEP if dtype == np.float32 else ())
    batch = next(iter(DataLoader(again, 3, preprocessing=own, workers=0)))
    assert batch.images.shape == (3, channels, 34, 34) and np.isfinite(batch.images).all()


def test_alpha_is_a_channel_like_others() -> None:
    """Where it is 0, the other channels are not lost, as in Pillow's own resizing."""
    image = values(4, np.uint8, 256)
    image[..., 3] = 0
    sample = Sample("a", image, np.zeros(SIZE, np.uint8))
    got = RandomScale(2, 2)(sample, np.random.default_rng(0)).image
    plain = RandomScale(2, 2)(
        sample._replace(image=image[..., :3].copy()), np.random.default_rng(0)
    )
    np.testing.assert_array_equal(got[..., :3], plain.image)

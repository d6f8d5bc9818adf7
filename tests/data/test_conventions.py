"""Images and masks as they are read and written, and the checker of both."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tinyfcn.data import (
    DataError,
    check_sample,
    index_to_rgb,
    read_image,
    read_mask,
    voc_palette,
    write_mask,
)
from tinyfcn.data.conventions import borders, check_classes

INDICES = np.arange(24, dtype=np.uint8).reshape(4, 6) % 21
INDICES[1, 1] = 255


# Images.


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P", "LA", "1"])
def test_an_image_of_any_mode_becomes_rgb(tmp_path, mode):
    colour = Image.new("RGB", (6, 4), (255, 255, 255))
    colour.paste((0, 0, 0), (0, 0, 3, 4))
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    colour.convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.asarray(colour))


def test_a_palette_image_with_transparency_becomes_rgb(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "image.png", transparency=bytes([0, 128]))
    assert read_image(tmp_path / "image.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_a_16_bit_image_is_rejected(tmp_path):
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep.png: expected 8 bits a channel, .*range=0,65535"):
        read_image(tmp_path / "deep.png")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.jpg: .* an image should lie there"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(FileNotFoundError, match=r"absent.png: .* a mask should lie there"):
        read_mask(tmp_path / "absent.png")
    with pytest.raises(DataError, match=r"not an image at all .*Is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.98])
def test_a_truncated_jpeg_is_rejected(tmp_path, kept):
    path = tmp_path / "cut.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match=r"cut.jpg: "):
        read_image(path)


def test_a_truncated_or_foreign_mask_is_rejected(tmp_path):
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 21, (64, 64), dtype=np.uint8)
    write_mask(path, noise)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut.png: damaged, truncated or not a mask"):
        read_mask(path)
    path.write_text("not an image")
    with pytest.raises(DataError, match=r"cut.png: damaged, truncated or not a mask at all"):
        read_mask(path)


def _photo_on_its_side(path):
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6).repeat(3).reshape(4, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees to see it upright
    image.save(path, exif=exif)
    return image


def test_exif_orientation_is_applied_only_when_asked(tmp_path):
    path = tmp_path / "photo.png"
    stored = np.asarray(_photo_on_its_side(path))
    np.testing.assert_array_equal(read_image(path), stored)
    np.testing.assert_array_equal(read_image(path, upright=True), np.rot90(stored, -1))


def test_a_mask_drawn_on_the_upright_photo_is_explained(tmp_path):
    path = tmp_path / "photo.png"
    _photo_on_its_side(path)
    with pytest.raises(DataError, match="EXIF orientation"):
        check_sample(read_image(path), np.zeros((6, 4), np.uint8), 2, path, "mask.png")


# Masks.


def test_a_palette_mask_keeps_its_indices(tmp_path):
    write_mask(tmp_path / "mask.png", INDICES)
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), index_to_rgb(INDICES))
    mask = read_mask(tmp_path / "mask.png")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, INDICES)


def test_a_grey_mask_is_indices(tmp_path):
    Image.fromarray(INDICES).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), INDICES)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("kind", ["grey", "palette"])
def test_a_mask_of_few_bits_is_indices(tmp_path, bits, kind):
    """Written byte by byte, since Pillow cannot write grey PNGs of 2 and 4 bits."""
    indices = np.arange(8) % 2**bits
    packed = np.packbits(((indices[:, None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8))

    def chunk(name, data):
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 8, 1, bits, 0 if kind == "grey" else 3, 0, 0, 0)
    palette = b"" if kind == "grey" else chunk(b"PLTE", voc_palette(2**bits).tobytes())
    (tmp_path / "mask.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette
        + chunk(b"IDAT", zlib.compress(b"\0" + packed.tobytes())) + chunk(b"IEND", b"")
    )  # fmt: skip
    assert read_mask(tmp_path / "mask.png").tolist() == [indices.tolist()]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_mask_in_colours_is_mapped_through_the_palette(tmp_path, mode):
    Image.fromarray(index_to_rgb(INDICES)).convert(mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), INDICES)


def test_what_a_gif_shows_is_its_mask(tmp_path):
    """Its values are places in a palette that Pillow orders anew: 2 becomes 1 where no 1 is."""
    for mask in (INDICES, np.where(INDICES == 1, 2, 0), np.where(INDICES == 1, 255, 0)):
        grey, colours = Image.fromarray(mask.astype(np.uint8)), index_to_rgb(mask)
        for image in (grey, Image.fromarray(colours).quantize(256, dither=Image.Dither.NONE)):
            image.save(tmp_path / "mask.gif")
            np.testing.assert_array_equal(read_mask(tmp_path / "mask.gif"), mask)
    grey.save(tmp_path / "mask.gif", save_all=True, append_images=[Image.new("L", (6, 4))])
    with pytest.raises(DataError, match="expected one image, got several pages or frames"):
        read_mask(tmp_path / "mask.gif")


def test_a_mask_in_unknown_colours_is_rejected(tmp_path):
    rgb = index_to_rgb(INDICES)
    rgb[2, 3] += 1
    Image.fromarray(rgb).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"mask.png: .*colour RGB .* at row 2, column 3"):
        read_mask(tmp_path / "mask.png")


def test_a_16_bit_mask_is_read_if_it_fits(tmp_path):
    Image.fromarray(INDICES.astype(np.uint16)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), INDICES)
    white = INDICES % 2 == 1
    Image.fromarray(white.astype(np.uint16) * np.uint16(65535)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), white * 255)
    Image.fromarray(INDICES.astype(np.uint16) + 300).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"mode 'I;16' with values from 300 to 555"):
        read_mask(tmp_path / "mask.png")


def test_a_lossy_mask_is_rejected(tmp_path):
    Image.fromarray(INDICES).save(tmp_path / "mask.jpg")
    with pytest.raises(DataError, match=r"mask.jpg: expected a PNG mask"):
        read_mask(tmp_path / "mask.jpg")


def test_write_mask_rejects_what_a_byte_cannot_hold(tmp_path):
    for wrong in (np.array([[256]]), np.array([[-1]]), np.zeros((2, 2, 3), np.uint8)):
        with pytest.raises(ValueError, match="write_mask"):
            write_mask(tmp_path / "mask.png", wrong)
    assert not list(tmp_path.iterdir())


def test_borders_are_two_pixels_wide():
    mask = np.zeros((6, 7), np.uint8)
    mask[2:5, 3:] = 1
    assert ["".join(".#"[pixel] for pixel in row) for row in borders(mask).astype(int)] == [
        ".......",
        "...####",
        "..#####",
        "..##...",
        "..#####",
        "...####",
    ]


# The checker.


def test_a_good_sample_passes_and_void_is_no_class():
    image = np.zeros((4, 6, 3), np.uint8)
    check_sample(image, INDICES, 21)
    check_sample(image, np.full((4, 6), 255, np.uint8), 1)


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        (np.zeros((4, 6, 3), np.float64), INDICES, r"a.jpg: expected .* got float64 \(4, 6, 3\)"),
        (np.zeros((4, 6), np.uint8), INDICES, r"a.jpg: expected .* got uint8 \(4, 6\)"),
        (np.zeros((4, 6, 3), np.uint8), INDICES.astype(int), "a.png: expected .* got int64"),
        (
            np.zeros((4, 5, 3), np.uint8), INDICES,
            "a.png: expected the size of a.jpg, 4 high by 5 wide, got 4 high by 6 wide",
        ),
    ],
)  # fmt: skip
def test_a_wrong_sample_is_rejected(image, mask, words):
    with pytest.raises(DataError, match=words):
        check_sample(image, mask, 21, "a.jpg", "a.png")


def test_labels_outside_the_classes_are_listed():
    with pytest.raises(DataError, match=r"in \[0, 18\) .* got 18, 19, 20 \(first at row 3, col"):
        check_sample(np.zeros((4, 6, 3), np.uint8), INDICES, 18)


@pytest.mark.parametrize("classes", [(), ("a", "a"), ("a", ""), tuple(map(str, range(256)))])
def test_wrong_class_names_are_rejected(classes):
    with pytest.raises(DataError, match="class"):
        check_classes(classes)

"""Image files that anybody may have made: read right, or refused with what was found."""

from __future__ import annotations

import io
import os
import resource
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyfcn.backend.setting import SettingError
from tinyfcn.data import DataError, VOCSegmentation, read_image, read_mask, write_mask

RGB = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
LABELS = np.arange(36, dtype=np.uint8).reshape(6, 6) % 21


def chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png(width, height, depth, colour, data, extra=b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


def tiff(data: bytes, **more: int | tuple[int, ...]) -> bytes:
    """A TIFF of one strip; ``more`` are tags, t258=(16, 16, 16) say."""
    tags = {256: 6, 257: 6, 258: 8, 259: 1, 262: 1, 273: 4096, 277: 1, 278: 6, 279: len(data)}
    tags |= {int(name[1:]): value for name, value in more.items()}
    entries, after = b"", b""
    for tag, value in sorted(tags.items()):
        if isinstance(value, tuple) and len(value) > 2:
            place = 8 + 2 + 12 * len(tags) + 4 + len(after)
            entries += struct.pack("<HHII", tag, 3, len(value), place)
            after += struct.pack(f"<{len(value)}H", *value)
        elif isinstance(value, tuple):
            packed = struct.pack(f"<{len(value)}H", *value).ljust(4, b"\0")
            entries += struct.pack("<HHI", tag, 3, len(value)) + packed
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + after
    return start.ljust(4096, b"\0") + data


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pages(kind: str, **options) -> bytes:
    more = [Image.fromarray(255 - RGB)]
    return saved(Image.fromarray(RGB), kind, save_all=True, append_images=more, **options)


def turned(orientation, kind="PNG", size=(6, 6), **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(RGB).resize(size), kind, exif=exif, **options)


def with_alpha(mode: str, least: int) -> Image.Image:
    image = Image.fromarray(RGB).convert(mode)
    image.putalpha(Image.fromarray(np.arange(least, least + 36, dtype=np.uint8).reshape(6, 6)))
    return image


SIXTEEN = np.full((6, 6, 3), 0x0304, ">u2")
SQUARE = [1, 2, 3, 4]


# Formats, and what is no file.


@pytest.mark.parametrize("kind", ["EPS", "PPM", "ICO", "PDF", "TGA", "SGI", "JPEG2000"])
def test_only_the_formats_that_are_listed(tmp_path, kind):
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(Image.fromarray(RGB), kind))
    for read in (read_image, read_mask):
        with pytest.raises(
            DataError, match=r"photo.jpg: .* \(expected JPEG, PNG, BMP, TIFF, WebP or GIF\)"
        ):
            read(path)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
     ("WEBP", {"lossless": True})],
)  # fmt: skip
def test_the_formats_that_are_listed_whatever_the_name_ends_with(tmp_path, kind, options):
    (tmp_path / "photo.jpg").write_bytes(saved(Image.fromarray(RGB), kind, **options))
    np.testing.assert_array_equal(read_image(tmp_path / "photo.jpg"), RGB)
    (tmp_path / "link").symlink_to("photo.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "link"), RGB)


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


NO_FILES = {
    "a pipe": os.mkfifo,
    "a socket": listen,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": os.mkdir,
}


@pytest.mark.parametrize("what", NO_FILES)
@pytest.mark.parametrize("name", ["image", "mask", "list", "classes"])
def test_what_is_no_file_is_not_waited_for(tree, monkeypatch, what, name):
    monkeypatch.chdir(tree.root)
    path = {
        "image": tree.image("scene_2"),
        "mask": tree.mask("scene_2"),
        "list": tree.root / "ImageSets/Segmentation/train.txt",
        "classes": tree.root / "classes.txt",
    }[name]
    path.unlink(missing_ok=True)
    NO_FILES[what](path)
    with pytest.raises((DataError, OSError), match=r"pipe, socket or device|Is a directory"):
        VOCSegmentation(tree.root)[2]


# Bounds.


BOMBS = {
    "PNG": png(9000, 9000, 8, 2, bytes(1000)),
    "grey PNG": png(2**31 - 1, 2**31 - 1, 1, 0, b""),
    "TIFF": tiff(b"", t256=100_000, t257=1000),
    "tile of a TIFF": tiff(b"", t322=60_000, t323=60_000, t324=4096, t325=1, t259=8),
    "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, 9000, 9000, 1, 24, *6 * [0]),
    "WebP": saved(Image.new("RGB", (9000, 9000)), "WEBP", lossless=True, quality=0, method=0),
    "lossy WebP": saved(Image.new("RGB", (1, 1)), "WEBP").replace(
        b"\x9d\x01\x2a\1\0\1\0", b"\x9d\x01\x2a" + struct.pack("<HH", 9000, 9000)
    ),
    "WebP with EXIF": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x08\0\0\0" + 2 * b"\xff\xff\0",
    "JPEG": saved(Image.new("L", (1, 1)), "JPEG").replace(
        b"\xff\xc0\0\x0b\x08\0\1\0\1", b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 9000, 9000)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_pixels_are_counted_before_they_are_decoded(tmp_path, kind, read):
    (tmp_path / "bomb").write_bytes(BOMBS[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"[0-9,]{10,} pixels .*50,000,000 .*TINYFCN_MAX_PIXELS"):
        read(tmp_path / "bomb")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_the_bound_can_be_moved(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(RGB), "PNG"))
    monkeypatch.setenv("TINYFCN_MAX_PIXELS", "36")
    read_image(tmp_path / "a.png")
    monkeypatch.setenv("TINYFCN_MAX_PIXELS", "35")
    with pytest.raises(DataError, match=r"a.png: 36 pixels \(6 x 6\), more than the 35 that are"):
        read_image(tmp_path / "a.png")
    for wrong in ("0", "-5", "1e9", "", "many"):
        monkeypatch.setenv("TINYFCN_MAX_PIXELS", wrong)
        with pytest.raises(SettingError, match="TINYFCN_MAX_PIXELS must be an integer from 1"):
            read_image(tmp_path / "a.png")


def test_a_higher_bound_is_pillows_too(tmp_path):
    data = saved(Image.new("1", (90_000, 1000)), "TIFF", compression="tiff_deflate")
    (tmp_path / "long.tif").write_bytes(data)
    code = "import sys, tinyfcn.data as d; print(d.read_mask(sys.argv[1]).shape)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "long.tif")],
        env={**os.environ, "TINYFCN_MAX_PIXELS": "90000000", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "(1000, 90000)\n", done.stderr


def test_scans_are_counted(tmp_path):
    whole = saved(Image.new("L", (5000, 5000)), "JPEG", progressive=True)
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    (tmp_path / "scans.jpg").write_bytes(whole[:-2] + 1000 * scan + whole[-2:])
    with pytest.raises(DataError, match=r"scans.jpg: expected an image of a few scans"):
        read_image(tmp_path / "scans.jpg")


# Nothing is dropped without a word.


DROPPED = {
    "16-bit RGB PNG": (png(6, 6, 16, 2, b"".join(b"\0" + row.tobytes() for row in SIXTEEN)),
                       "8 bits a channel, got (16|values from 772 to 772; .*range=0,4095)"),
    "16-bit RGBA PNG": (png(6, 6, 16, 6, (b"\0" + b"\3\4" * 24) * 6),
                        "got (16|alpha or another band)"),
    "16-bit grey and alpha PNG": (png(6, 6, 16, 4, (b"\0" + b"\3\4" * 12) * 6), "8 bits .* 16"),
    "16-bit RGB TIFF": (
        tiff(SIXTEEN.astype("<u2").tobytes(), t258=(16, 16, 16), t262=2, t277=3),
        "8 bits a channel, got (16|values)",
    ),
    "planes of 16 bits": (
        tiff(SIXTEEN.tobytes(), t258=(16, 16, 16), t262=2, t277=3, t284=2),
        "expected the bands of a pixel side by side, got planes",
    ),
    "near infrared": (tiff(bytes(144), t258=(8,) * 4, t262=2, t277=4, t338=(0,)),
                      "RGBA|train with channels=4"),
    "five bands": (tiff(bytes(180), t258=(8,) * 5, t262=2, t277=5, t338=(0, 0)), "at most, got 5"),
    "grey and height": (tiff(bytes(72), t258=(8, 8), t262=1, t277=2, t338=(0,)), "."),
    "pages of a TIFF": (pages("TIFF"), "several pages or frames; save the one"),
    "pages of a packed TIFF": (pages("TIFF", compression="tiff_lzw"), "several pages"),
    "frames of a PNG": (pages("PNG"), "several pages"),
    "frames of a WebP": (pages("WEBP", lossless=True), "several pages"),
}  # fmt: skip


@pytest.mark.parametrize("what", DROPPED)
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_nothing_is_dropped_without_a_word(tmp_path, what, read):
    data, words = DROPPED[what]
    (tmp_path / "deep").write_bytes(data)
    with pytest.raises(DataError, match=rf"deep: .*{words}"):
        read(tmp_path / "deep")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_alpha_is_dropped_only_where_it_says_nothing(tmp_path, mode, kind):
    if (mode, kind) == ("L", "WEBP"):
        return  # it has no grey
    opaque = Image.fromarray(RGB).convert(mode)
    alpha = opaque.copy()
    alpha.putalpha(255)
    options = {"lossless": True} if kind == "WEBP" else {}
    (tmp_path / "a").write_bytes(saved(alpha, kind, **options))
    np.testing.assert_array_equal(read_image(tmp_path / "a"), np.asarray(opaque.convert("RGB")))
    (tmp_path / "a").write_bytes(saved(with_alpha(mode, 220), kind, **options))
    with pytest.raises(DataError, match="a: expected an opaque image, got alpha or"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "LAB"])
def test_an_image_of_other_samples_is_refused(tmp_path, mode):
    (tmp_path / "a.tif").write_bytes(saved(Image.new(mode, (6, 6)), "TIFF"))
    with pytest.raises(DataError, match=r"a.tif: expected .* got (values|.*'LAB')"):
        read_image(tmp_path / "a.tif")


MASKS = {
    "16-bit PNG": saved(Image.fromarray(LABELS.astype(np.uint16)), "PNG"),
    "32-bit TIFF": saved(Image.fromarray(LABELS.astype(np.int32)), "TIFF"),
    "opaque grey": saved(Image.merge("LA", [Image.fromarray(LABELS), Image.new("L", (6, 6), 255)]),
                         "PNG"),
    "packed TIFF": saved(Image.fromarray(LABELS), "TIFF", compression="tiff_deflate"),
    "BMP": saved(Image.fromarray(LABELS), "BMP"),
    "4-bit TIFF": tiff(np.packbits(np.unpackbits((LABELS % 16).reshape(-1, 1), axis=1)[:, 4:])
                       .tobytes(), t258=4),
}  # fmt: skip


@pytest.mark.parametrize("what", MASKS)
def test_a_mask_is_read_right(tmp_path, what):
    (tmp_path / "mask").write_bytes(MASKS[what])
    expected = LABELS % 16 if what == "4-bit TIFF" else LABELS
    np.testing.assert_array_equal(read_mask(tmp_path / "mask"), expected)


WRONG_MASKS = {
    "JPEG": saved(Image.fromarray(LABELS), "JPEG"),
    "JPEG in a TIFF": saved(Image.fromarray(LABELS), "TIFF", compression="jpeg"),
    "alpha": saved(with_alpha("L", 100), "PNG"),
    "16 bits": saved(Image.fromarray(LABELS.astype(np.uint16) + 250), "PNG"),
    "floats": saved(Image.fromarray(LABELS.astype(np.float32)), "TIFF"),
    "negative": saved(Image.fromarray(LABELS.astype(np.int32) - 1), "TIFF"),
}


@pytest.mark.parametrize("what", WRONG_MASKS)
def test_a_mask_that_is_none_is_refused(tmp_path, what):
    (tmp_path / "mask").write_bytes(WRONG_MASKS[what])
    with pytest.raises(DataError, match=r"mask: expected a (PNG )?mask.* got"):
        read_mask(tmp_path / "mask")


# Orientation.


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_for_looking_at_it(tmp_path, orientation, kind):
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    (tmp_path / "photo").write_bytes(turned(orientation, kind, (6, 4), **options))
    (tmp_path / "stored").write_bytes(turned(1, kind, (6, 4), **options))
    stored = read_image(tmp_path / "stored")
    flipped = stored[:, ::-1] if orientation in (2, 4, 5, 7) else stored
    quarters = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    expected = np.rot90(flipped, quarters)
    np.testing.assert_array_equal(read_image(tmp_path / "photo", upright=True), expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "size"), [(2, (6, 4)), (3, (6, 4)), (4, (6, 4)), (3, (6, 6)), *(
        (orientation, (6, 6)) for orientation in range(5, 9))]
)  # fmt: skip
def test_an_orientation_that_sizes_do_not_settle_is_refused(tmp_path, orientation, size, kind):
    (tmp_path / "photo").write_bytes(turned(orientation, kind, size))
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=f"photo: its EXIF orientation, {orientation}, turns"):
            read(tmp_path / "photo")


@pytest.mark.parametrize("orientation", range(5, 9))
def test_an_orientation_that_sizes_settle_is_read_as_the_mask_was_drawn(tree, orientation):
    path, dataset = tree.image("scene_0"), VOCSegmentation(tree.root)
    path.write_bytes(turned(orientation, "JPEG", (23, 17)))
    np.testing.assert_array_equal(dataset[0].image, read_image(path))
    assert dataset[0].image.shape == (17, 23, 3)
    write_mask(tree.mask("scene_0"), np.zeros((23, 17), np.uint8))
    np.testing.assert_array_equal(dataset[0].image, read_image(path, upright=True))
    path.write_bytes(turned(1, "JPEG", (23, 17)))
    with pytest.raises(DataError, match="turned by 90 degrees they agree, as where an EXIF"):
        dataset[0]


EXIF = {
    "nothing": b"",
    "no directory": b"MM\0*\0\0\0\x08",
    "a place beyond the end": b"II*\0\xff\xff\xff\xff",
    "a text": b"MM\0*\0\0\0\x08\0\1\x01\x12\0\2\0\0\0\4six\0\0\0\0\0",
    "many numbers": b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\xff\xff\xff\xff\0\0\0\x08\0\0\0\0",
    "a ratio by zero": b"MM\0*\0\0\0\x08\0\1\x01\x12\0\5\0\0\0\1\0\0\0\x1a\0\0\0\0\0\0\0\6\0\0\0\0",
    "nine": b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x09\0\0\0\0\0\0",
    "no EXIF": b"\xff" * 50,
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("what", EXIF)
def test_damaged_exif_says_nothing(tmp_path, what):
    rows = b"".join(b"\0" + row.tobytes() for row in RGB)
    (tmp_path / "a.png").write_bytes(png(6, 6, 8, 2, rows, chunk(b"eXIf", EXIF[what])))
    for upright in (False, True):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png", upright), RGB)
    jpeg = saved(Image.fromarray(RGB), "JPEG")
    block = b"Exif\0\0" + EXIF[what]
    (tmp_path / "a.jpg").write_bytes(  # without the density of JFIF, Pillow looks for it in EXIF
        jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[20:]
    )
    assert read_image(tmp_path / "a.jpg", upright=True).shape == (6, 6, 3)


# Whatever else is wrong.


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_a_damaged_file_is_an_error_of_ours(tmp_path, kind):
    whole = saved(Image.fromarray(RGB).resize((20, 20)), kind)
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole[: rng.integers(len(whole) // 2, len(whole) + 1)])
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        (tmp_path / "damaged").write_bytes(data)
        for read in (read_image, read_mask):
            try:
                read(tmp_path / "damaged")
            except DataError as error:
                assert str(tmp_path) in str(error)

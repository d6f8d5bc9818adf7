"""check.html: one file that holds everything, the doubtful first, and costs nobody a file."""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import NAMES, Data, swap

from tinyfcn import cli
from tinyfcn.data.class_colours import class_palette
from tinyfcn.doctor.check_page import page_of


@pytest.fixture
def data(tmp_path: Path) -> Data:
    (tmp_path / "data").mkdir()
    return Data(tmp_path / "data")


def test_everything_is_in_the_file(data: Data) -> None:
    text = page_of(*data.check(), "me")
    assert not re.findall(r"(?:src|href)=\"(?!data:)|<script|url\(", text)
    assert "<li>" not in text and "Nothing is wrong." in text
    assert text.count("<h3>") == len(NAMES) and text.count("<img") == 3 * len(NAMES)


def test_the_doubtful_come_first_and_problems_on_top(data: Data) -> None:
    swap(data)
    text = page_of(*data.check(), "me")
    said = html.unescape(text)
    assert said.index("would fit better if they were swapped") < said.index("<h2>train: 10 images")
    heads = re.findall(r"<h3>(⚠ )?(\w+): agreement (-?[\d.]+)</h3>", text)
    assert {name for sign, name, _ in heads if sign} == {"p02", "p07"}
    assert {name for _, name, _ in heads[:2]} == {"p02", "p07"}
    fits = [float(fit) for _, _, fit in heads[2:10]]
    assert fits == sorted(fits) and fits[0] > float(heads[1][2])


def test_masks_are_in_the_colours_of_the_classes(data: Data) -> None:
    labels = data.labels("p00").copy()
    labels[:9] = 255
    data.label("p00", labels)
    text = page_of(*data.check(), "me")
    (source,) = re.findall(r'base64,([^"]+)" alt="mask of p00"', text)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))).convert("RGB"))
    np.testing.assert_array_equal(shown, class_palette(["ground", "thing"])[labels])


def test_bars_are_as_long_as_classes_are_frequent(data: Data) -> None:
    parts, said = data.check()
    pixels = np.array([pixels for _, _, pixels, _ in parts[0].shares()])
    text = page_of(parts, said, "me")
    widths = [float(width) for width in re.findall(r";width:([\d.]+)rem", text)][:3]
    np.testing.assert_allclose(widths, 6 * pixels / pixels.max(), atol=0.01)
    shares = re.findall(r"<td>([\d.]+)%</td>", text)[::2][:3]
    np.testing.assert_allclose(np.array(shares, float) / 100, pixels, atol=1e-4)


def test_names_are_escaped(data: Data) -> None:
    for path in (data.image("p00"), data.mask("p00")):
        path.rename(path.with_name("<b>.png"))
    data.list("train", ["<b>", *NAMES[1:10]])
    assert "<b>" not in page_of(*data.check(), "me")


def test_the_page_of_another_hand_stays(
    data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["check", str(data.root), "--classes", "ground,thing", "--out", str(out)]
    for _ in range(2):
        assert cli.main(command) == 0
        assert capsys.readouterr().out.endswith(f"with pictures: {out}/check.html\n")
    (out / "check.html").write_text("theirs")
    assert cli.main(command) == 0
    assert "check-2.html; check.html is taken" in capsys.readouterr().out
    assert (out / "check.html").read_text() == "theirs"

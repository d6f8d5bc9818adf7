"""Pages: what is text stays text, and nothing is fetched from anywhere."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tinyfcn.page import element, page, picture, table

HOSTILE = "</title><script>alert('1')</script> & \"x\" <img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "text", [HOSTILE, "Fu\N{COMBINING DIAERESIS}ße 狐 \N{FOX FACE}", "", "&lt;"]
)
def test_text_stays_text(text: str) -> None:
    image = picture(Image.new("L", (2, 2)), text)
    read = Reader(page(text, text, table([text], [[text, element("b", text)]]), image))
    assert read.text.count(text) >= 6 and read.open == []
    tags = [tag for tag, _ in read.tags]
    assert tags.count("img") == 1 and "script" not in tags
    assert [attrs["alt"] for tag, attrs in read.tags if tag == "img"] == [text]


def test_nothing_is_fetched() -> None:
    text = page("a", picture(Image.new("RGB", (2, 2)), "b"))
    assert re.findall(r"\b(?:src|href)=\"(?!data:)|url\(|@import|https?:", text) == []


@pytest.mark.parametrize("lossy", [True, False])
def test_a_picture_comes_back(lossy: bool) -> None:
    pixels = np.full((6, 9, 3), (200, 30, 60), np.uint8)
    read = Reader(picture(Image.fromarray(pixels), "red", lossy))
    ((_, attrs),) = read.tags
    kind, data = str(attrs["src"]).split(",")
    assert kind == f"data:image/{'jpeg' if lossy else 'png'};base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (attrs["width"], attrs["height"]) == ("9", "6") and image.size == (9, 6)
    np.testing.assert_allclose(np.asarray(image).astype(int), pixels, atol=3 * lossy)

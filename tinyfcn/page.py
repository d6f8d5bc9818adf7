"""Pages that are one file: readable offline, on a phone and in the dark, without a script."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

_STYLE = Path(__file__).with_suffix(".css")
_EMPTY = ("img", "meta")  # elements without an end


class Element(str):
    """HTML; all other text is escaped before it becomes a part of it."""


def element(tag: str, *parts: object, **attributes: object) -> Element:
    """An element with these parts; ``_`` at the end of the name of an attribute is left out.

    Example:
        >>> element("p", "a < b: ", element("b", True), class_="note")
        '<p class="note">a &lt; b: <b>True</b></p>'
    """
    named = "".join(
        f' {name.rstrip("_")}="{html.escape(str(value))}"' for name, value in attributes.items()
    )
    end = "" if tag in _EMPTY else f"</{tag}>"
    return Element(f"<{tag}{named}>{joined(*parts)}{end}")


def joined(*parts: object) -> Element:
    """Parts one after the other.

    Example:
        >>> joined("a & ", element("i", "b"))
        'a &amp; <i>b</i>'
    """
    return Element("".join(p if isinstance(p, Element) else html.escape(str(p)) for p in parts))


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Element:
    """A table, which is scrolled by itself where it is wider than the screen.

    Example:
        >>> table(["class", "IU"], [["cat", 0.5]]).count("<td>")
        2
    """
    lines = [element("tr", *(element("th", cell) for cell in head))] if head else []
    lines += [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return element("div", element("table", *lines), class_="wide")


def picture(image: Image.Image, text: str, lossy: bool = False) -> Element:
    """An image that is part of the page: JPEG if ``lossy``, else PNG; ``text`` says what it is.

    Example:
        >>> picture(Image.new("RGB", (2, 1)), "black")[:31]
        '<img src="data:image/png;base64'
    """
    data = io.BytesIO()
    kind = "jpeg" if lossy else "png"
    image.save(data, format=kind, quality=80)
    source = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
    return element("img", src=source, alt=text, width=image.width, height=image.height)


def gallery(title: str, name: str, images: Mapping[str, Image.Image]) -> Element:
    """Pictures that show ``name``, each above what it shows of it; those with a palette are masks,
    and stay exact.

    Example:
        >>> gallery("Cat: 0.5", "cat", {"mask": Image.new("P", (2, 1))})[:40]
        '<h3>Cat: 0.5</h3><div class="row"><figur'
    """
    figures = (
        element("figure", picture(image, f"{what} of {name}", image.mode != "P"),
                element("figcaption", what))
        for what, image in images.items()
    )  # fmt: skip
    return joined(element("h3", title), element("div", *figures, class_="row"))


def page(title: str, *parts: object) -> str:
    """A whole page under its title.

    Example:
        >>> page("Cats & dogs", element("p", "none")).splitlines()[-3:]
        ['<body><main><h1>Cats &amp; dogs</h1>', '<p>none</p>', '</main></body></html>']
    """
    head = joined(
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title), element("style", Element(_STYLE.read_text("utf-8"))),
    )  # fmt: skip
    body = "\n".join(joined(part) for part in (element("h1", title), *parts))
    whole = f"<head>{head}</head>\n<body><main>{body}\n</main></body>"
    return f'<!DOCTYPE html>\n<html lang="en">{whole}</html>\n'

"""What check.html shows: problems, how often each class occurs, and samples, the doubtful first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from PIL import Image

from tinyfcn.data import VOID
from tinyfcn.data.class_colours import class_palette
from tinyfcn.data.conventions import as_seen
from tinyfcn.doctor.check import BOTH, Check, Problem
from tinyfcn.doctor.look import Part
from tinyfcn.doctor.masks import listed
from tinyfcn.doctor.pairs import fits
from tinyfcn.page import Element, element, gallery, joined, page, table
from tinyfcn.visualize import in_colours, overlay

SAMPLES = 24  # of each list
SIDE = 240  # of a picture on the page
NAMES = 40  # with a problem


def page_of(found: Check, maker: str) -> str:
    """The page, in HTML; ``maker`` stands at its end."""
    names = [name for problem in found.problems for name in problem.names]
    doubtful = {name for both in names for name in both.split(BOTH)}
    return page(
        "What is in the data",
        _list("Problems", found.problems),
        _list("Worth knowing", found.notes),
        *(joined(element("h2", part.name), *(element("p", line) for line in part.about()),
                 _shares(part), *_samples(part, doubtful))
          for part in found.parts if part.seen),
        element("p", f"made by {maker}"),
    )  # fmt: skip


def _list(title: str, problems: Sequence[Problem]) -> Element:
    items = (
        element("li", one.text, element("figcaption", listed(one.names, NAMES))) for one in problems
    )
    return joined(element("h2", title), element("ol", *items)) if problems else Element()


def _shares(part: Part) -> Element:
    """A bar for each class, and the numbers behind it."""
    rows, palette, shares = [], class_palette(part.classes), [*part.shares()]
    most = max(share.pixels for share in shares)
    for name, label, pixels, images in shares:
        width = f"{6 * pixels / most:.2f}rem"
        style = f"background:#{palette[label].tobytes().hex()};width:{width}"
        bar = element("div", element("span", class_="colour", style=style), style="text-align:left")
        rows.append([name, f"{pixels:.2%}", f"{images:.1%}", bar])
    return table(["class", "pixels", "images", ""], rows)


def _samples(part: Part, doubtful: Collection[str]) -> Iterator[Element]:
    """Samples with a problem, then those whose masks fit their images worst."""
    fit = fits([one.afar for one in part.seen]).tolist()
    order = sorted(
        zip(fit, part.seen, strict=True), key=lambda o: (o[1].name not in doubtful, o[0])
    )
    for share, one in order[:SAMPLES]:
        labels = part.dataset.labels(one.place)
        photo = Image.fromarray(as_seen(part.dataset.image(one.place, labels.shape)))
        photo.thumbnail((SIDE, SIDE))
        mask = Image.fromarray(np.where(labels < len(part.classes), labels, np.uint8(VOID)))
        labels = np.asarray(mask.resize(photo.size, Image.Resampling.NEAREST))
        over = overlay(np.asarray(photo), labels, part.classes, legend=False)
        parts = {"image": photo, "mask": in_colours(labels, part.classes), "mask over image": over}
        said = f"{'⚠ ' * (one.name in doubtful)}{one.name}: outlines fit by {share:.2f}"
        yield gallery(said, one.name, parts)

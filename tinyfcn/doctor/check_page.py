"""What check.html shows: problems, how often each class occurs, and samples, the doubtful first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from PIL import Image

from tinyfcn.data.class_colours import class_palette
from tinyfcn.data.conventions import as_seen
from tinyfcn.data.transforms import fitted
from tinyfcn.doctor.check import BOTH, Problem
from tinyfcn.doctor.look import Part
from tinyfcn.doctor.masks import listed
from tinyfcn.doctor.pairs import fits
from tinyfcn.page import Element, element, gallery, page, table
from tinyfcn.visualize import in_colours, overlay

SAMPLES = 24  # of each list
SIDE = 240  # of a picture on the page
NAMES = 40  # with a problem


def page_of(parts: Sequence[Part], said: Sequence[Problem], maker: str) -> str:
    """The page, in HTML; ``maker`` stands at its end."""
    names = [name for problem in said if not problem.note for name in problem.names]
    doubtful = {name for both in names for name in both.split(BOTH)}
    problems = (element("li", one, element("figcaption", listed(one.names, NAMES))) for one in said)
    return page(
        "What is in the data",
        element("ol", *problems) if said else element("p", "Nothing is wrong."),
        *(part for one in parts if one.seen for part in _list(one, doubtful)),
        element("p", f"made by {maker}"),
    )


def _list(part: Part, doubtful: Collection[str]) -> Iterator[Element]:
    """What a list holds, how often each class occurs, and samples, the doubtful first."""
    title, *about = part.about()
    yield element("h2", title)
    yield element("p", "; ".join(about))
    rows, palette, shares = [], class_palette(part.classes), [*part.shares()]
    most = max(pixels for _, _, pixels, _ in shares)
    for name, label, pixels, images in shares:
        style = f"background:#{palette[label].tobytes().hex()};width:{6 * pixels / most:.2f}rem"
        bar = element("div", element("span", class_="colour", style=style), style="text-align:left")
        rows.append([name, f"{pixels:.2%}", f"{images:.1%}", bar])
    yield table(["class", "pixels", "images", ""], rows)

    fit, names = fits(part.afar[part.seen]), part.names
    bad = np.isin(names, [*doubtful])
    yield element("p", "Samples: first, with ⚠, those named above; then those whose borders in "
                  "mask and image agree least (1: in all, 0: in nothing)")  # fmt: skip
    for i in np.lexsort((fit, ~bad))[:SAMPLES].tolist():
        place, name = part.seen[i], names[i]
        labels = part.labels(part.dataset.values(place))
        image, labels = fitted(SIDE, as_seen(part.dataset.image(place, labels.shape)), labels)
        parts = {
            "image": Image.fromarray(image),
            "mask": in_colours(labels, part.classes),
            "mask over image": overlay(image, labels, part.classes, legend=False),
        }
        yield gallery(f"{'⚠ ' * bool(bad[i])}{name}: agreement {fit[i]:.2f}", name, parts)

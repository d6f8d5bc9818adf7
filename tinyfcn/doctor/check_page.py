"""What check.html shows: problems, how often each class occurs, and samples, the doubtful first."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tinyfcn.data import VOID, read_image
from tinyfcn.data.class_colours import class_palette
from tinyfcn.doctor.check import Check, Part, Problem
from tinyfcn.doctor.pairs import fits
from tinyfcn.files import AnyPath, Outputs, atomic_write
from tinyfcn.page import Element, element, joined, page, picture, table
from tinyfcn.visualize import overlay

MARK = "tinyfcn check"
SAMPLES = 24  # of each list
SIDE = 240  # of a picture on the page
NAMES = 40  # with a problem


def write_page(found: Check, folder: AnyPath) -> str:
    """Write ``check.html`` into a folder, or under another name if another hand wrote what is there
    under this; gives its path, and a note of that."""
    (path,), note = Outputs([], MARK).free(folder, "check", ".html")
    with atomic_write(path) as file:
        file.write(page_of(found).encode("utf-8", "backslashreplace"))
    return f"{path}{note}"


def page_of(found: Check) -> str:
    """The page, in HTML."""
    doubtful = {n for p in found.problems for name in p.names for n in re.split(" and | = ", name)}
    lists = ((title, problems) for title, problems in (("Problems", found.problems),
             ("Worth knowing", found.notes)) if problems)  # fmt: skip
    return page(
        "What is in the data",
        *(joined(element("h2", title), element("ol", *map(_told, problems)))
          for title, problems in lists),
        *(joined(element("h2", part.name), _shares(part), *_samples(part, doubtful))
          for part in found.parts if part.seen),
        element("p", f"made by {MARK}"),
    )  # fmt: skip


def _told(problem: Problem) -> Element:
    more = f" and {len(problem.names) - NAMES} more" if len(problem.names) > NAMES else ""
    names = ", ".join(problem.names[:NAMES]) + more
    return element("li", problem.text, element("figcaption", names))


def _shares(part: Part) -> Element:
    """A bar for each class, and the numbers behind it."""
    tally, palette = part.tally, class_palette(part.dataset.classes)
    places = [*range(len(tally.classes)), VOID]
    most, total = max(1, tally.labels.max()), max(1, tally.pixels.sum())
    rows = []
    for name, place, pixels in zip((*tally.classes, "void"), places, tally.labels, strict=True):
        width = f"{6 * pixels / most:.2f}rem"
        style = f"background:#{palette[place].tobytes().hex()};width:{width}"
        bar = element("div", element("span", class_="colour", style=style), style="text-align:left")
        images = tally.images[place] / len(part.seen)
        rows.append([name, f"{pixels / total:.2%}", f"{images:.1%}", bar])
    return table(["class", "pixels", "images", ""], rows)


def _samples(part: Part, doubtful: set[str]) -> Iterator[Element]:
    """Samples with a problem, then those whose masks fit their images worst."""
    fit = fits([seen.afar for seen in part.seen])
    order = np.argsort(fit, kind="stable").tolist()
    order.sort(key=lambda place: part.ids([place])[0] not in doubtful)
    palette = class_palette(part.dataset.classes)
    for place in order[:SAMPLES]:
        (name,), index = part.ids([place]), part.seen[place].place
        photo = Image.fromarray(read_image(part.dataset.files[index][0]))
        labels = part.dataset.labels(index)
        mask = Image.fromarray(np.where(labels < part.dataset.num_classes, labels, VOID))
        photo.thumbnail((SIDE, SIDE))
        mask = mask.resize(photo.size, Image.Resampling.NEAREST)
        over = overlay(np.asarray(photo), np.asarray(mask), part.dataset.classes, legend=False)
        mask.putpalette(palette.tobytes())
        parts = {
            "image": picture(photo, f"image {name}", lossy=True),
            "mask": picture(mask, f"mask of {name}"),
            "mask over image": picture(over, f"mask of {name} over it", lossy=True),
        }
        shown = (element("figure", p, element("figcaption", t)) for t, p in parts.items())
        sign = "⚠ " if name in doubtful else ""
        said = f"{sign}{name}: outlines fit by {fit[place]:.2f}"
        yield joined(element("h3", said), element("div", *shown, class_="row"))

"""Part of the learning room: cross-entropy of a few pixels, of which some are void."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.explorer.grids import grid, group, number, program
from tinyfcn.explorer.settings import EDITS, Setting, State, edited, plain
from tinyfcn.metrics import SCORES, ConfusionMatrix, Scores

Array = NDArray[Any]
ROWS, COLUMNS, CLASSES, VOID = 8, 5, 3, 255
LABELS = (0, 1, 2, VOID)
SETTINGS = {
    "reduction": Setting("mean", ("mean", "sum")),
    "border": Setting(0, (0, 1, 2)),
    "mask": EDITS,
    "scores": EDITS,
}
CHOICES = {"reduction": "reduction", "border": "void border"}


def answer(state: State) -> dict[str, Any]:
    """Loss, gradient and scores of the mask and the class scores."""
    mask, logits = numbers(state)
    x, target = tinyfcn.tensor(logits[None], requires_grad=True), tinyfcn.tensor(mask[None])
    losses = F.cross_entropy(x, target, ignore_index=VOID, reduction="none")
    loss = F.cross_entropy(x, target, ignore_index=VOID, reduction=state["reduction"])
    gradient = tinyfcn.grad(loss, x)[0].numpy()[0]
    p, found = F.softmax(x, 1).numpy()[0], x.detach().argmax(1).numpy()[0]
    matrix = ConfusionMatrix(CLASSES, VOID)
    matrix.update(found, mask)
    cells = [np.flatnonzero((mask == t) & (found == c)).tolist() for t, c in np.ndindex(3, 3)]
    counted, each = mask != VOID, losses.numpy()[0]
    looks = np.array([*"012"])[np.where(counted, mask, 0)]
    right = np.where(found == mask, looks, np.where(counted, "wrong", "void"))
    void = np.where(counted, "", "void")
    planes = [f"class {c}" for c in range(CLASSES)]
    return {
        "groups": [
            group("The mask, what is predicted, and what each pixel costs", [
                grid("mask", f"{VOID} is void", "w", mask, edit="mask", paint=True,
                     looks=np.where(counted, looks, "void"), narrow=True),
                grid("prediction", "largest score", "y", found, looks=right, narrow=True),
                grid("loss", "\u2212log softmax", "y", each, looks=void, digits=2, shaded=True,
                     narrow=True),
                grid("matrix", "true ↓ found →", "y", matrix.counts, ids=cells, shaded=True,
                     words=of_matrix(matrix.counts), narrow=True)]),
            group("Given: the scores of a network", [
                grid("x", "scores, one plane a class", "x", logits, planes, edit="scores")]),
            group("Backward: softmax(x) less 1 at the true class"
                  + ", divided by the count" * (state["reduction"] == "mean"), [
                grid("gx", "gradient of the loss, one plane a class", "x", gradient, planes,
                     looks=np.broadcast_to(void, gradient.shape), digits=2, shaded=True)]),
        ],
        "words": [word(i, j, mask, found, p, each, gradient) for i, j in np.ndindex(8, 5)],
        "facts": facts(state["reduction"], loss.item(), each, counted, matrix.scores()),
        "code": code(state["reduction"], logits, mask),
    }  # fmt: skip


def numbers(state: State) -> tuple[Array, Array]:
    """The mask, and the scores of a network that knows it roughly, with what was changed by hand.

    Raises:
        ValueError: for a label that is no class and not void.
    """
    mask = np.zeros((ROWS, COLUMNS), np.int64)
    mask[1:4, :3], mask[4:7, 2:4] = 1, 2
    known = np.roll(mask, 1, 1)[None] == np.arange(CLASSES)[:, None, None]
    known = known * 1.0 + (mask == np.arange(CLASSES)[:, None, None]) * 1.5
    logits = (known + np.random.default_rng(3).normal(0, 0.6, known.shape)).round(1)
    if k := state["border"]:
        near = sliding_window_view(np.pad(mask, k), (2 * k + 1, 2 * k + 1)).any((2, 3))
        mask[near & (mask == 0)] = VOID
    mask = edited(mask, state["mask"])
    if wrong := sorted({*mask.ravel()} - {*LABELS}):
        raise ValueError(f"learning: mask must hold 0, 1, 2 or {VOID}, got {wrong[0]:g}")
    return mask.astype(np.int64), edited(logits, state["scores"]).astype(np.float32)


# ---- in words ----


def word(i: int, j: int, mask: Array, found: Array, p: Array, losses: Array, gx: Array) -> str:
    """What is to be said of a pixel."""
    label = mask[i, j]
    if label == VOID:
        return (f"Pixel [{i}, {j}] is void: it costs nothing, its gradient is 0, and it stands "
                "nowhere in the matrix, whatever is predicted there.")  # fmt: skip
    chances, back = (", ".join(number(v[i, j], 3) for v in each) for each in (p, gx))
    verdict = "right" if found[i, j] == label else f"taken for {found[i, j]}"
    return (f"Pixel [{i}, {j}] is of class {label}, {verdict}. softmax = ({chances}); "
            f"loss = \u2212log {number(p[label, i, j], 3)} = {number(losses[i, j])}; "
            f"gradient = ({back})")  # fmt: skip


def of_matrix(counts: Array) -> list[str]:
    """What is to be said of a cell of the confusion matrix."""
    return [
        f"{n} of the pixels of class {t}: {'recognized' if t == c else f'taken for class {c}'}"
        for (t, c), n in np.ndenumerate(counts)
    ]


def facts(reduction: str, loss: float, losses: Array, counted: Array, found: Scores) -> list[Any]:
    """The loss and the scores, with the numbers that they are of."""
    count = counted.sum()
    total = number(losses.sum(dtype=np.float64))
    how = f" = {total} / {count}" if reduction == "mean" else f", of {count} pixels"
    made = [["loss", number(loss) + (how if count else ": no pixel counts")]]
    for c, value in enumerate(found.iu):
        n, true, guessed = found.counts[c, c], found.counts[c].sum(), found.counts[:, c].sum()
        sizes = f"{n:g} / ({true:g} + {guessed:g} \u2212 {n:g})"
        made.append([f"IU of class {c}", f"{number(value)} = {sizes}"])
    return made + [[text, number(getattr(found, name))] for name, text in SCORES.items()]


def code(reduction: str, logits: Array, mask: Array) -> dict[str, str]:
    """Programs that print loss, gradient and confusion matrix."""
    options = f'ignore_index={VOID}, reduction="{reduction}"'
    lines = [
        f"x = {{0}}.tensor({plain(logits[None])}, requires_grad=True)",
        f"mask = {{0}}.tensor({mask[None].tolist()})",
        f"print(F.cross_entropy(x, mask, {options.replace(reduction, 'none')}))",
        f"loss = F.cross_entropy(x, mask, {options})", "loss.backward()", "print(loss, x.grad)",
    ]  # fmt: skip
    matrix = (
        "from tinyfcn.metrics import ConfusionMatrix\n"
        f"matrix = ConfusionMatrix({CLASSES}, {VOID})\n"
        "matrix.update(x.detach().argmax(1).numpy(), mask.numpy())\n"
        "print(matrix.counts, matrix.scores())",
        f"at = mask[mask != {VOID}] * {CLASSES} + x.argmax(1)[mask != {VOID}]\n"
        "print(torch.bincount(at, minlength=9).reshape(3, 3))",
    )
    return program([*lines, matrix])


def recorded(state: State) -> Iterator[dict[str, str]]:
    """This, and each pixel painted in turn."""
    yield {}
    if state["reduction"] == "mean" and state["border"] == 0:
        for i, j in np.ndindex(ROWS, COLUMNS):
            yield from ({"mask": f"{i}.{j}:{label}"} for label in LABELS)

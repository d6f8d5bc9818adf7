"""Rooms of grids in groups, as a reader sees them in the browser."""

from __future__ import annotations

from typing import Any

import numpy as np

SEEN = """(() => {
  const grids = [...document.querySelectorAll("[data-grid]")].map(one => {
    const cells = [...one.querySelectorAll("td")], tables = one.querySelectorAll("table");
    return [one.dataset.grid, { shape: [tables.length, tables[0].rows.length, -1],
      text: cells.map(cell => cell.textContent), kind: cells.map(cell => cell.className),
      look: cells.map(cell => cell.dataset.look), label: cells.map(cell => cell.ariaLabel) }] });
  const controls = [...document.querySelectorAll(".controls [name]")].map(
    e => [e.name, e.matches("select") ? e.value : e.ariaValueText]);
  const texts = (part) => [...document.querySelectorAll(part)].map(e => e.innerText);
  return { grids: Object.fromEntries(grids), state: Object.fromEntries(controls),
    tab: document.querySelector(".passes [aria-pressed=true]").dataset.value,
    said: document.querySelector(".said").innerText, groups: texts(".group"),
    facts: Object.fromEntries([...document.querySelectorAll("aside .formula p")].map(
      p => [p.firstChild.textContent, p.lastChild.textContent])),
    address: readAddress().settings } })()"""
MINUS = "\u2212"


def cell(grid: str, index: int) -> str:
    """Script that finds a cell."""
    return f"document.querySelectorAll('[data-grid=\"{grid}\"] td')[{index}]"


def settled(browser: Any, action: str) -> dict[str, Any]:
    """Do something that asks the engine; what is seen when its answer is drawn."""
    return browser.run(
        f"new Promise(done => {{ const before = document.body.dataset.ready; {action};"
        "const look = () => document.body.dataset.ready !== before && !page.asking"
        f"? done({SEEN}) : setTimeout(look, 2); look() }})"
    )


def entered(browser: Any, room: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Follow a link; what is seen then."""
    query = "&".join(f"{name}={value}" for name, value in settings.items())
    return settled(browser, f"location.hash = '#{room}?{query}'")


def typed(browser: Any, grid: str, index: int, text: str) -> dict[str, Any]:
    """Type into a cell; what is seen then."""
    browser.run(cell(grid, index) + ".focus()")
    browser.enter(text)
    return browser.run(SEEN)


def pointed(browser: Any, grid: str, index: int) -> dict[str, Any]:
    """Point at a cell with the mouse; what is seen then."""
    browser.mouse("move", *browser.middle(cell(grid, index)))
    return browser.run(SEEN)


def numbers(seen: dict[str, Any], key: str) -> np.ndarray:
    """What stands in the cells (planes, rows, columns), without padding."""
    grid = seen["grids"][key]
    inside = np.reshape(["pad" not in kind.split() for kind in grid["kind"]], grid["shape"])
    values = np.reshape([text.replace(MINUS, "-") for text in grid["text"]], grid["shape"])
    return values[:, inside.any((0, 2))][:, :, inside.any((0, 1))].astype(float)


def lit(seen: dict[str, Any], key: str, kind: str = "") -> set[int]:
    """The cells that are lit, or that have a class."""
    kinds = [{*each.split()} - {"pad"} for each in seen["grids"][key]["kind"]]
    return {i for i, each in enumerate(kinds) if (kind in each if kind else each)}


def labelled(seen: dict[str, Any]) -> None:
    """A screen reader reads what stands in each cell, and how it looks."""
    for grid in seen["grids"].values():
        for text, look, label in zip(grid["text"], grid["look"], grid["label"], strict=True):
            shown = f", {look}" if look and look[0].isalpha() else ""
            assert label.endswith(f" {text}{shown}")

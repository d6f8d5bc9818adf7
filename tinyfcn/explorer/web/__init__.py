"""The page: plain scripts, in the order in which they need each other. Nothing else is served."""

SCRIPTS = (
    "recorded.js", "dom.js", "address.js", "ask.js", "grid.js", "sheet.js", "controls.js",
    "steps.js", "page.js", "convolution-views.js", "convolution.js", "groups.js",
    "upsampling.js", "picture.js", "network-parts.js", "network.js", "learning-check.js",
    "learning.js", "kernel-memory.js", "kernel.js",
)  # fmt: skip
FILES = ("index.html", "style.css", "icon.svg", *SCRIPTS)

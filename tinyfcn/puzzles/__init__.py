"""Thirty tasks that grade themselves, in three ladders: layers, kernels, and planted bugs.

A ladder is a folder. Each task has two files in it: what the reader gets, which is a text and an
empty function, and its solution, which begins with two hints. ``cases.py`` beside them has what is
asked, and what the engine answers. The other files here grade:

- ``puzzle.py``: what a task is;
- ``limits.py``: the reader's code in a thread, with a limit of time, and errors with its line;
- ``functions.py``, ``kernel_files.py``: what Python and CUDA files answer;
- ``grade.py``: asks and compares; ``picture.py`` shows expected beside got;
- ``folder.py``: the reader's folder, and a note of what was passed in it.
"""

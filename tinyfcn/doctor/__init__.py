"""The data doctor: says what is wrong with images and masks, before anything is learned from them.

``look.py`` sees what samples hold, ``masks.py`` and ``pairs.py`` judge it, ``check.py`` says all of
it; a training begins with a part of that.
"""

from tinyfcn.doctor.check import before_training, check

__all__ = ["before_training", "check"]

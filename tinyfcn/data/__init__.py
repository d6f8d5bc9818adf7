"""Data sets, augmentation, preprocessing and the loader, from files to NumPy batches.

To read in this order: conventions, image_file, palette, class_colours, dataset, pairing,
class_files, lists, readers, outlines, drawn, transforms, warp, appearance, preprocessing,
loader, shapes, scenes, synthetic. Each file lists what it gives in its ``__all__``.
"""

# ruff: noqa: F403  (a star takes what __all__ lists: no name is written twice)

from tinyfcn.data.appearance import *
from tinyfcn.data.class_colours import *
from tinyfcn.data.conventions import *
from tinyfcn.data.dataset import *
from tinyfcn.data.drawn import *
from tinyfcn.data.lists import *
from tinyfcn.data.loader import *
from tinyfcn.data.palette import *
from tinyfcn.data.preprocessing import *
from tinyfcn.data.readers import *
from tinyfcn.data.scenes import *
from tinyfcn.data.synthetic import *
from tinyfcn.data.transforms import *
from tinyfcn.data.warp import *

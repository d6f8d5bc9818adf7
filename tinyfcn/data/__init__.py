"""Data sets, augmentation, preprocessing and the loader, from files to NumPy batches.

To read in this order: conventions, palette, dataset, voc, transforms, preprocessing, loader,
shapes, scenes, synthetic.
"""

from tinyfcn.data.conventions import DataError, check_sample, read_image, read_mask, write_mask
from tinyfcn.data.dataset import ConcatDataset, Sample, SegmentationDataset
from tinyfcn.data.folder import FolderSegmentation
from tinyfcn.data.loader import Batch, DataLoader
from tinyfcn.data.palette import (
    VOC_CLASSES,
    VOC_PALETTE,
    VOID,
    index_to_rgb,
    rgb_to_index,
    voc_palette,
)
from tinyfcn.data.preprocessing import CAFFE, TORCHVISION, Preprocessing
from tinyfcn.data.sbd import SBDSegmentation
from tinyfcn.data.scenes import SYNTHETIC_CLASSES, SceneStyle, draw_scene
from tinyfcn.data.synthetic import write_voc_tree
from tinyfcn.data.transforms import (
    ColourJitter,
    Compose,
    MirrorBorder,
    RandomCrop,
    RandomHorizontalFlip,
    RandomScale,
)
from tinyfcn.data.voc import VOCSegmentation

__all__ = [
    "CAFFE",
    "SYNTHETIC_CLASSES",
    "TORCHVISION",
    "VOC_CLASSES",
    "VOC_PALETTE",
    "VOID",
    "Batch",
    "ColourJitter",
    "Compose",
    "ConcatDataset",
    "DataError",
    "DataLoader",
    "FolderSegmentation",
    "MirrorBorder",
    "Preprocessing",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomScale",
    "SBDSegmentation",
    "Sample",
    "SceneStyle",
    "SegmentationDataset",
    "VOCSegmentation",
    "check_sample",
    "draw_scene",
    "index_to_rgb",
    "read_image",
    "read_mask",
    "rgb_to_index",
    "voc_palette",
    "write_mask",
    "write_voc_tree",
]

"""Networks, assembled from the layers of ``tinyfcn.nn``; each takes ``num_classes``.

They are listed in the order of these lines: FCN, then the others by their names.
"""
# ruff: noqa: F403

from tinyfcn.models.fcn import *

# isort: split
from tinyfcn.models import geometry as geometry
from tinyfcn.models.alexnet import *
from tinyfcn.models.convolutionalize import *
from tinyfcn.models.deconvnet import *
from tinyfcn.models.deeplab import *
from tinyfcn.models.deeplabv3_resnet import *
from tinyfcn.models.dilation import *
from tinyfcn.models.fcn_resnet import *
from tinyfcn.models.googlenet import *
from tinyfcn.models.parsenet import *
from tinyfcn.models.pspnet import *
from tinyfcn.models.registry import *
from tinyfcn.models.resnet import *
from tinyfcn.models.same_resolution import *
from tinyfcn.models.segnet import *
from tinyfcn.models.sliding_window import *
from tinyfcn.models.unet import *
from tinyfcn.models.vgg import *

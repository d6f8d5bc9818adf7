"""The skip experiment: what scores from finer layers add, in numbers and to the eye.

FCN-32s reads the classes off the coarsest layer alone and upsamples them 32 times; FCN-16s adds
what pool4 says about them, FCN-8s pool3 too (Long, Shelhamer, Darrell: "Fully convolutional
networks for semantic segmentation", CVPR 2015, section 4.2 and table 2). Here the three are trained
one after the other in the same way, on the same scenes, from the same seed.

The results are skips.csv, .md and .png, and a run folder for each network. Options that are not
known here go to train_voc.py, for all three alike, such as --data-root with own data.
compare_architectures.py does the work, and compares other networks too.

python examples/compare_skips.py
python examples/compare_skips.py --epochs 4
"""

from __future__ import annotations

from pathlib import Path

from compare_architectures import FCNS, compare

from tinyfcn.cli.errors import plain_errors

if __name__ == "__main__":
    with plain_errors():
        compare(__doc__, FCNS, Path("runs/skips"))

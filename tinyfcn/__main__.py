"""``python -m tinyfcn``: the command ``tinyfcn``."""

import sys

from tinyfcn.cli import main

sys.exit(main())

"""``python -m tinyfcn.models`` is ``tinyfcn models``, and with a NAME ``tinyfcn summary NAME``."""

import sys

from tinyfcn.cli import main

sys.exit(main(["summary" if sys.argv[1:] else "models", *sys.argv[1:]]))

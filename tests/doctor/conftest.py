"""These tests import what lies beside them: a small folder of data."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

"""Modules beside these tests, and those of rings and of whole runs."""

import sys
from pathlib import Path

for folder in ("sharing", "ring", "faults"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

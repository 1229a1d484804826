"""Lets the tests of this directory import ``writer``, which is a program too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

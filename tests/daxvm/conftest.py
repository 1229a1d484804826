"""Lets the tests of this directory, and those inside the guest, import its modules."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

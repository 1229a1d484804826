"""``python -m pmemstore``: look at a pool from the shell."""

import sys

from pmemstore.cli import main

if __name__ == "__main__":
    sys.exit(main())

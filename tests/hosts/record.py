"""Record what sysfs says of the device below a path: the trees of this directory.

    python tests/hosts/record.py PATH > tests/hosts/NAME.sysfs.json

``files``: contents by name below /sys, small ones alone; ``links``: symbolic links.  ``number`` is
the device of PATH.  the fixture ``host`` of conftest.py makes a directory
of it again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

SYS = Path("/sys")
OF_BLOCK = "dev start size ro partition badblocks queue/dax queue/write_cache dm/name md/level"
OF_MEMORY = "devtype mode namespace align size resource provider persistence_domain read_only"


def record(path: str) -> dict[str, object]:
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    files: dict[str, str] = {}
    links: dict[str, str] = {}

    def take(folder: Path, names: str) -> None:
        for name in names.split():
            for file in folder.glob(name):
                try:
                    text = file.read_text()
                except OSError:
                    continue
                if len(text) <= 200:
                    files[str(file.relative_to(SYS))] = text

    link = SYS / "dev/block" / number
    if not link.exists():
        return {"number": number, "files": files, "links": links}
    block = Path(os.path.realpath(link))
    links[str(link.relative_to(SYS))] = str(block.relative_to(SYS))
    waiting = [block, block.parent]
    while waiting:
        where = waiting.pop()
        take(where, OF_BLOCK)
        for slave in (where / "slaves").glob("*"):
            below = Path(os.path.realpath(slave))
            links[str(slave.relative_to(SYS))] = str(below.relative_to(SYS))
            waiting.append(below)
        for parent in where.parents:
            if parent.name.startswith(("region", "ndbus")) or parent == where.parents[1]:
                take(parent, OF_MEMORY + " mappings mapping?")
            if parent.name.startswith("ndbus"):
                take(parent, "nmem*/nfit/* nmem*/cxl/* nmem*/papr/*")
    return {"number": number, "files": files, "links": links}


if __name__ == "__main__":
    print(json.dumps(record(sys.argv[1]), indent=1, sort_keys=True))

#!/usr/bin/env python3
"""Run any command in a guest with real DAX; its output and exit status come back.

    run.py [--machine NAME] [--state DIR] [--env NAME=VALUE] -- COMMAND...
    run.py --list

The guest sees this machine's files at their own paths, but what it writes there is gone at its
end; a virtual environment that has the package is used as it is.  Its file systems are at
/mnt/<name>; with --state they are kept, and DIR/share is /mnt/share in the guest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import guest
from machines import MACHINES


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machine", choices=sorted(MACHINES), default="nvdimm")
    parser.add_argument("--list", action="store_true", help="say which machines there are")
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep the file systems there")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS")
    parser.add_argument("--verbose", action="store_true", help="say how long it took")
    parser.add_argument("command", nargs="*", metavar="COMMAND")
    args = parser.parse_args()
    if args.list:
        for name, machine in MACHINES.items():
            places = ", ".join(disk.name for disk in machine.disks)
            print(f"{name:8} {machine.says} ({places})")
        return 0
    if not args.command:
        parser.error("no command; it comes after --")
    environment = dict(one.split("=", 1) for one in args.env)
    environment.setdefault("PMEMSTORE_DAXVM_MACHINE", args.machine)
    with tempfile.TemporaryDirectory(prefix="pmemstore-daxvm-") as scratch:
        try:
            with guest.Guest(
                MACHINES[args.machine],
                args.state or Path(scratch),
                args.command,
                environment=environment,
                cwd=Path.cwd(),
            ) as vm:
                result = vm.wait(args.timeout, echo=True)
        except guest.GuestError as error:
            print(f"run.py: {error}", file=sys.stderr)
            return 125
    if args.verbose:
        print(
            f"run.py: ready after {result.ready_seconds} s of its own time, ended after "
            f"{result.seconds:.1f} s of ours",
            file=sys.stderr,
        )
    return result.code


if __name__ == "__main__":
    sys.exit(main())

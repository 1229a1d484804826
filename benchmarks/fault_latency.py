"""What does the first store to a page cost, before and after prepare_write?

    fault_latency.py                     in the guest of tests/daxvm, on ext4 and xfs with DAX
    fault_latency.py --dir DIR ...       in directories of this machine, on DAX file systems

On a mapping with MAP_SYNC the first store to a page is a fault in which the file system makes
its metadata durable, and an extent that is allocated and not written has to be converted there
too.  ``--json`` keeps the figures, ``--plot`` draws them (needs matplotlib).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pmemstore.mapping import Mapping

PAGE = 4096
#: Below 2 MiB, so that the kernel maps single pages.
PAGES, FILES = 256, 4
SOURCE = Path(__file__).with_suffix(".c")
GUEST_FOLDERS = ["/mnt/ext4-dax", "/mnt/xfs-dax"]


# ---- ranges -------------------------------------------------------------------------------


def unwritten(path: Path) -> None:
    """Allocated and synced: what posix_fallocate leaves."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, PAGES * PAGE)
    os.fsync(fd)
    os.close(fd)


def zeroed(path: Path) -> None:
    """Zeroes written and synced."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(fd, bytes(PAGES * PAGE))
    os.fsync(fd)
    os.close(fd)


def nothing(mapping: Mapping) -> None:
    pass


def prepare(mapping: Mapping) -> None:
    answer = mapping.prepare_write()
    assert answer.granted, answer.reason


def prepare_and_sync(mapping: Mapping) -> None:
    """Prepared, and then somebody syncs the file."""
    prepare(mapping)
    fd = os.open(mapping.path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


RANGES: dict[str, tuple[Callable[[Path], None], Callable[[Mapping], None]]] = {
    "unwritten": (unwritten, nothing),
    "zeroed": (zeroed, nothing),
    "prepared": (unwritten, prepare),
    "prepared, then synced by others": (unwritten, prepare_and_sync),
}


# ---- measuring ----------------------------------------------------------------------------


def dirty_files(folder: Path, count: int) -> None:
    """Make unrelated files, which nobody syncs."""
    folder.mkdir()
    for i in range(count):
        (folder / str(i)).write_bytes(b"x" * 100)


def measure(folder: Path, library: Path, dirty: int) -> list[dict[str, Any]]:
    """Return a row for each kind of range, quiet and with dirty files."""
    store = ctypes.CDLL(str(library)).store_to_pages
    store.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    rows = []
    for name, (make, before) in RANGES.items():
        for files in (0, dirty):
            times_ns: list[int] = []
            faults = 0
            for number in range(FILES):
                path = folder / f"{name} {files} {number}"
                make(path)
                with Mapping.open(path) as mapping:
                    before(mapping)
                    if files:  # now: the sync of prepare_write would have made them clean
                        dirty_files(folder / f"{name} {number} dirty", files // FILES)
                    times, count = stores(store, mapping)
                    tier = mapping.tier
                times_ns += times
                faults += count
                path.unlink()
            rows.append(
                {
                    "folder": folder.parent.name,
                    "tier": tier,
                    "range": name,
                    "dirty_files": files,
                    "stores": len(times_ns),
                    "faults": faults,
                    **quantiles_us(times_ns),
                }
            )
    return rows


def stores(store: Any, mapping: Mapping) -> tuple[list[int], int]:
    """Store to each page; return the times in ns, and how many page faults there were."""
    times = (ctypes.c_uint64 * PAGES)()
    ctypes.memset(times, 1, ctypes.sizeof(times))  # its own faults, now
    with mapping.view() as view:
        start = ctypes.c_char.from_buffer(view)
        address = ctypes.addressof(start)
        scratch = (ctypes.c_char * PAGE)()
        store(ctypes.addressof(scratch), 1, ctypes.addressof(times))  # the code's faults too
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        store(address, PAGES, ctypes.addressof(times))
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        del start
    return list(times), faults


def quantiles_us(times_ns: list[int]) -> dict[str, float]:
    ordered = sorted(times_ns)

    def at(part: float) -> float:
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)] / 1000

    return {"p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1)}


def build(folder: Path) -> Path:
    library = folder / "fault_latency.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)
    return library


def measure_folders(folders: list[str], library: Path, dirty: int) -> dict[str, Any]:
    rows = []
    for folder in folders:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            rows += measure(Path(scratch), library, dirty)
    return {"kernel": platform.release(), "machine": platform.machine(), "rows": rows}


def measure_in_guest(dirty: int) -> dict[str, Any]:
    """Boot the guest of the tests, and let this program run there."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "daxvm"))
    from guest import SHARE, Guest
    from machines import MACHINES

    with tempfile.TemporaryDirectory(prefix="pmemstore-") as name:
        share = Path(name) / "share"
        share.mkdir()
        build(share)
        command = [sys.executable, __file__, "--dirty-files", str(dirty)]
        command += ["--library", f"{SHARE}/fault_latency.so", "--json", f"{SHARE}/result.json"]
        for folder in GUEST_FOLDERS:
            command += ["--dir", folder]
        with Guest(MACHINES["nvdimm"], Path(name), command) as guest:
            result = guest.wait()
        if result.code:
            raise RuntimeError(result.stdout + result.stderr)
        return {"guest": True} | json.loads((share / "result.json").read_text())


# ---- showing ------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    where = "emulated NVDIMMs in a guest" if result.get("guest") else "this machine"
    lines = [f"First stores, with flush and fence, us; {where}, Linux {result['kernel']}", ""]
    lines.append(
        f"{'':10} {'range':32} {'dirty files':>11} {'p50':>8} {'p99':>9} {'max':>9} faults"
    )
    for row in result["rows"]:
        lines.append(
            f"{row['folder']:10} {row['range']:32} {row['dirty_files']:11} {row['p50_us']:8.1f} "
            f"{row['p99_us']:9.1f} {row['max_us']:9.1f} {row['faults']:4} of {row['stores']}"
        )
    return "\n".join(lines)


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw p50, p99 and max of each row, on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "fault_latency", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    folders = list(dict.fromkeys(row["folder"] for row in result["rows"]))
    figure, axes = pyplot.subplots(1, len(folders), figsize=(9, 3.4), sharex=True, sharey=True)
    for axis, folder in zip(axes if len(folders) > 1 else [axes], folders, strict=True):
        rows = [row for row in result["rows"] if row["folder"] == folder][::-1]
        for y, row in enumerate(rows):
            color = "#1b7837" if row["faults"] == 0 else "#b2182b"
            axis.plot([row["p50_us"], row["max_us"]], [y, y], color=color, lw=1, alpha=0.5)
            for key, marker in (("p50_us", "o"), ("p99_us", "|"), ("max_us", "x")):
                axis.plot(row[key], y, marker, color=color, ms=8 if marker == "|" else 5)
        axis.set_yticks(
            range(len(rows)),
            [
                r["range"] + (f", {r['dirty_files']} dirty files" if r["dirty_files"] else "")
                for r in rows
            ],
        )
        axis.set_xscale("log")
        axis.set_title(folder)
        axis.minorticks_off()
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("first store to a page, \u00b5s: \u25cf p50, | p99, \u00d7 max", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", action="append", metavar="DIR")
    parser.add_argument("--dirty-files", type=int, default=4000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="measure nothing")
    parser.add_argument("--library", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.from_json:
        result = json.loads(args.from_json.read_text())
    elif args.dir:
        with tempfile.TemporaryDirectory() as scratch:
            library = args.library or build(Path(scratch))
            result = measure_folders(args.dir, library, args.dirty_files)
    else:
        result = measure_in_guest(args.dirty_files)
    print(table(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if args.plot:
        plot(result, args.plot)


if __name__ == "__main__":
    main()

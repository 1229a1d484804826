"""A time series in two arrays: appended in batches, read without a copy, and plotted.

    python examples/05_time_series.py                    a day of one sensor, and readings.png
    python examples/05_time_series.py                    the next day

``root["time"]`` and ``root["value"]`` are arrays of the same length, because each batch is appended
to both in one transaction.  NumPy works on the mapped file itself: nothing is loaded, and only the
pages that a question touches are read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import pmemstore

START = np.datetime64("2026-01-01T00:00:00", "s")
BATCH = 600  # readings, one a second


def measure(first: int, count: int) -> np.ndarray:
    """Return what the sensor reads: a day's warmth, weather, and noise; the same in every run."""
    seconds = np.arange(first, first + count)
    noise = np.random.default_rng(first).normal(0, 0.3, count)
    return 12 - 6 * np.cos(2 * np.pi * seconds / 86_400) + 3 * np.sin(seconds / 250_000) + noise


def record_day(pool: pmemstore.Pool, readings: int) -> np.datetime64:
    """Append so many readings; return the time of the first one."""
    root = pool.root
    root.setdefault("time", np.empty(0, "datetime64[s]"))
    root.setdefault("value", np.empty(0))
    begin = START + len(root["value"])
    for _ in range(0, readings, BATCH):
        first = len(root["value"])
        with pool.transaction():
            root["time"].extend(START + np.arange(first, first + BATCH))
            root["value"].extend(measure(first, BATCH))
    return begin


def correct(pool: pmemstore.Pool, since: np.datetime64, offset: float) -> int:
    """Add an offset to all readings from a moment on; return how many these are."""
    first = int(np.searchsorted(np.asarray(pool.root["time"]), since))
    values = pool.root["value"]
    with pool.transaction(), values.write(slice(first, None)) as view:
        view += offset
    return len(values) - first


def plot(pool: pmemstore.Pool, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    times, values = np.asarray(pool.root["time"]), np.asarray(pool.root["value"])
    whole = len(values) // BATCH * BATCH
    means = values[:whole].reshape(-1, BATCH).mean(axis=1)
    figure, axes = pyplot.subplots(figsize=(9, 3), layout="constrained")
    axes.plot(times[:whole:BATCH], means)
    axes.set(ylabel="°C", title=f"{len(values)} readings, means of {BATCH} s")
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pool", type=Path, default=Path("readings.pool"))
    parser.add_argument("--readings", type=int, default=86_400)
    parser.add_argument("--plot", type=Path, default=Path("readings.png"))
    options = parser.parse_args(arguments)
    with pmemstore.open(options.pool, "c") as pool:
        begin = record_day(pool, options.readings)
        times, values = np.asarray(pool.root["time"]), np.asarray(pool.root["value"])
        night = (times >= START) & (times < START + np.timedelta64(6, "h"))
        print(f"{len(values)} readings, {values.min():.1f} to {values.max():.1f} °C")
        print(f"first night: {values[night].mean():.2f} °C on average")
        del times, values, night
        print(f"corrected: {correct(pool, begin + 300, 0.5)} readings")
        plot(pool, options.plot)
        print(f"plotted: {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One module for each question; ``ask(bench)`` answers it and adds rows."""

from questions import growth, mixes, opening, operations, scattered, threads, values

__all__ = ["QUESTIONS"]

QUESTIONS = {
    "operations": operations,
    "scattered": scattered,
    "mixes": mixes,
    "values": values,
    "threads": threads,
    "growth": growth,
    "opening": opening,
}

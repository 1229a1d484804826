"""One module for each question; ``ask(bench)`` answers it and adds rows."""

from questions import growth, mixes, opening, operations, threads, values

__all__ = ["QUESTIONS"]

QUESTIONS = {
    "operations": operations,
    "mixes": mixes,
    "values": values,
    "threads": threads,
    "growth": growth,
    "opening": opening,
}

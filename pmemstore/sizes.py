"""Numbers of bytes, as people write them."""

from __future__ import annotations

import operator
import re
from typing import Final

__all__ = ["Size", "parse_size"]

Size = int | str

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(size: Size, name: str) -> int:
    """Return a number of bytes.

    Args:
        size: An int, or text: digits and K, M, G or T, powers of 1024 each; ``MB`` and ``MiB``
            are as good.
        name: For the message.

    Raises:
        ValueError: Neither, or not positive.

    Example:
        >>> parse_size("64M", "size")
        67108864
    """
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+)\s*([KMGT]?)(?:i?B)?\s*", size, re.IGNORECASE | re.ASCII)
        number = int(match[1]) * _UNITS[match[2].upper()] if match else 0
    else:
        try:
            number = operator.index(size)
        except TypeError:
            raise TypeError(
                f"{name} must be an int or text like '64M', not {type(size).__name__}"
            ) from None
    if not 0 < number < 2**63:
        raise ValueError(f"{name} must be a number of bytes, or text like '64M', not {size!r}")
    return number

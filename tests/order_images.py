"""Images of keys of sorted containers, made by docs/format.md alone; for other tests."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from pmemstore._native import lib


def in_utf8(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def number_image(number: int | float | Fraction) -> bytes:
    """Return the image of a number as the page defines it."""
    number = Fraction(number)
    if number == 0:
        return b"\x80"
    size, exponent = abs(number), 0
    while size >= 2:
        size, exponent = size / 2, exponent + 1
    while size < 1:
        size, exponent = size * 2, exponent - 1
    image, rest = bytearray((0xC000 + 8192 + exponent).to_bytes(2, "big")), size - 1
    while True:
        group, rest = divmod(rest * 128, 1)
        image.append(2 * int(group) + (rest != 0))
        if rest == 0:
            return bytes(image) if number > 0 else bytes(255 - byte for byte in image)


def item_image(key: Any) -> bytes:
    """Return kind and image of an item of a tuple."""
    if key is None:
        return bytes([lib.PMS_ORDER_NONE])
    if isinstance(key, tuple):
        return bytes([lib.PMS_ORDER_TUPLE]) + b"".join(map(item_image, key)) + b"\0"
    if isinstance(key, (str, bytes)):
        kind = lib.PMS_ORDER_STR if isinstance(key, str) else lib.PMS_ORDER_BYTES
        return bytes([kind]) + in_utf8(key).replace(b"\0", b"\0\xff") + b"\0\x01"
    return bytes([lib.PMS_ORDER_NUMBER]) + number_image(key)

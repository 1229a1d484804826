"""Values and keys as bytes: msgpack with extension types.  No pickle anywhere.

None, bool, int of 64 bits, float, str and bytes have cells of their own and never come here.
An int of any size becomes ``BIGINT``, little-endian two's complement.  All else is ``PACKED``:
one msgpack object, made of nil, bool, int, float64, str, bin, array (a tuple), and these
extension types, whose numbers are part of the file format:

====  ==================  =============================================================
code  type                contents
====  ==================  =============================================================
1     int                 beyond 64 bits: little-endian two's complement
2     str                 with lone surrogates: UTF-8 that encodes them like other code points
3     frozenset           array of the items, sorted by their bytes
4     Decimal             its text, ASCII
5     UUID                16 bytes, big-endian
6     complex             real and imaginary part, two little-endian doubles
7     Fraction            array: numerator, denominator
8     range               array: start, stop, step
9     date                array: proleptic ordinal
10    time                array: microseconds of the day, fold, zone
11    datetime            array: proleptic ordinal, microseconds of the day, fold, zone
12    timedelta           array: days, seconds, microseconds
13    path                array: 0 PurePosixPath, 1 PureWindowsPath, 2 PosixPath; its text
14    enum member         array: its class, its name or, of a Flag, an array of names
15    IP address          array: 0 to 5 (see ``netaddr.py``), its text
16    registered type     array: name of the type, what ``pack`` made of the object
32    number (key)        array: numerator, denominator; a fraction that no double equals
33    complex (key)       array: real, imaginary part, as numbers
34    datetime (key)      array: microseconds in UTC since 0001-01-01
35    time (key)          array: microseconds in UTC, may be negative
36    range (key)         array: length, start, step; zeroes where they do not matter
====  ==================  =============================================================

A zone is nil (naive), an int (fixed offset, microseconds), an array of offset and name, or the
str key of a zone of the IANA database.  A str with lone surrogates works everywhere; its bytes
are those of ``str.encode("utf-8", "surrogatepass")``.

Keys are compared by their *image*, which is the same for keys that are equal in Python:
``(1, 2.0)`` and ``(True, 2)``, ``Decimal("0.5")`` and ``0.5``, aware datetimes that mean the
same instant, ``Path("a")`` and ``PurePosixPath("a")``.  The key that was put first is kept
beside its image when they differ; but what equals an int of 64 bits, a float or a str (a
Decimal, an IntEnum or StrEnum member, a numpy scalar) is kept as that number or str.

Reading never imports a module and never calls what a pool names: the class of an enum member is
looked up among those that are there, a registered type among those that were registered.
"""

from pmemstore.values.codes import DEPTH_MAX, KEY_DIGITS_MAX
from pmemstore.values.decode import unpack
from pmemstore.values.encode import pack_value
from pmemstore.values.hints import not_persistable, prefixed
from pmemstore.values.keys import pack_key
from pmemstore.values.opaque import Opaque
from pmemstore.values.types import register

__all__ = [
    "DEPTH_MAX",
    "KEY_DIGITS_MAX",
    "Opaque",
    "not_persistable",
    "pack_key",
    "pack_value",
    "prefixed",
    "register",
    "unpack",
]

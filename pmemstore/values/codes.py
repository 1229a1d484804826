"""Numbers of the format of values, and bounds."""

from __future__ import annotations

from typing import Final

from pmemstore._native import lib

BIGINT: Final[int] = lib.PMS_TAG_BIGINT
PACKED: Final[int] = lib.PMS_TAG_PACKED

EXT_INT: Final = 1
EXT_STR: Final = 2
EXT_FROZENSET: Final = 3
EXT_DECIMAL: Final = 4
EXT_UUID: Final = 5
EXT_COMPLEX: Final = 6
EXT_FRACTION: Final = 7
EXT_RANGE: Final = 8
EXT_DATE: Final = 9
EXT_TIME: Final = 10
EXT_DATETIME: Final = 11
EXT_TIMEDELTA: Final = 12
EXT_PATH: Final = 13
EXT_ENUM: Final = 14
EXT_IP: Final = 15
EXT_REGISTERED: Final = 16
EXT_NUMBER_KEY: Final = 32
EXT_COMPLEX_KEY: Final = 33
EXT_DATETIME_KEY: Final = 34
EXT_TIME_KEY: Final = 35
EXT_RANGE_KEY: Final = 36

#: Levels of tuples, frozensets and registered types inside one value.
DEPTH_MAX: Final = 200
#: Digits of a number that is compared exactly as a key.
KEY_DIGITS_MAX: Final = 5000
#: Characters of the name of a registered type.
NAME_MAX: Final = 255

#: Bytes of a packed value that may say anything about its length.
UNTRUSTED_MIN: Final = 512

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1

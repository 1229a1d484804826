# Types of core.cdef.txt, in its order. A struct or pointer of C is CData. Arguments of C
# functions are positional. tests/test_native.py compares.
from typing import Any, Final

CData = Any

class _Lib:
    # build
    PMS_HAVE_SLOTS: Final[int]

    # status.h
    PMS_OK: Final[int]
    PMS_MISSING: Final[int]
    PMS_E_CORRUPT: Final[int]
    PMS_E_FORMAT: Final[int]
    PMS_E_FULL: Final[int]
    PMS_E_BUSY: Final[int]
    PMS_E_CLOSED: Final[int]
    PMS_E_DURABILITY: Final[int]
    PMS_E_TX: Final[int]
    PMS_E_STALE: Final[int]
    PMS_E_MEDIA: Final[int]
    PMS_E_OS: Final[int]
    PMS_E_NOMEM: Final[int]
    PMS_E_TIMEOUT: Final[int]
    PMS_E_INTR: Final[int]
    PMS_E_CHANGED: Final[int]
    PMS_E_FORKED: Final[int]
    PMS_E_READONLY: Final[int]
    PMS_E_POISONED: Final[int]
    PMS_E_INVAL: Final[int]
    def pms_detail(self) -> CData: ...

lib: Final[_Lib]
ffi: Final[Any]

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

    # persist.h
    PMS_TIER_NONE: Final[int]
    PMS_TIER_EADR: Final[int]
    PMS_TIER_FLUSH: Final[int]
    PMS_TIER_DAX_FSYNC: Final[int]
    PMS_TIER_SYNC: Final[int]
    PMS_TIER_VOLATILE: Final[int]
    PMS_FLUSH_AUTO: Final[int]
    PMS_FLUSH_NONE: Final[int]
    PMS_FLUSH_CLFLUSH: Final[int]
    PMS_FLUSH_CLFLUSHOPT: Final[int]
    PMS_FLUSH_CLWB: Final[int]
    PMS_FLUSH_DC_CVAP: Final[int]
    PMS_FLUSH_DC_CVAC: Final[int]
    def pms_flush_name(self, kind: int, /) -> CData: ...
    def pms_tier_name(self, tier: int, /) -> CData: ...

    # map.h
    PMS_MAP_READONLY: Final[int]
    PMS_MAP_PRIVATE: Final[int]
    PMS_MAP_RAW: Final[int]
    PMS_EXTENT_UNKNOWN: Final[int]
    PMS_EXTENT_HOLE: Final[int]
    PMS_EXTENT_UNWRITTEN: Final[int]
    PMS_EXTENT_SHARED: Final[int]
    PMS_EXTENT_DELALLOC: Final[int]
    PMS_REASON_MAX: Final[int]

    # map_user.h
    def pms_mapping_open(self, out: CData, fd: int, size: int, flags: int, /) -> int: ...
    def pms_mapping_close(self, u: CData, /) -> int: ...
    def pms_mapping_free(self, u: CData, /) -> None: ...
    def pms_mapping_info(self, u: CData, info: CData, /) -> None: ...
    def pms_mapping_flush(self, u: CData, off: int, length: int, /) -> int: ...
    def pms_mapping_fence(self, u: CData, /) -> int: ...
    def pms_mapping_persist(self, u: CData, off: int, length: int, /) -> int: ...
    def pms_mapping_prepare(self, u: CData, off: int, length: int, answer: CData, /) -> int: ...
    def pms_mapping_check(self, u: CData, /) -> int: ...
    def pms_mapping_fill(self, fd: int, size: int, /) -> int: ...
    def pms_mapping_sync_dir(self, fd: int, /) -> int: ...

lib: Final[_Lib]
ffi: Final[Any]

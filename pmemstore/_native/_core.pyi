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
    PMS_E_WAIT: Final[int]
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

    # layout.h
    PMS_LINE: Final[int]
    PMS_PAGE: Final[int]
    PMS_MAGIC: Final[int]
    PMS_FORMAT_VERSION: Final[int]
    PMS_SUPER_OFF: Final[int]
    PMS_ANCHOR_OFF: Final[int]
    PMS_ROOT_OFF: Final[int]
    PMS_RESERVED_OFF: Final[int]
    PMS_LOG_OFF: Final[int]
    PMS_REGION_ALIGN: Final[int]
    PMS_LOG_MIN: Final[int]
    PMS_LOG_MAX: Final[int]
    PMS_POOL_MIN: Final[int]
    PMS_POOL_MAX: Final[int]
    PMS_REGIONS_MAX: Final[int]
    PMS_ENTRY_BYTES: Final[int]
    PMS_ENTRY_FRESH: Final[int]
    PMS_ENTRY_EXTENT: Final[int]
    PMS_ENTRY_WORDS_MAX: Final[int]
    PMS_DESC_BYTES: Final[int]
    PMS_SPAN_PAGES: Final[int]
    PMS_BIGSPAN_PAGES: Final[int]
    PMS_CELL_SHORT: Final[int]
    PMS_CELL_INNER: Final[int]
    PMS_OBJECT_MAGIC: Final[int]
    PMS_DICT_DIR_WORDS: Final[int]
    PMS_DICT_SEG_BUCKETS: Final[int]
    PMS_KEY_INNER_MAX: Final[int]
    PMS_KEY_FAR: Final[int]
    PMS_LEAF_CELLS: Final[int]
    PMS_LEAF_MAGIC: Final[int]
    PMS_NODE_KIDS: Final[int]
    PMS_NODE_MAGIC: Final[int]
    PMS_MODE_DIRECT: Final[int]
    PMS_MODE_FILE: Final[int]
    PMS_FRAME_UNDO: Final[int]
    PMS_FRAME_OVERFLOW: Final[int]
    PMS_FRAME_COMMIT: Final[int]
    PMS_FRAME_REDO: Final[int]
    PMS_PAGE_FREE: Final[int]
    PMS_PAGE_SPAN: Final[int]
    PMS_PAGE_BIGSPAN: Final[int]
    PMS_PAGE_RUN: Final[int]
    PMS_TAG_EMPTY: Final[int]
    PMS_TAG_NONE: Final[int]
    PMS_TAG_FALSE: Final[int]
    PMS_TAG_TRUE: Final[int]
    PMS_TAG_INT: Final[int]
    PMS_TAG_FLOAT: Final[int]
    PMS_TAG_STR: Final[int]
    PMS_TAG_BYTES: Final[int]
    PMS_TAG_BIGINT: Final[int]
    PMS_TAG_PACKED: Final[int]
    PMS_TAG_DICT: Final[int]
    PMS_TAG_LIST: Final[int]

    # heap.h
    PMS_CLASSES: Final[int]
    PMS_SMALL_MAX: Final[int]
    def pms_heap_capacity(self, len: int, /) -> int: ...

    # pool.h
    def pms_pool_close(self, pool: CData, /) -> int: ...
    def pms_pool_grow(self, pool: CData, size: int, /) -> int: ...
    def pms_pool_checkpoint(self, pool: CData, /) -> int: ...
    def pms_pool_stats(self, pool: CData, out: CData, /) -> int: ...
    def pms_pool_heap_stats(self, pool: CData, out: CData, /) -> int: ...
    def pms_pool_reason(self, pool: CData, /) -> CData: ...
    def pms_pool_tier(self, pool: CData, /) -> int: ...

    # object.h
    def pms_pool_collect(self, pool: CData, freed_bytes: CData, /) -> int: ...

    # table.h
    def pms_key_hash(self, pool: CData, key: CData, /) -> int: ...

    # open.h
    PMS_SIZE_DEFAULT: Final[int]
    PMS_LOG_DEFAULT: Final[int]
    def pms_pool_open(self, path: bytes, options: CData, out: CData, /) -> int: ...

    # bind.h
    def pms_bind_check(
        self, pool: CData, timeout_ns: int, text: CData, room: int, out: CData, /
    ) -> int: ...
    def pms_bind_permute(
        self, pool: CData, list: int, timeout_ns: int, order: CData, count: int, /
    ) -> int: ...

lib: Final[_Lib]
ffi: Final[Any]

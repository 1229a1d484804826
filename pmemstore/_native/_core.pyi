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
    PMS_EV_STORE: Final[int]
    PMS_EV_NT_STORE: Final[int]
    PMS_EV_FLUSH: Final[int]
    PMS_EV_FENCE: Final[int]
    PMS_EV_WRITE: Final[int]
    PMS_EV_WRITE_SYNC: Final[int]
    PMS_EV_SYNC: Final[int]
    PMS_EV_ALLOCATE: Final[int]
    PMS_EV_TRUNCATE: Final[int]
    PMS_EV_CREATE: Final[int]
    PMS_EV_LINK: Final[int]
    PMS_EV_RENAME: Final[int]
    PMS_EV_UNLINK: Final[int]
    PMS_EV_SYNC_DIR: Final[int]
    PMS_EV_DURABLE: Final[int]
    PMS_EV_MARK: Final[int]
    def pms_flush_name(self, kind: int, /) -> CData: ...
    def pms_tier_name(self, tier: int, /) -> CData: ...

    # machine.h
    PMS_SECTOR: Final[int]
    def pms_machine_init(self, m: CData, room: int, /) -> int: ...
    def pms_machine_free(self, m: CData, /) -> None: ...
    def pms_machine_load(self, m: CData, data: CData, size: int, /) -> int: ...
    def pms_machine_copy(self, m: CData, source: CData, /) -> int: ...
    PMS_ITEM_LINE: Final[int]
    PMS_ITEM_SECTOR: Final[int]
    PMS_ITEM_SIZE: Final[int]
    PMS_ITEM_NAME: Final[int]
    def pms_machine_items(self, m: CData, /) -> int: ...
    def pms_machine_item(self, m: CData, i: int, out: CData, /) -> None: ...
    def pms_machine_image(self, m: CData, state: CData, /) -> int: ...
    def pms_image_open(self, f: CData, path: CData, room: int, /) -> int: ...
    def pms_image_put(self, f: CData, data: CData, size: int, /) -> int: ...
    def pms_image_close(self, f: CData, /) -> None: ...
    def pms_plan_begin(self, plan: CData, m: CData, most: int, dice: int, /) -> int: ...
    def pms_plan_next(self, plan: CData, /) -> int: ...
    def pms_plan_free(self, plan: CData, /) -> None: ...

    # trace.h
    def pms_trace_new(self, out: CData, /) -> int: ...
    def pms_trace_free(self, trace: CData, /) -> None: ...
    def pms_trace_record(self, trace: CData, event: CData, /) -> int: ...
    def pms_trace_where(self, where: int, /) -> None: ...
    def pms_trace_mark(self, trace: CData, number: int, /) -> int: ...
    PMS_VIEW_FILE: Final[int]
    PMS_VIEW_LINES: Final[int]
    PMS_VIEW_EADR: Final[int]
    def pms_trace_view(self, trace: CData, base: CData, size: int, kind: int, /) -> int: ...
    def pms_trace_look(self, trace: CData, /) -> None: ...
    def pms_trace_status(self, trace: CData, /) -> int: ...
    def pms_trace_count(self, trace: CData, /) -> int: ...
    def pms_trace_at(self, trace: CData, number: int, /) -> CData: ...
    def pms_play_next(self, play: CData, stops: int, more: CData, /) -> int: ...

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

    # mapping.h
    def pms_mapping_open(
        self, out: CData, fd: int, size: int, flags: int, watch: int, /
    ) -> int: ...
    def pms_mapping_record(self, u: CData, recorder: CData, context: CData, /) -> None: ...
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
    PMS_BUCKET_LINKS: Final[int]
    PMS_DICT_BLOCKS: Final[int]
    PMS_DICT_SEG_BUCKETS: Final[int]
    PMS_DICT_NODE_WORDS: Final[int]
    PMS_DICT_TAG_BITS: Final[int]
    PMS_LINK_MORE: Final[int]
    PMS_ENTRY_MIN: Final[int]
    PMS_KEY_INNER_MAX: Final[int]
    PMS_KEY_FAR: Final[int]
    PMS_LEAF_CELLS: Final[int]
    PMS_LEAF_MAGIC: Final[int]
    PMS_NODE_KIDS: Final[int]
    PMS_NODE_MAGIC: Final[int]
    PMS_ARRAY_DIMS: Final[int]
    PMS_SORTED_ENTRY_MIN: Final[int]
    PMS_SORTED_REFS: Final[int]
    PMS_SORTED_COMMON: Final[int]
    PMS_SORTED_ORDER: Final[int]
    PMS_SORTED_LEAF_MAGIC: Final[int]
    PMS_SORTED_KIDS: Final[int]
    PMS_SORTED_NODE_MAGIC: Final[int]
    PMS_RECORD_BYTES_MAX: Final[int]
    PMS_RECORD_FIELDS_MAX: Final[int]
    PMS_FIXED_MAX: Final[int]
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
    PMS_TAG_SET: Final[int]
    PMS_TAG_DEQUE: Final[int]
    PMS_TAG_ARRAY: Final[int]
    PMS_TAG_SORTED_DICT: Final[int]
    PMS_TAG_SORTED_SET: Final[int]
    PMS_ORDER_NONE: Final[int]
    PMS_ORDER_NUMBER: Final[int]
    PMS_ORDER_STR: Final[int]
    PMS_ORDER_BYTES: Final[int]
    PMS_ORDER_TUPLE: Final[int]
    PMS_ORDER_DATE: Final[int]
    PMS_ORDER_DATETIME: Final[int]
    PMS_ORDER_INSTANT: Final[int]
    PMS_ORDER_TIME: Final[int]
    PMS_ORDER_TIMEDELTA: Final[int]
    PMS_ORDER_UUID: Final[int]
    PMS_TAG_RECORD: Final[int]
    PMS_TAG_SCHEMA: Final[int]
    PMS_FIELD_CELL: Final[int]
    PMS_FIELD_BOOL: Final[int]
    PMS_FIELD_INT8: Final[int]
    PMS_FIELD_INT16: Final[int]
    PMS_FIELD_INT32: Final[int]
    PMS_FIELD_INT64: Final[int]
    PMS_FIELD_UINT8: Final[int]
    PMS_FIELD_UINT16: Final[int]
    PMS_FIELD_UINT32: Final[int]
    PMS_FIELD_UINT64: Final[int]
    PMS_FIELD_FLOAT32: Final[int]
    PMS_FIELD_FLOAT64: Final[int]
    PMS_FIELD_STR: Final[int]
    PMS_FIELD_BYTES: Final[int]
    PMS_TAG_OBJECT_MIN: Final[int]
    PMS_TAG_OBJECTS: Final[int]

    # heap.h
    PMS_CLASSES: Final[int]
    PMS_SMALL_MAX: Final[int]
    def pms_heap_capacity(self, len: int, /) -> int: ...

    # watch.h
    PMS_WATCH_SHARED: Final[int]
    PMS_WATCH_LONGER: Final[int]
    PMS_WATCH_UNNAMED: Final[int]
    PMS_WATCH_RENAMED: Final[int]
    PMS_WATCH_IMMUTABLE: Final[int]
    PMS_WATCH_UNGUARDED: Final[int]
    PMS_WATCH_OPENED: Final[int]
    PMS_WATCH_AUTO: Final[int]
    PMS_WATCH_ALWAYS: Final[int]
    PMS_WATCH_OFF: Final[int]

    # pool.h
    PMS_PREPARE_AUTO: Final[int]
    PMS_PREPARE_NOW: Final[int]
    PMS_PREPARE_LAZY: Final[int]
    PMS_PROTECT_NONE: Final[int]
    PMS_PROTECT_FLAGS: Final[int]
    PMS_PROTECT_LEASE: Final[int]
    PMS_PROTECT_AUTO: Final[int]
    PMS_GUARD_NONE: Final[int]
    PMS_GUARD_APPEND_ONLY: Final[int]
    PMS_GUARD_IMMUTABLE: Final[int]
    PMS_GUARD_LEASE: Final[int]
    def pms_pool_prepare(self, pool: CData, off: int, length: int, answer: CData, /) -> int: ...
    def pms_pool_remember(self, pool: CData, /) -> int: ...
    def pms_pool_watched(self, pool: CData, full: int, out: CData, /) -> int: ...
    def pms_pool_close(self, pool: CData, /) -> int: ...
    def pms_pool_grow(self, pool: CData, size: int, /) -> int: ...
    def pms_pool_checkpoint(self, pool: CData, /) -> int: ...
    def pms_enter_read(self, pool: CData, handle: CData, /) -> int: ...
    def pms_enter_read_wait(self, pool: CData, handle: CData, timeout_ns: int, /) -> int: ...
    def pms_leave_read(self, pool: CData, /) -> int: ...
    def pms_enter_write(self, pool: CData, handle: CData, /) -> int: ...
    def pms_enter_write_wait(self, pool: CData, handle: CData, timeout_ns: int, /) -> int: ...
    def pms_leave_write(self, pool: CData, status: int, ticket: CData, /) -> int: ...
    def pms_wait_durable(self, pool: CData, ticket: int, /) -> int: ...
    def pms_tx_begin(self, pool: CData, depth: CData, /) -> int: ...
    def pms_tx_begin_wait(self, pool: CData, depth: CData, timeout_ns: int, /) -> int: ...
    def pms_tx_commit(self, pool: CData, depth: int, ticket: CData, /) -> int: ...
    def pms_tx_abort(self, pool: CData, depth: int, /) -> int: ...
    def pms_tx_depth(self, pool: CData, /) -> int: ...
    def pms_pool_stats(self, pool: CData, out: CData, /) -> int: ...
    def pms_pool_heap_stats(self, pool: CData, out: CData, /) -> int: ...
    def pms_pool_reason(self, pool: CData, /) -> CData: ...
    def pms_pool_tier(self, pool: CData, /) -> int: ...
    def pms_pool_protection(self, pool: CData, /) -> int: ...

    # value.h

    # object.h
    def pms_object_create(self, pool: CData, tag: int, off: CData, /) -> int: ...
    def pms_object_check(self, pool: CData, off: int, tag: int, /) -> int: ...
    def pms_object_ref(self, pool: CData, off: int, /) -> int: ...
    def pms_object_unref(self, pool: CData, off: int, /) -> int: ...
    def pms_object_orphan(self, pool: CData, off: int, /) -> int: ...
    def pms_object_reap(self, pool: CData, budget: int, /) -> int: ...
    def pms_pool_drop(self, pool: CData, /) -> None: ...
    def pms_pool_collect(self, pool: CData, freed_bytes: CData, /) -> int: ...
    def pms_handle_get(self, pool: CData, off: int, tag: int, /) -> CData: ...
    def pms_handle_put(self, handle: CData, /) -> None: ...
    def pms_pool_root(self, pool: CData, out: CData, /) -> int: ...

    # table.h
    def pms_key_hash(self, pool: CData, key: CData, /) -> int: ...
    def pms_dict_create(self, pool: CData, tag: int, off: CData, /) -> int: ...
    def pms_dict_len(self, pool: CData, dict: int, /) -> int: ...
    def pms_dict_get(self, pool: CData, dict: int, key: CData, out: CData, /) -> int: ...
    def pms_dict_contains(self, pool: CData, dict: int, key: CData, /) -> int: ...
    def pms_dict_set(self, pool: CData, dict: int, key: CData, value: CData, /) -> int: ...
    def pms_dict_del(self, pool: CData, dict: int, key: CData, /) -> int: ...
    def pms_dict_next(self, pool: CData, dict: int, entry: CData, /) -> int: ...
    def pms_dict_prev(self, pool: CData, dict: int, entry: CData, /) -> int: ...
    def pms_dict_entry(self, pool: CData, entry: int, key: CData, value: CData, /) -> int: ...
    def pms_dict_del_entry(self, pool: CData, dict: int, entry: int, /) -> int: ...
    def pms_dict_clear(self, pool: CData, dict: int, /) -> int: ...

    # vec.h
    def pms_list_create(self, pool: CData, tag: int, off: CData, /) -> int: ...
    def pms_list_len(self, pool: CData, list: int, /) -> int: ...
    def pms_list_get(self, pool: CData, list: int, index: int, out: CData, /) -> int: ...
    def pms_list_set(self, pool: CData, list: int, index: int, value: CData, /) -> int: ...
    def pms_list_insert(self, pool: CData, list: int, index: int, value: CData, /) -> int: ...
    def pms_list_append(self, pool: CData, list: int, value: CData, /) -> int: ...
    def pms_list_del(self, pool: CData, list: int, index: int, /) -> int: ...
    def pms_list_del_range(self, pool: CData, list: int, index: int, count: int, /) -> int: ...
    def pms_list_swap(self, pool: CData, list: int, a: int, b: int, /) -> int: ...
    def pms_list_reverse(self, pool: CData, list: int, /) -> int: ...
    def pms_list_clear(self, pool: CData, list: int, /) -> int: ...
    def pms_list_run(
        self, pool: CData, list: int, index: int, cell_off: CData, cells: CData, /
    ) -> int: ...

    # check.h

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

/* layout.h -- every byte of a pool file, format 1.  docs/format.md is this file in prose.
 *
 *   0         4096      8192     12288    16384     20480      65536      heap_start
 *   +---------+---------+--------+--------+---------+----------+----------+---------------
 *   | super 0 | super 1 | anchor | anchor | root    | reserved | log ring | region 0 | ...
 *   |         |         |   0    |   1    | page    | (zero)   |          |
 *   +---------+---------+--------+--------+---------+----------+----------+---------------
 *
 * All integers are little-endian.  An offset ("off") is a uint64_t counted from the start of
 * the file; pointers are never stored.  Structs that lie on the medium end in _pm and exist
 * in this file alone.  Every struct is followed by the assertion of its size.
 */
#ifndef PMS_LAYOUT_H
#define PMS_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pmemstore pools are little-endian; this machine is not"
#endif

#define PMS_LINE 64u
#define PMS_PAGE 4096u
#define PMS_MAGIC 0x4c4f4f504d454d50ull /* "PMEMPOOL" */
#define PMS_FORMAT_VERSION 1u

#define PMS_SUPER_OFF 0u        /* two slots, one page each */
#define PMS_ANCHOR_OFF 8192u    /* two slots, one page each */
#define PMS_ROOT_OFF 16384u     /* the root page: words that transactions change */
#define PMS_RESERVED_OFF 20480u /* zero up to the log */
#define PMS_LOG_OFF 65536u
#define PMS_REGION_ALIGN 262144u /* regions start and end at multiples of this */
#define PMS_HUGE                                                                               \
    (2u << 20) /* a huge page: sizes of larger files are multiples of it, where they can */
#define PMS_REDO_LAG 4u /* frames behind a REDO until its words are durable in their place */
#define PMS_LOG_MIN 4096u
#define PMS_LOG_MAX (1ull << 30)
#define PMS_POOL_MIN (2u * PMS_REGION_ALIGN)
#define PMS_POOL_MAX (1ull << 44) /* 16 TiB: 40-bit references in units of 16 bytes */
#define PMS_REGIONS_MAX 64u

/* A region: part of the heap with one table of page descriptors at its start.  The table has
 * a descriptor for each of cap_pages pages, also for those that the file does not have yet
 * (only the last region may be incomplete; the superblock's size says how far it goes). */
struct pms_region_pm {
    uint64_t start;     /* offset, multiple of PMS_REGION_ALIGN */
    uint64_t cap_pages; /* pages up to the region's end, table included */
};
static_assert(sizeof(struct pms_region_pm) == 16, "two words");

/* What a pool is.  Both slots hold the same; growth writes one, makes it durable, then the
 * other.  The valid slot with the higher gen counts. */
struct pms_super_pm {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes; /* sizeof(struct pms_super_pm) */
    uint64_t gen;          /* +1 each time the geometry changes */
    uint8_t uuid[16];
    uint64_t compat;     /* unknown bits: ignore */
    uint64_t ro_compat;  /* unknown bits: open for reading only */
    uint64_t incompat;   /* unknown bits: do not open */
    uint64_t created_ns; /* since the epoch, for people only */
    uint64_t hash_seed;  /* seed of the key hash, random: hostile keys cannot collide */
    uint64_t log_off;
    uint64_t log_bytes;
    uint64_t heap_start; /* offset of region 0 */
    uint64_t size;       /* bytes of the file that are written and usable */
    uint64_t limit;      /* bytes that the pool may grow to; PMS_POOL_MAX: no limit */
    uint32_t nregions;
    uint32_t in_use;          /* 1 while open for writing and shutdown_device is not 0 */
    uint64_t shutdown_device; /* name of the memory modules that shutdowns counts; 0: none */
    uint64_t shutdowns;       /* their count of unsafe shutdowns at the last open for writing */
    uint64_t shutdowns_in_use; /* unsafe shutdowns that met the pool in use */
    uint64_t guard_flags; /* file flags that an open pool has set (pool_guard.c); 0: none */
    uint64_t guard_inode; /* ... on the file with this number: a copy has another one */
    uint64_t zero1[3];
    struct pms_region_pm regions[PMS_REGIONS_MAX];
    uint64_t csum; /* pms_hash of all bytes before it, seed PMS_MAGIC */
};
static_assert(offsetof(struct pms_super_pm, regions) == 192, "regions start at a line");
static_assert(sizeof(struct pms_super_pm) == 192 + 16 * PMS_REGIONS_MAX + 8, "no padding");
static_assert(sizeof(struct pms_super_pm) <= PMS_PAGE, "a slot is a page");

/* How the frames behind an anchor are to be read: see docs/format.md, "Two media". */
enum pms_mode {
    PMS_MODE_DIRECT = 1, /* undo log; stores in place through a shared mapping */
    PMS_MODE_FILE = 2    /* redo log; private mapping, checkpoints */
};

/* Where recovery starts to read the log.  Two slots; the valid one with the higher gen. */
struct pms_anchor_pm {
    uint64_t gen;
    uint64_t seq;    /* first frame that recovery needs */
    uint64_t pos;    /* where that frame is in the ring (or 0, if it did not fit there) */
    uint64_t salt;   /* of the checksums of the frames from seq on */
    uint32_t mode;   /* enum pms_mode */
    uint32_t closed; /* 1: written by close; there are no frames from seq on */
    uint64_t zero1[2];
    uint64_t csum; /* pms_hash of the 56 bytes before it, seed PMS_MAGIC */
};
static_assert(sizeof(struct pms_anchor_pm) == 64, "one line: torn writes are seen");

/* ---- log frames ------------------------------------------------------------------- */

enum pms_frame_kind {
    PMS_FRAME_UNDO = 1,     /* entries with old bytes */
    PMS_FRAME_OVERFLOW = 2, /* all undo entries so far, in heap extents */
    PMS_FRAME_COMMIT = 3,   /* content hash, fresh extents */
    PMS_FRAME_REDO = 4      /* entries with new bytes, fresh extents, extents of entries */
};

struct pms_frame_pm {
    uint64_t seq;
    uint8_t kind;
    uint8_t zero0;
    uint16_t zero1;
    uint32_t words; /* payload, in words of 8 bytes */
    uint64_t csum;  /* pms_hash of the whole frame (padding too) with csum 0, seed salt */
    uint64_t txid;  /* seq of the transaction's first UNDO frame; REDO: 0 */
    /* uint64_t payload[words], then zeroes up to a multiple of 64 bytes */
};
static_assert(sizeof(struct pms_frame_pm) == 32, "half a line");

/* Payload entries.  A head word, then its words:
 *   bytes   off << 16 | n        n words of contents follow      off % 8 == 0, 1 <= n < 65536
 *   fresh   off << 16 | 1 << 16  two words: length in bytes, pms_hash of the bytes (seed 3)
 *   extent  off << 16 | 2 << 16  two words: length in bytes, pms_hash of the bytes (seed 3)
 * COMMIT starts with two words: the content hash, and 1 if data was fenced before the frame
 * (then nothing is hashed), else 0.
 */
#define PMS_ENTRY_BYTES 0u
#define PMS_ENTRY_FRESH 1u
#define PMS_ENTRY_EXTENT 2u
#define PMS_ENTRY(off, tag, n) ((uint64_t)(off) << 16 | (uint64_t)(tag) << 16 | (uint64_t)(n))
#define PMS_ENTRY_OFF(e) ((e) >> 16 & ~7ull)
#define PMS_ENTRY_TAG(e) ((uint32_t)((e) >> 16 & 7u))
#define PMS_ENTRY_N(e) ((uint32_t)((e) & 0xffffu))
#define PMS_ENTRY_WORDS_MAX 65535u

/* ---- root page --------------------------------------------------------------------- */

struct pms_root_pm {
    uint64_t root;    /* offset of the root dict; 0 only while the pool is being made */
    uint64_t orphans; /* first object that has no reference but is not yet torn down */
    uint64_t top;     /* page number (offset / 4096) behind the last page ever used */
    uint64_t schemas; /* offset of a dict, name -> newest schema; 0: no record was stored yet */
    uint64_t zero[4];
};
static_assert(sizeof(struct pms_root_pm) == 64, "one line");

/* ---- heap --------------------------------------------------------------------------- */

/* Page descriptor, 16 bytes, in the table at the start of its region.  Head descriptors:
 *   word 0 = kind | class << 8 | pages << 16   word 1 = 0
 * Free pages, and the inner pages of a run, have all-zero descriptors.  In a span, the bytes
 * behind the head up to the end of the span's descriptors are the allocation bitmap: block i
 * is bit i % 64 of word i / 64 (set: allocated). */
#define PMS_DESC_BYTES 16u
enum pms_page_kind {
    PMS_PAGE_FREE = 0,
    PMS_PAGE_SPAN = 1,    /* 16 pages of equal blocks, aligned to 16 pages in the file */
    PMS_PAGE_BIGSPAN = 2, /* 64 pages of equal blocks, aligned to 64 pages in the file */
    PMS_PAGE_RUN = 3      /* one allocation of whole pages */
};
#define PMS_SPAN_PAGES 16u
#define PMS_BIGSPAN_PAGES 64u
#define PMS_DESC_HEAD(kind, cls, pages)                                                        \
    ((uint64_t)(kind) | (uint64_t)(cls) << 8 | (uint64_t)(pages) << 16)
#define PMS_DESC_KIND(w) ((uint32_t)((w) & 0xffu))
#define PMS_DESC_CLASS(w) ((uint32_t)((w) >> 8 & 0xffu))
#define PMS_DESC_PAGES(w) ((w) >> 16)

/* ---- values: a cell of 16 bytes ------------------------------------------------------ */

/* byte 0 tag, byte 1 flags, bytes 2-3 zero, bytes 4-7 length, bytes 8-15 word.
 *   NONE FALSE TRUE   length and word 0
 *   INT               word = two's complement          FLOAT  word = IEEE bits
 *   STR BYTES BIGINT PACKED   length = bytes; if flags has PMS_CELL_SHORT the bytes are the
 *                     word itself (length <= 8, padded with zeroes); else word = offset of
 *                     the bytes: of a heap block of their own, or, with PMS_CELL_INNER, of a
 *                     place inside the dict entry that holds the cell
 *   DICT and above    word = offset of the object
 * STR is UTF-8 with lone surrogates encoded like other code points; BIGINT is little-endian
 * two's complement; PACKED is msgpack.  A length of 2^32-1 or more is not storable. */
enum pms_tag {
    PMS_TAG_EMPTY = 0, /* never a value */
    PMS_TAG_NONE = 1,
    PMS_TAG_FALSE = 2,
    PMS_TAG_TRUE = 3,
    PMS_TAG_INT = 4,
    PMS_TAG_FLOAT = 5,
    PMS_TAG_STR = 6,
    PMS_TAG_BYTES = 7,
    PMS_TAG_BIGINT = 8,
    PMS_TAG_PACKED = 9,
    PMS_TAG_DICT = 16,
    PMS_TAG_LIST = 17,
    PMS_TAG_SET = 18,
    PMS_TAG_DEQUE = 19,
    PMS_TAG_SORTED_DICT = 20,
    PMS_TAG_SORTED_SET = 21,
    PMS_TAG_ARRAY = 22,
    PMS_TAG_RECORD = 23,
    PMS_TAG_SCHEMA = 24
};
#define PMS_TAG_OBJECT_MIN 16u
#define PMS_TAG_OBJECTS 16u /* places for kinds of objects */
#define PMS_CELL_SHORT 1u
#define PMS_CELL_INNER 2u

struct pms_cell_pm {
    uint32_t head; /* tag | flags << 8 */
    uint32_t len;
    uint64_t word; /* PMS_CELL_INNER: the first of the bytes; they go on behind the cell */
};
static_assert(sizeof(struct pms_cell_pm) == 16, "two words");

/* ---- objects --------------------------------------------------------------------------- */

/* First 32 bytes of every container.  A REF cell (DICT, LIST, ...) in another object counts
 * one reference.  An object with none stands in the list of orphans (root page) until it is
 * torn down; an object with references is never in that list. */
struct pms_object_pm {
    uint32_t magic_kind; /* PMS_OBJECT_MAGIC | tag */
    uint32_t zero0;
    uint64_t refs;
    uint64_t orphan_next; /* offsets; 0 if none or not an orphan */
    uint64_t orphan_prev;
};
static_assert(sizeof(struct pms_object_pm) == 32, "half a line");
#define PMS_OBJECT_MAGIC 0x4f424a00u

/* Dict, and set (all values NONE): linear hashing for look-up, a doubly linked list for
 * insertion order.
 * 2^level + split buckets, each a line of PMS_BUCKET_LINKS links.  One bucket: it is the
 * header's line.  More: the header's words lead to them, see table.h. */
#define PMS_BUCKET_LINKS 8u
struct pms_bucket_pm {
    uint64_t link[PMS_BUCKET_LINKS];
};
static_assert(sizeof(struct pms_bucket_pm) == PMS_LINE, "a line");

#define PMS_DICT_BLOCKS 7u /* words 0..6 of the line: blocks of the first 2^7 buckets */
struct pms_dict_pm {
    struct pms_object_pm obj;
    uint64_t count;
    uint64_t last;  /* offset of the youngest entry; what an insert changes lies side by side */
    uint64_t shape; /* level | split << 8 */
    uint64_t first; /* offset of the oldest entry */
    uint64_t line[PMS_BUCKET_LINKS];
};
static_assert(sizeof(struct pms_dict_pm) == 2 * PMS_LINE, "two lines, the second a bucket's");
#define PMS_DICT_SEG_BUCKETS 64u /* in a segment: a page */
#define PMS_DICT_NODE_WORDS 512u /* in a node of the tree of segments: a page */

/* A link: reference in units of 16 bytes in the low 40 bits, extra in the high 24. */
#define PMS_LINK(off, extra) ((uint64_t)(off) >> 4 | (uint64_t)(extra) << 40)
#define PMS_LINK_OFF(w) (((w) & 0xffffffffffull) << 4)
#define PMS_LINK_EXTRA(w) ((uint32_t)((w) >> 40))
/* In a bucket: the extra of a link to an entry is its tag, PMS_DICT_TAG_BITS bits of the hash.
 * The last link of a full line may lead to a further one: then its extra is PMS_LINK_MORE. */
#define PMS_DICT_TAG_BITS 23u
#define PMS_LINK_MORE (1u << PMS_DICT_TAG_BITS)

/* Dict entry: 16 bytes, the key, then the value's cell, whose bytes may take all room up to the
 * block's end. */
struct pms_entry_pm {
    uint64_t next; /* link: next in insertion order, extra = own key tag | length << 8 */
    uint64_t prev; /* link: previous in insertion order, extra = 0 */
    /* key: NONE FALSE TRUE 0 bytes; INT FLOAT 8 bytes; STR BYTES of up to PMS_KEY_INNER_MAX
     * bytes: the bytes, padded with zeroes to 8.  PMS_KEY_FAR (STR or BYTES that are longer,
     * and all compound keys): a word with the offset of a block, struct pms_far_key_pm.  The
     * key length is that of the key's bytes in the entry: for far keys 8. */
};
static_assert(sizeof(struct pms_entry_pm) == 16, "no padding");
#define PMS_ENTRY_MIN 40u /* bytes of the smallest: a key of a word, and a cell */
#define PMS_KEY_INNER_MAX 1024u
#define PMS_KEY_FAR 63u /* key tag: the key is out of line */

struct pms_far_key_pm {
    uint32_t tag;    /* PMS_TAG_STR, BYTES, or PMS_TAG_PACKED (compound) */
    uint32_t image;  /* bytes that are hashed and compared */
    uint32_t stored; /* bytes that give the key back, if they differ from the image; else 0 */
    uint32_t zero;
    /* the image, padded with zeroes to 8; then the stored bytes */
};
static_assert(sizeof(struct pms_far_key_pm) == 16, "two words");

/* List, deque: a counted B+tree.  Leaves hold cells, nodes hold children with their counts. */
struct pms_list_pm {
    struct pms_object_pm obj;
    uint64_t count;
    uint64_t root;   /* offset of a leaf (height 0) or node; 0 if the list is empty */
    uint64_t height; /* of the root: 0 = leaf */
    uint64_t bound;  /* deque: 1 + its largest length; 0: without limit, and in every list */
};
static_assert(sizeof(struct pms_list_pm) == 64, "one line");

/* A leaf has room for 3, 7, 15, 31 or 63 cells (64 to 1024 bytes); only a leaf that is the
 * root has less than 63. */
#define PMS_LEAF_CELLS 63u
struct pms_leaf_pm {
    uint64_t head; /* PMS_LEAF_MAGIC << 32 | room << 16 | cells in use */
    uint64_t zero;
    struct pms_cell_pm cells[PMS_LEAF_CELLS];
};
static_assert(sizeof(struct pms_leaf_pm) == 1024, "a size class");
#define PMS_LEAF_MAGIC 0x4c454146ull

#define PMS_NODE_KIDS 63u
struct pms_kid_pm {
    uint64_t off;
    uint64_t count; /* cells below */
};
struct pms_node_pm {
    uint64_t head; /* PMS_NODE_MAGIC << 32 | kids in use */
    uint64_t zero;
    struct pms_kid_pm kids[PMS_NODE_KIDS];
};
static_assert(sizeof(struct pms_node_pm) == 1024, "a size class");
#define PMS_NODE_MAGIC 0x4e4f4445ull

/* Array: elements of one size and type, in C order, in one block. */
#define PMS_ARRAY_DIMS 32u
struct pms_array_pm {
    struct pms_object_pm obj;
    uint64_t count;    /* elements: the product of the shape */
    uint64_t block;    /* offset of the block; the elements begin at its first line; 0: none */
    uint64_t capacity; /* bytes from there on that elements may take; a multiple of 8 */
    uint32_t item;     /* bytes of an element, at least 1 */
    uint32_t ndim;
    struct pms_cell_pm type; /* STR: what an element is; docs/format.md, "Array" */
    uint64_t zero[2];
    uint64_t shape[PMS_ARRAY_DIMS]; /* those behind ndim are 0 */
};
static_assert(sizeof(struct pms_array_pm) == 352, "a size class");

/* Sorted dict, and sorted set (all values NONE): a counted B+tree of references to entries, in
 * the order of the keys' images; see sorted.h. */
struct pms_sorted_pm {
    struct pms_object_pm obj;
    uint64_t count;
    uint64_t root;   /* offset of a leaf (height 0) or node; 0 if there are no entries */
    uint64_t height; /* of the root: 0 = leaf */
    uint64_t order;  /* enum pms_order: what all keys are; 0 if there are none */
};
static_assert(sizeof(struct pms_sorted_pm) == 64, "one line");

/* What a key is: keys of different kinds have no order, as in Python.  Inside tuples the byte
 * before each item. */
enum pms_order {
    PMS_ORDER_NONE = 1, /* inside tuples alone */
    PMS_ORDER_NUMBER = 2,
    PMS_ORDER_STR = 3,
    PMS_ORDER_BYTES = 4,
    PMS_ORDER_TUPLE = 5,
    PMS_ORDER_DATE = 6,
    PMS_ORDER_DATETIME = 7, /* naive */
    PMS_ORDER_INSTANT = 8,  /* aware datetime */
    PMS_ORDER_TIME = 9,     /* naive */
    PMS_ORDER_TIMEDELTA = 10,
    PMS_ORDER_UUID = 11
};

/* Entry: the key's cell; the rest of its bytes, if they are INNER, padded to 8; if the key is
 * BIGINT or PACKED a word with the length of its image and the image, padded to 8; then the
 * value's cell, whose bytes may take all room up to the block's end.  An entry's key never
 * changes. */
struct pms_sorted_entry_pm {
    struct pms_cell_pm key;
};
static_assert(sizeof(struct pms_sorted_entry_pm) == 16, "two words");
#define PMS_SORTED_ENTRY_MIN 32u /* bytes of the smallest: two cells */

/* A leaf has room for 2, 10, 26 or 58 references; only a leaf that is the root has less than 58.
 * The images of all its keys begin with the same `common` bytes. */
#define PMS_SORTED_REFS 58u
#define PMS_SORTED_COMMON 24u
#define PMS_SORTED_ORDER 64u
struct pms_sorted_ref_pm {
    uint64_t entry;
    uint64_t prefix; /* 8 bytes of the image behind the common ones, the first one highest,
                        padded with zeroes */
};
struct pms_sorted_leaf_pm {
    uint64_t head; /* PMS_SORTED_LEAF_MAGIC << 32 | common << 16 | room << 8 | used */
    uint8_t bytes[PMS_SORTED_COMMON]; /* what the images begin with */
    uint8_t order[PMS_SORTED_ORDER];  /* [i]: which of the references is the i-th */
    struct pms_sorted_ref_pm refs[PMS_SORTED_REFS];
};
static_assert(sizeof(struct pms_sorted_leaf_pm) == 1024, "a size class");
#define PMS_SORTED_LEAF_MAGIC 0x534c4546ull

#define PMS_SORTED_KIDS 31u
struct pms_sorted_kid_pm {
    uint64_t off;
    uint64_t count;  /* entries below */
    uint64_t least;  /* the first of them */
    uint64_t prefix; /* of its image, as in a leaf */
};
struct pms_sorted_node_pm {
    uint64_t head; /* PMS_SORTED_NODE_MAGIC << 32 | common << 16 | kids in use */
    uint8_t bytes[PMS_SORTED_COMMON]; /* what the images of the kids' least keys begin with */
    struct pms_sorted_kid_pm kids[PMS_SORTED_KIDS];
};
static_assert(sizeof(struct pms_sorted_node_pm) == 1024, "a size class");
#define PMS_SORTED_NODE_MAGIC 0x534e4f44ull

/* ---- records --------------------------------------------------------------------------- */

/* A record's fields are its body, laid out as its schema says.  The body begins behind this
 * struct; after a change of the schema it is a block of its own, so that the record stays
 * where it is. */
struct pms_record_pm {
    struct pms_object_pm obj;
    uint64_t bytes;  /* of the body: as in the schema */
    uint64_t schema; /* offset of the schema; counts one reference of it */
    uint64_t body;   /* offset of the body */
};
static_assert(sizeof(struct pms_record_pm) == 56, "no padding");
#define PMS_RECORD_BYTES_MAX 32768u /* of a body */
#define PMS_RECORD_FIELDS_MAX 1024u /* of a schema */
#define PMS_FIXED_MAX 4096u         /* bytes of a fixed STR or BYTES */

enum pms_field_kind {
    PMS_FIELD_CELL = 1, /* a cell */
    PMS_FIELD_BOOL = 2, /* one byte, 0 or 1 */
    PMS_FIELD_INT8 = 3,
    PMS_FIELD_INT16 = 4,
    PMS_FIELD_INT32 = 5,
    PMS_FIELD_INT64 = 6,
    PMS_FIELD_UINT8 = 7,
    PMS_FIELD_UINT16 = 8,
    PMS_FIELD_UINT32 = 9,
    PMS_FIELD_UINT64 = 10,
    PMS_FIELD_FLOAT32 = 11,
    PMS_FIELD_FLOAT64 = 12,
    PMS_FIELD_STR = 13,  /* uint16_t length, UTF-8, zeroes */
    PMS_FIELD_BYTES = 14 /* uint16_t length, bytes, zeroes */
};

struct pms_field_pm {
    uint32_t off;   /* in the body */
    uint16_t kind;  /* enum pms_field_kind */
    uint16_t bit;   /* 1 + number of its presence bit; 0: it is always there */
    uint32_t count; /* items of a fixed array of numbers; 0: no array */
    uint32_t size;  /* bytes of one item; STR and BYTES: 2 + most */
};
static_assert(sizeof(struct pms_field_pm) == 16, "two words");

/* What the records of a class look like.  Never changed; fields[] follows. */
struct pms_schema_pm {
    struct pms_object_pm obj;
    uint64_t fields;         /* how many */
    uint64_t bytes;          /* of a body, a multiple of 8 */
    uint64_t fingerprint;    /* of names and types, for the binding */
    struct pms_cell_pm text; /* PACKED: names, types, defaults; see docs/format.md, "Record" */
};
static_assert(sizeof(struct pms_schema_pm) == 72, "no padding");

#endif

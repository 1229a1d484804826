/* table.h -- the persistent dict.  Works on offsets, inside enter/leave of pool.h.
 *
 *   header (2 lines)         blocks, segments        buckets: a line each
 *   count last shape    +--> [ ][ ]                  [tag,link  tag,link  ...  0 0]
 *   first               |    [ ][ ]                       |         |
 *   line[0..6] ---------+    [ ][ ][ ][ ]                 v         v
 *   line[7] --> nodes -----> [ ] ... [ ] 64          entries, linked next/prev (insertion order)
 *
 * Linear hashing: with level L and split S there are 2^L + S buckets, and a key with hash h is
 * in bucket b = h mod 2^L, or if b < S in h mod 2^(L+1).  An insert that finds PMS_DICT_LOAD
 * entries to a bucket divides bucket S and moves S on, so growth never copies the table.
 *
 * A bucket is a line: PMS_BUCKET_LINKS links to entries, filled from the first word.  If there
 * are more, the last word leads to a further line; at this load one get in 25 reads a second
 * line.  A dict of one bucket (8 entries) has it in its header.  Otherwise the header's words
 * lead to blocks: word k < 7 to buckets [2^k, 2^(k+1)), word 0 to 0 and 1, word 7 to a tree of
 * nodes of 512 words, above segments of 64 buckets, for buckets from 128 on.
 *
 * A link carries 23 bits of the hash of the entry that it leads to, from bit 0, 16 or 32 on, the
 * highest of these that the bucket's number has used up: so the bit that divides a bucket is
 * there, and of at least 8 bits the number tells nothing.  A miss looks at another entry's line
 * once in 64 times at worst (4 links, 8 bits), a hit half as often.
 *
 * The hash of a key is pms_hash of its image's bytes (INT, FLOAT: the 8 bytes of num; NONE:
 * none), seeded with super.hash_seed ^ image tag.
 *
 * A delete that leaves less than two entries to a bucket joins the last bucket to the one that it
 * came from, so that an emptied dict has its header alone.  Cost: get, set, delete O(1) expected,
 * clear O(1); no operation but teardown touches more than a few buckets, and a page of them.
 */
#ifndef PMS_TABLE_H
#define PMS_TABLE_H

#include "object.h"

uint64_t pms_key_hash(const struct pms_pool *pool, const struct pms_key *key);

int pms_dict_create(struct pms_pool *pool, uint32_t tag, uint64_t *off); /* DICT, SET */
uint64_t pms_dict_len(const struct pms_pool *pool, uint64_t dict);
/* PMS_MISSING if the key is not there. */
int pms_dict_get(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                 struct pms_val *out);
int pms_dict_contains(struct pms_pool *pool, uint64_t dict, const struct pms_key *key);
/* Insert at the end of the order, or replace the value in place (the first key stays). */
int pms_dict_set(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                 const struct pms_val *value);
/* Set each key to its value, one after the other: at most PMS_DICT_MANY.  If it fails, all of the
 * operation must be undone (as pms_leave_write does with that status). */
#define PMS_DICT_MANY 32u
struct pms_pair {
    const struct pms_key *key;
    const struct pms_val *value;
};
int pms_dict_set_many(struct pms_pool *pool, uint64_t dict, const struct pms_pair *pair,
                      unsigned count);
/* The key is about to be deleted: its bucket is fetched meanwhile.  Says nothing. */
void pms_dict_ahead(const struct pms_pool *pool, uint64_t dict, const struct pms_key *key);
int pms_dict_del(struct pms_pool *pool, uint64_t dict, const struct pms_key *key);
/* Entry numbers are offsets.  0 starts (first / last); *entry is 0 at the end. */
int pms_dict_next(struct pms_pool *pool, uint64_t dict, uint64_t *entry);
int pms_dict_prev(struct pms_pool *pool, uint64_t dict, uint64_t *entry);
/* Key and value of an entry; either may be NULL.  The key comes back in its stored form:
 * NONE TRUE FALSE INT FLOAT STR BYTES PACKED.  Both stay readable until the next call. */
int pms_dict_entry(struct pms_pool *pool, uint64_t entry, struct pms_val *key,
                   struct pms_val *value);
/* Many steps at once, with what the entries hold: like pms_dict_next (reverse: pms_dict_prev) and
 * pms_dict_entry in turn.  Up to `room` entries, fewer at the end and if they are large (then
 * ended says which); all of it stays readable until the next call. */
struct pms_walk {
    uint64_t entry; /* the last one; 0, or that of an earlier walk over the same entries */
    int reverse, keys, values; /* which way; what is wanted */
    int ended;                 /* nothing comes behind entry */
    unsigned count;            /* entries that this call has found */
};
struct pms_walked {
    uint64_t entry;
    struct pms_val key, value; /* what is not wanted is undefined */
};
#define PMS_WALK_BYTES 65536u /* of values; the one that goes beyond is the last of a call */
int pms_dict_walk(struct pms_pool *pool, uint64_t dict, struct pms_walk *walk,
                  struct pms_walked *out, unsigned room);
int pms_dict_del_entry(struct pms_pool *pool, uint64_t dict, uint64_t entry);
/* Make it empty: the entries become those of a new orphan dict that is torn down later. */
int pms_dict_clear(struct pms_pool *pool, uint64_t dict);
/* Part of a tear-down: remove up to *budget entries; PMS_OK when nothing but the header block
 * is left (that is freed too), PMS_MISSING when the budget is used up. */
int pms_dict_teardown(struct pms_pool *pool, uint64_t dict, uint32_t *budget);

#endif

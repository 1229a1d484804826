/* hash.h -- the one hash of the library: frames, anchors, superblocks, keys.
 *
 * 64 bits, by folded 64 x 64 -> 128 bit multiplication of what is hashed with what was hashed
 * before.  It must not be linear (with a CRC, a half-written frame over a stale one of another
 * salt was accepted; docs/design.md, "Checksums") and must be fast on 40 as on 40,000 bytes.
 * It is part of the file format: docs/format.md has the definition and test vectors.
 *
 *   mix(a, b)     = a ^ b ^ high(a * b) ^ low(a * b)
 *   step(h, x, y) = mix(x ^ P1 ^ h, y ^ P2) + P3
 *   h             = seed ^ P0 ^ length
 *   below 64 bytes: each 16 bytes (x, y), the last ones padded with zeroes, are a step of h
 *   from 64 on:     four lanes h, h + P1, h + P2, h + P3; of each 64 bytes, the last ones padded
 *                   with zeroes, each lane takes 16 as a step; then
 *                   h = step(0, step(0, lane 0, lane 1), step(0, lane 2, lane 3))
 *   result        = mix(h ^ P1, length ^ P2)
 *
 * A step waits for the multiplication of the one before it; those of four lanes wait together.
 */
#ifndef PMS_HASH_H
#define PMS_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PMS_HASH_P0 0x9e3779b97f4a7c15ull
#define PMS_HASH_P1 0xe7037ed1a0b428dbull
#define PMS_HASH_P2 0x8ebc6af09c88c6e3ull
#define PMS_HASH_P3 0x589965cc75374cc3ull

static inline uint64_t pms_hash_mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)a * b;
    return a ^ b ^ (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t pms_hash_step(uint64_t h, uint64_t x, uint64_t y)
{
    return pms_hash_mix(x ^ PMS_HASH_P1 ^ h, y ^ PMS_HASH_P2) + PMS_HASH_P3;
}

static inline uint64_t pms_hash_end(uint64_t h, size_t len)
{
    return pms_hash_mix(h ^ PMS_HASH_P1, (uint64_t)len ^ PMS_HASH_P2);
}

static inline void pms_hash_line(uint64_t lane[4], const void *data)
{
    uint64_t word[8];
    memcpy(word, data, sizeof word);
    lane[0] = pms_hash_step(lane[0], word[0], word[1]); /* a loop would keep them in memory */
    lane[1] = pms_hash_step(lane[1], word[2], word[3]);
    lane[2] = pms_hash_step(lane[2], word[4], word[5]);
    lane[3] = pms_hash_step(lane[3], word[6], word[7]);
}

/* Of len >= 64 bytes; the first 64 of them may lie elsewhere. */
static inline uint64_t pms_hash_lines(const void *first, const void *rest, size_t len,
                                      uint64_t seed)
{
    const unsigned char *p = rest;
    uint64_t h = seed ^ PMS_HASH_P0 ^ (uint64_t)len;
    uint64_t lane[4] = {h, h + PMS_HASH_P1, h + PMS_HASH_P2, h + PMS_HASH_P3};
    size_t left = len - 64;
    pms_hash_line(lane, first);
    for (; left >= 64; left -= 64, p += 64)
        pms_hash_line(lane, p);
    if (left) {
        unsigned char last[64] = {0};
        memcpy(last, p, left);
        pms_hash_line(lane, last);
    }
    h = pms_hash_step(0, pms_hash_step(0, lane[0], lane[1]),
                      pms_hash_step(0, lane[2], lane[3]));
    return pms_hash_end(h, len);
}

static inline uint64_t pms_hash(const void *data, size_t len, uint64_t seed)
{
    const unsigned char *p = data;
    if (len >= 64)
        return pms_hash_lines(p, p + 64, len, seed);
    uint64_t h = seed ^ PMS_HASH_P0 ^ (uint64_t)len, x, y;
    size_t left = len;
    for (; left >= 16; left -= 16, p += 16) {
        memcpy(&x, p, 8);
        memcpy(&y, p + 8, 8);
        h = pms_hash_step(h, x, y);
    }
    if (left) {
        unsigned char last[16] = {0};
        memcpy(last, p, left);
        memcpy(&x, last, 8);
        memcpy(&y, last + 8, 8);
        h = pms_hash_step(h, x, y);
    }
    return pms_hash_end(h, len);
}

#endif

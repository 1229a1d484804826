/* hash.h -- the one hash of the library: frames, anchors, superblocks, keys.
 *
 * 64 bits, by folded 64 x 64 -> 128 bit multiplication of what is hashed with what was hashed
 * before.  It must not be linear (with a CRC, a half-written frame over a stale one of another
 * salt was accepted; docs/design.md, "Checksums") and must be fast on 40 as on 40,000 bytes.
 * It is part of the file format: docs/format.md has the definition and test vectors.
 *
 *   mix(a, b)  = a ^ b ^ high(a * b) ^ low(a * b)
 *   h0         = seed ^ P0 ^ length
 *   each 16 bytes (x, y):  h = mix(x ^ P1 ^ h, y ^ P2) + P3
 *   the rest, padded with zeroes to 16 bytes, likewise (not if there is no rest)
 *   result     = mix(h ^ P1, length ^ P2)
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

/* In three parts, for bytes that do not lie in one place.  len: of all of them. */
static inline uint64_t pms_hash_begin(size_t len, uint64_t seed)
{
    return seed ^ PMS_HASH_P0 ^ (uint64_t)len;
}

/* A multiple of 16 bytes. */
static inline uint64_t pms_hash_more(uint64_t h, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint64_t x, y;
    for (; bytes >= 16; bytes -= 16, p += 16) {
        memcpy(&x, p, 8);
        memcpy(&y, p + 8, 8);
        h = pms_hash_mix(x ^ PMS_HASH_P1 ^ h, y ^ PMS_HASH_P2) + PMS_HASH_P3;
    }
    return h;
}

static inline uint64_t pms_hash_end(uint64_t h, size_t len)
{
    return pms_hash_mix(h ^ PMS_HASH_P1, (uint64_t)len ^ PMS_HASH_P2);
}

static inline uint64_t pms_hash(const void *data, size_t len, uint64_t seed)
{
    uint64_t h = pms_hash_more(pms_hash_begin(len, seed), data, len);
    if (len & 15u) {
        unsigned char tail[16] = {0};
        memcpy(tail, (const unsigned char *)data + (len & ~(size_t)15), len & 15u);
        h = pms_hash_more(h, tail, sizeof tail);
    }
    return pms_hash_end(h, len);
}

#endif

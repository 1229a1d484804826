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

static inline uint64_t pms_hash(const void *data, size_t len, uint64_t seed)
{
    const unsigned char *p = data;
    uint64_t h = seed ^ PMS_HASH_P0 ^ (uint64_t)len;
    uint64_t x, y;
    size_t left = len;
    for (; left >= 16; left -= 16, p += 16) {
        memcpy(&x, p, 8);
        memcpy(&y, p + 8, 8);
        h = pms_hash_mix(x ^ PMS_HASH_P1 ^ h, y ^ PMS_HASH_P2) + PMS_HASH_P3;
    }
    if (left) {
        unsigned char tail[16] = {0};
        memcpy(tail, p, left);
        memcpy(&x, tail, 8);
        memcpy(&y, tail + 8, 8);
        h = pms_hash_mix(x ^ PMS_HASH_P1 ^ h, y ^ PMS_HASH_P2) + PMS_HASH_P3;
    }
    return pms_hash_mix(h ^ PMS_HASH_P1, (uint64_t)len ^ PMS_HASH_P2);
}

#endif

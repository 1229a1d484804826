/* sorted_image.h -- images of keys: bytes whose order is that of the keys.
 *
 * docs/format.md, "Sorted dict, sorted set", defines them.  What is here needs no pool: the
 * binding makes images of Python objects with it, the core those of the numbers in entries.
 */
#ifndef PMS_SORTED_IMAGE_H
#define PMS_SORTED_IMAGE_H

#include <string.h>

#include "layout.h"

#define PMS_IMAGE_NUMBER_MAX 16u /* bytes of the image of an int of 64 bits or a float */

/* 2^exponent * 1.f; f: `bits`, the highest bit is worth a half.  |exponent| < 8191, or, with
 * bits 0, exponent PMS_IMAGE_INFINITY.  Returns the image's length. */
#define PMS_IMAGE_INFINITY INT64_MAX
uint32_t pms_image_number(int negative, int64_t exponent, uint64_t bits, uint8_t *out);
uint32_t pms_image_int(int64_t number, uint8_t *out);
/* 0: a NaN, which has no order. */
uint32_t pms_image_float(double number, uint8_t *out);

static inline uint64_t pms_image_prefix(const uint8_t *image, uint64_t len)
{
    uint64_t word = 0;
    memcpy(&word, image, len < 8 ? (size_t)len : 8);
    return __builtin_bswap64(word);
}

/* The same behind the first `skip` bytes. */
static inline uint64_t pms_image_prefix_at(const uint8_t *image, uint64_t len, uint64_t skip)
{
    return skip < len ? pms_image_prefix(image + skip, len - skip) : 0;
}

/* How many bytes two images begin with alike. */
static inline uint32_t pms_image_shared(const uint8_t *a, uint64_t a_len, const uint8_t *b,
                                        uint64_t b_len)
{
    uint64_t most = a_len < b_len ? a_len : b_len, n = 0;
    while (n < most && a[n] == b[n])
        n++;
    return (uint32_t)n;
}

static inline int pms_image_compare(const uint8_t *a, uint64_t a_len, const uint8_t *b,
                                    uint64_t b_len)
{
    uint64_t len = a_len < b_len ? a_len : b_len;
    int order = len ? memcmp(a, b, (size_t)len) : 0;
    return order ? order : a_len < b_len ? -1 : a_len > b_len;
}

/* Is this the image of a number, or of a tuple, all of it? */
int pms_image_is_number(const uint8_t *image, uint64_t len);
int pms_image_is_tuple(const uint8_t *image, uint64_t len);
/* Do two images of tuples differ first in the kind of two items, which have no order then? */
int pms_image_mixed(const uint8_t *a, uint64_t a_len, const uint8_t *b, uint64_t b_len);

#endif

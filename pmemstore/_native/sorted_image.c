/* sorted_image.c -- images of numbers are made, images of tuples are read.
 *
 * Nothing here recurses: the depth of a tuple is a number.
 */
#include "sorted_image.h"

#define EXPONENT_BIAS 8192
#define EXPONENT_MAX 8191 /* from here on it takes eight more bytes */

static const uint8_t zero_image = 0x80;

uint32_t pms_image_number(int negative, int64_t exponent, uint64_t bits, uint8_t *out)
{
    uint8_t flip = negative ? 0xff : 0;
    uint32_t n = 2;
    if (exponent == PMS_IMAGE_INFINITY) {
        memset(out, 0xff ^ flip, 10);
        n = 10;
    } else {
        uint32_t head = 0xc000u + (uint32_t)(exponent + EXPONENT_BIAS);
        out[0] = (uint8_t)(head >> 8 ^ flip);
        out[1] = (uint8_t)(head ^ flip);
    }
    do {
        uint32_t group = (uint32_t)(bits >> 57) << 1;
        bits <<= 7;
        out[n++] = (uint8_t)((group | (bits != 0)) ^ flip);
    } while (bits);
    return n;
}
static_assert(PMS_IMAGE_NUMBER_MAX >= 2 + 10, "63 bits are nine groups; infinity has 11 bytes");

uint32_t pms_image_int(int64_t number, uint8_t *out)
{
    if (number == 0) {
        *out = zero_image;
        return 1;
    }
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    int zeroes = __builtin_clzll(size);
    return pms_image_number(number < 0, 63 - zeroes, size << zeroes << 1, out);
}

uint32_t pms_image_float(double number, uint8_t *out)
{
    uint64_t word;
    memcpy(&word, &number, 8);
    uint64_t bits = word << 12;
    int64_t exponent = (int64_t)(word >> 52 & 0x7ffu);
    int negative = (int)(word >> 63);
    if (exponent == 0x7ff)
        return bits ? 0 : pms_image_number(negative, PMS_IMAGE_INFINITY, 0, out);
    if (exponent == 0) {
        if (bits == 0) {
            *out = zero_image;
            return 1;
        }
        int zeroes = __builtin_clzll(bits); /* a denormal: no hidden bit */
        return pms_image_number(negative, -1023 - zeroes, bits << zeroes << 1, out);
    }
    return pms_image_number(negative, exponent - 1023, bits, out);
}

/* ---- tuples ---- */

struct cursor {
    const uint8_t *at, *end;
};

static uint64_t left(const struct cursor *c) { return (uint64_t)(c->end - c->at); }

/* Bytes of the number that starts here; 0: none. */
static uint64_t number_bytes(const struct cursor *c)
{
    uint64_t n = left(c), i = 2;
    if (n == 0)
        return 0;
    if (*c->at == zero_image)
        return 1;
    if (*c->at >= 0x40 && *c->at < 0xc0)
        return 0;
    uint8_t flip = *c->at < 0x80 ? 0xff : 0;
    if (n >= 2 && (c->at[0] ^ flip) == 0xff && (c->at[1] ^ flip) == 0xff)
        i += 8;
    while (i < n && (c->at[i] ^ flip) & 1)
        i++;
    return i < n ? i + 1 : 0;
}

/* The same, of a str or bytes. */
static uint64_t text_bytes(const struct cursor *c)
{
    const uint8_t *at = c->at;
    while (at < c->end && (at = memchr(at, 0, (size_t)(c->end - at))) != NULL &&
           c->end - at >= 2) {
        if (at[1] == 1)
            return (uint64_t)(at + 2 - c->at);
        if (at[1] != 0xff)
            return 0;
        at += 2;
    }
    return 0;
}

static uint64_t fixed_bytes(const struct cursor *c, uint64_t n)
{
    return left(c) >= n ? n : UINT64_MAX;
}

/* Step over an item's image, behind its kind; a tuple's: onto its first item.  0: it is none. */
static int skip(struct cursor *c, uint8_t order, uint64_t *depth)
{
    uint64_t n = 0;
    switch (order) {
    case PMS_ORDER_NONE:
        return 1;
    case PMS_ORDER_TUPLE:
        ++*depth;
        return 1;
    case PMS_ORDER_NUMBER:
        n = number_bytes(c);
        break;
    case PMS_ORDER_STR:
    case PMS_ORDER_BYTES:
        n = text_bytes(c);
        break;
    case PMS_ORDER_DATE:
        n = fixed_bytes(c, 4);
        break;
    case PMS_ORDER_DATETIME:
    case PMS_ORDER_INSTANT:
    case PMS_ORDER_TIME:
        n = fixed_bytes(c, 8);
        break;
    case PMS_ORDER_TIMEDELTA:
        n = fixed_bytes(c, 12);
        break;
    case PMS_ORDER_UUID:
        n = fixed_bytes(c, 16);
        break;
    default:
        return 0;
    }
    if (n == 0 || n > left(c))
        return 0;
    c->at += n;
    return 1;
}

int pms_image_is_number(const uint8_t *image, uint64_t len)
{
    struct cursor c = {image, image + len};
    return len > 0 && number_bytes(&c) == len;
}

int pms_image_is_tuple(const uint8_t *image, uint64_t len)
{
    struct cursor c = {image, image + len};
    uint64_t depth = 1;
    while (depth && left(&c)) {
        uint8_t order = *c.at++;
        if (order == 0)
            depth--;
        else if (!skip(&c, order, &depth))
            return 0;
    }
    return depth == 0 && left(&c) == 0;
}

int pms_image_mixed(const uint8_t *a, uint64_t a_len, const uint8_t *b, uint64_t b_len)
{
    uint64_t len = a_len < b_len ? a_len : b_len, same = 0, depth = 1;
    struct cursor c = {a, a + a_len};
    while (same < len && a[same] == b[same])
        same++;
    if (same == len)
        return 0;
    while (depth && c.at <= a + same && left(&c)) {
        if (c.at == a + same)
            return a[same] != 0 && b[same] != 0;
        uint8_t order = *c.at++;
        if (order == 0)
            depth--;
        else if (!skip(&c, order, &depth))
            return 0;
    }
    return 0;
}

/* test_image.c -- images of numbers have the order of the numbers. */
#include "pool_fixture.h"

#include "_native/sorted_image.h"

static uint64_t seed = 88172645463325252ull;

static uint64_t draw(uint64_t below) { return fixture_random(&seed) % below; }

static void order_of_numbers(void)
{
    static const double number[] = {
        -1.0 / 0.0, -1e300, -9.3e18,  -3,   -2.5, -1,     -0.5,      -1e-300,  -5e-324,
        0,          5e-324, 2.3e-308, 1e-5, 0.5,  1,      1.0000001, 2,        2.5,
        3,          127,    128,      255,  256,  9.3e18, 1e300,     1.0 / 0.0};
    uint8_t image[2][PMS_IMAGE_NUMBER_MAX];
    uint32_t len[2] = {0, 0};
    size_t count = sizeof number / sizeof number[0];
    for (size_t i = 0; i < count; i++) {
        len[i % 2] = pms_image_float(number[i], image[i % 2]);
        CHECK(pms_image_is_number(image[i % 2], len[i % 2]));
        if (i)
            CHECK(pms_image_compare(image[1 - i % 2], len[1 - i % 2], image[i % 2],
                                    len[i % 2]) < 0);
        if (number[i] > -9e18 && number[i] < 9e18 && (double)(int64_t)number[i] == number[i]) {
            uint8_t same[PMS_IMAGE_NUMBER_MAX];
            CHECK_EQ(pms_image_int((int64_t)number[i], same), len[i % 2]);
            CHECK(memcmp(same, image[i % 2], len[i % 2]) == 0);
        }
    }
    CHECK_EQ(pms_image_float(0.0 / 0.0, image[0]), 0);
    CHECK_EQ(pms_image_float(-0.0, image[0]), pms_image_int(0, image[1]));
    CHECK_EQ(image[0][0], image[1][0]);
    int64_t before = INT64_MIN;
    len[0] = pms_image_int(before, image[0]);
    for (int i = 0; i < 20000; i++) {
        int64_t a = (int64_t)(fixture_random(&seed) >> draw(64));
        int64_t b = (int64_t)(fixture_random(&seed) >> draw(64));
        a = draw(2) ? a : -a;
        len[0] = pms_image_int(a, image[0]);
        len[1] = pms_image_int(b, image[1]);
        int order = pms_image_compare(image[0], len[0], image[1], len[1]);
        CHECK_EQ((order > 0) - (order < 0), (a > b) - (a < b));
        CHECK(pms_image_is_number(image[0], len[0]));
    }
}

int main(void)
{
    order_of_numbers();
    return 0;
}

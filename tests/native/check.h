/* check.h -- the whole test framework: a check that is on in every build.
 *
 * assert() vanishes with NDEBUG, which CMake's Release defines; CHECK never does.  A test is a
 * program: main() returns 0, or the first CHECK that does not hold prints where and exits 1.
 *
 * The core has a check.h of its own: a test that needs both writes "_native/check.h" for it.
 */
#ifndef PMS_TEST_CHECK_H
#define PMS_TEST_CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);            \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

/* Two integers are equal; prints both if not.  Use it for statuses and counts. */
#define CHECK_EQ(got, expected)                                                                \
    do {                                                                                       \
        long long got_ = (long long)(got);                                                     \
        long long expected_ = (long long)(expected);                                           \
        if (got_ != expected_) {                                                               \
            fprintf(stderr, "%s:%d: failed: %s is %lld, not %s = %lld\n", __FILE__, __LINE__,  \
                    #got, got_, #expected, expected_);                                         \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

#endif

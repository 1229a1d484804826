/* A refusal leaves its numbers for the message, on its own thread only. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "status.h"

static int refuse(void) { return PMS_FAIL(PMS_E_FULL, "test", 64, 1000, 10); }

static int hand_on(void)
{
    PMS_TRY(PMS_OK);
    PMS_TRY(refuse());
    return PMS_OK;
}

static void *look_from_another_thread(void *unused)
{
    (void)unused;
    CHECK(pms_detail()->what == NULL);
    CHECK_EQ(PMS_FAIL_OS("fdatasync", 0, 0, EIO), PMS_E_OS);
    CHECK_EQ(pms_detail()->sys_errno, EIO);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    CHECK_EQ(hand_on(), PMS_E_FULL);
    CHECK(strcmp(pms_detail()->what, "test") == 0);
    CHECK_EQ(pms_detail()->off, 64);
    CHECK_EQ(pms_detail()->want, 1000);
    CHECK_EQ(pms_detail()->have, 10);
    CHECK_EQ(pms_detail()->sys_errno, 0);
    CHECK(pthread_create(&thread, NULL, look_from_another_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ(pms_detail()->off, 64);
    return 0;
}

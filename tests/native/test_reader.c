/* test_reader.c -- a pool on a file that nobody has closed, for one who cannot write: the last unit is
 * there whether or not the synced word is, and without the word the file is synced first. */
#include <errno.h>
#include <fcntl.h>

#include "pool_fixture.h"

struct syncs {
    unsigned number;
    int fail; /* with this errno, or 0 */
};

static int count(void *context, const struct pms_event *event)
{
    struct syncs *syncs = context;
    CHECK_EQ(event->kind, PMS_EV_SYNC); /* nothing else */
    syncs->number++;
    return syncs->fail;
}

/* A copy of what an open pool has in its file; and, with no word, without the synced word. */
static void copy_open_pool(struct fixture *f, const char *to, int word)
{
    const struct pms_log *log = &f->pool->log;
    char command[256];
    uint64_t zero = 0, place = log->off + log->head % log->bytes;
    snprintf(command, sizeof command, "cp %s %s", f->path, to);
    CHECK_EQ(system(command), 0);
    if (word)
        return;
    int fd = open(to, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, &zero, sizeof zero, (off_t)place), sizeof zero);
    close(fd);
}

/* Read the copy; the root dict has so many items. */
static int read_copy(const char *path, struct syncs *syncs, uint64_t items)
{
    struct pms_options options = {.flag = 'r', .recorder = count, .recorder_context = syncs};
    struct pms_pool *pool;
    struct pms_handle *root;
    int status = pms_pool_open(path, &options, &pool);
    if (status != PMS_OK)
        return status;
    CHECK_EQ(pms_pool_root(pool, &root), PMS_OK);
    CHECK_EQ(pms_enter_read_wait(pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_dict_len(pool, root->off), items);
    (void)pms_leave_read(pool);
    pms_handle_put(root);
    CHECK_EQ(pms_pool_close(pool), PMS_OK);
    pms_pool_drop(pool);
    return PMS_OK;
}

int main(void)
{
    struct fixture f;
    struct syncs syncs = {0, 0};
    char copy[128];
    uint64_t list;
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "sync", 1), 0);
    fixture_make(&f, ".");
    snprintf(copy, sizeof copy, "%s/copy", f.dir);
    CHECK_EQ(OP(f.pool, fixture_put_object(&f, PMS_TAG_LIST, "a", &list)), PMS_OK);
    copy_open_pool(&f, copy, 1);
    CHECK_EQ(read_copy(copy, &syncs, 1), PMS_OK);
    CHECK_EQ(syncs.number, 0);
    copy_open_pool(&f, copy, 0);
    CHECK_EQ(read_copy(copy, &syncs, 1), PMS_OK);
    CHECK_EQ(syncs.number, 1);
    syncs.fail = EIO;
    CHECK_EQ(read_copy(copy, &syncs, 1), PMS_E_OS);
    CHECK_EQ(pms_detail()->sys_errno, EIO);
    syncs.fail = EINVAL; /* squashfs and its like, where nothing waits to be written */
    CHECK_EQ(read_copy(copy, &syncs, 1), PMS_OK);
    CHECK_EQ(syncs.number, 3);
    CHECK_EQ(unlink(copy), 0);
    fixture_remove(&f);
    return 0;
}

/* test_door.c -- nothing goes around the one door.
 *
 * A recorder sees what passes the table of medium functions and repeats it on a copy of the file
 * in DRAM.  After thousands of operations, with transactions, roll-backs, growth, checkpoints and
 * log overflow, the copy and the medium are equal in every byte: so no other code has stored or
 * written.  (A build with PMS_DEBUG_DOOR asks the same of the MMU; see the Makefile.)
 */
#include <fcntl.h>
#include <stdlib.h>

#include "pool_fixture.h"

struct copy {
    uint8_t *bytes;
    uint64_t size;
    int direct; /* stores reach the medium; on files they stay in private pages */
    uint64_t events[PMS_EV_MARK + 1];
};

static void resize(struct copy *copy, uint64_t size)
{
    if (size <= copy->size)
        return;
    copy->bytes = realloc(copy->bytes, size);
    CHECK(copy->bytes != NULL);
    memset(copy->bytes + copy->size, 0, size - copy->size);
    copy->size = size;
}

static int repeat(void *context, const struct pms_event *event)
{
    struct copy *copy = context;
    copy->events[event->kind]++;
    int store = event->kind == PMS_EV_STORE || event->kind == PMS_EV_NT_STORE;
    if ((store && copy->direct) || event->kind == PMS_EV_WRITE ||
        event->kind == PMS_EV_WRITE_SYNC) {
        resize(copy, event->off + event->len);
        memcpy(copy->bytes + event->off, event->data, event->len);
    } else if (event->kind == PMS_EV_ALLOCATE) {
        resize(copy, event->off + event->len);
    }
    return 0;
}

static void read_file(const char *path, struct copy *copy)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    resize(copy, (uint64_t)st.st_size);
    CHECK_EQ(pread(fd, copy->bytes, copy->size, 0), (ssize_t)copy->size);
    close(fd);
}

static void one_operation(struct pms_pool *pool, uint64_t root, uint32_t n)
{
    static char bytes[200000];
    char name[24];
    int length = snprintf(name, sizeof name, "key-%u", rand() % 300);
    struct pms_key key = {
        .tag = PMS_TAG_STR, .stored_tag = PMS_TAG_STR, .data = name, .len = (uint64_t)length};
    memset(bytes, (int)(n & 0xff), sizeof bytes);
    uint64_t len = (uint64_t)(n % 97 == 0 ? 150000 : n % 11 == 0 ? 3000 : rand() % 150);
    struct pms_val value = {.tag = PMS_TAG_BYTES, .data = bytes, .len = len};
    int status = rand() % 4 ? OP(pool, pms_dict_set(pool, root, &key, &value))
                            : OP(pool, pms_dict_del(pool, root, &key));
    CHECK(status == PMS_OK || status == PMS_MISSING);
}

static void work(struct fixture *f)
{
    for (uint32_t n = 0; n < 3000; n++) {
        if (n % 40 == 0) {
            fixture_begin(f->pool);
            for (uint32_t k = 0; k < 100; k++)
                one_operation(f->pool, f->root, n + k);
            if (n % 120 == 0)
                CHECK_EQ(pms_tx_abort(f->pool, 1), PMS_OK);
            else
                fixture_commit(f->pool);
        }
        one_operation(f->pool, f->root, n);
        if (n % 500 == 0)
            CHECK_EQ(pms_pool_checkpoint(f->pool), PMS_OK);
        if (n == 1000)
            CHECK_EQ(pms_pool_grow(f->pool, f->pool->super.size + (1u << 20)), PMS_OK);
    }
}

static void nothing_goes_around_the_door(const char *parent)
{
    struct fixture f;
    struct copy copy = {0}, medium = {0};
    fixture_make(&f, parent);
    struct pms_medium *m = &f.pool->map.medium;
    read_file(f.path, &copy);
    copy.direct = m->direct;
    m->recorder_context = &copy;
    m->recorder = repeat;
    work(&f);
    m->recorder = NULL;
    if (m->direct) {
        resize(&medium, f.pool->map.size);
        memcpy(medium.bytes, m->base, f.pool->map.size);
        CHECK(copy.events[PMS_EV_STORE] > 0 && copy.events[PMS_EV_NT_STORE] > 0);
        CHECK(copy.events[PMS_EV_FLUSH] > 0 && copy.events[PMS_EV_FENCE] > 0);
        CHECK_EQ(copy.events[PMS_EV_WRITE_SYNC], 0);
    } else {
        read_file(f.path, &medium);
        CHECK(copy.events[PMS_EV_WRITE] > 0 && copy.events[PMS_EV_WRITE_SYNC] > 0);
        CHECK_EQ(copy.events[PMS_EV_FLUSH], 0);
    }
    CHECK(copy.events[PMS_EV_ALLOCATE] > 0); /* it has grown */
    CHECK(copy.size >= medium.size);
    for (uint64_t i = 0; i < medium.size; i++)
        if (copy.bytes[i] != medium.bytes[i]) {
            fprintf(stderr, "byte %llu of the medium was changed around the door\n",
                    (unsigned long long)i);
            CHECK_EQ(medium.bytes[i], copy.bytes[i]);
        }
    fixture_sound(f.pool);
    fixture_close(&f);
    free(copy.bytes);
    free(medium.bytes);
    fixture_remove(&f);
}

int main(void)
{
    if (fixture_usable("/dev/shm"))
        nothing_goes_around_the_door("/dev/shm");
    nothing_goes_around_the_door(".");
    return 0;
}

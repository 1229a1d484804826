/* bind.c -- see bind.h. */
#include "bind.h"

#include <string.h>

struct report {
    char *text;
    size_t used, room;
};

static int report_line(void *context, const char *line)
{
    struct report *report = context;
    size_t len = strlen(line);
    if (len + 2 > report->room - report->used)
        return 0; /* counted all the same */
    memcpy(report->text + report->used, line, len);
    report->used += len;
    report->text[report->used++] = '\n';
    report->text[report->used] = 0;
    return 0;
}

int pms_bind_check(struct pms_pool *pool, int64_t timeout_ns, char *text, size_t room,
                   struct pms_check_result *out)
{
    struct report report = {text, 0, room};
    memset(out, 0, sizeof(*out));
    if (room == 0)
        return PMS_FAIL(PMS_E_INVAL, "no room for the report", 0, 1, 0);
    text[0] = 0;
    PMS_TRY(pms_enter_read_wait(pool, NULL, timeout_ns));
    int status = pms_pool_check(pool, report_line, &report, out);
    int left = pms_leave_read(pool);
    return status == PMS_OK ? left : status;
}

/* order[i] becomes ~order[i] when item i is in its place. */
static int permute(struct pms_pool *pool, uint64_t list, uint64_t *order, uint64_t count)
{
    for (uint64_t first = 0; first < count; first++) {
        uint64_t here = first;
        if (order[first] >= count)
            continue; /* done in an earlier cycle */
        while (order[here] != first) {
            uint64_t from = order[here];
            if (from >= count)
                return PMS_FAIL(PMS_E_INVAL, "order is not a permutation", list, count, from);
            PMS_TRY(pms_list_swap(pool, list, here, from));
            order[here] = ~from;
            here = from;
        }
        order[here] = ~first;
    }
    return PMS_OK;
}

int pms_bind_permute(struct pms_pool *pool, uint64_t list, int64_t timeout_ns, uint64_t *order,
                     uint64_t count)
{
    uint64_t ticket = 0;
    for (uint64_t i = 0; i < count; i++)
        if (order[i] >= count)
            return PMS_FAIL(PMS_E_INVAL, "order is not a permutation", 0, count, order[i]);
    PMS_TRY(pms_enter_write_wait(pool, NULL, timeout_ns));
    int status = pms_object_check(pool, list, PMS_TAG_LIST);
    if (status == PMS_OK && pms_list_len(pool, list) != count)
        status = PMS_FAIL(PMS_E_CHANGED, "list modified during sort", list, count,
                          pms_list_len(pool, list));
    if (status == PMS_OK)
        status = permute(pool, list, order, count);
    status = pms_leave_write(pool, status, &ticket);
    if (status == PMS_OK && ticket)
        status = pms_wait_durable(pool, ticket);
    return status;
}

/* test_wset.c -- the map from offsets to lines finds exactly what this unit has added, in units of few
 * lines and of many, one after the other in all orders. */
#include "_native/wset.h"

#include <stdlib.h>

#include "check.h"

#define LINES 6000u

static uint32_t at[LINES]; /* 1 + index in the map; 0: not there */

/* Lines of few pages, so that many share a place among the recent ones, and of many. */
static uint64_t off_of(uint32_t line) { return line * 64ull * (line % 2 ? 1 : 4099); }

static void look(const struct pms_linemap *map, uint32_t line)
{
    const struct pms_line_ov *found = pms_linemap_find(map, off_of(line));
    if (!at[line]) {
        CHECK(found == NULL);
        return;
    }
    CHECK(found == &map->line[at[line] - 1]);
    CHECK_EQ(found->off, off_of(line));
    CHECK_EQ(found->mask, line);
}

static void add(struct pms_linemap *map, uint32_t line)
{
    uint32_t count = map->count;
    struct pms_line_ov *got = pms_linemap_get(map, off_of(line));
    CHECK(got != NULL);
    CHECK_EQ(map->count, count + !at[line]);
    if (!at[line]) {
        CHECK_EQ(got->mask, 0);
        got->mask = line;
        at[line] = map->count;
    }
    look(map, line);
}

static void unit(struct pms_linemap *map, uint32_t lines)
{
    memset(at, 0, sizeof at);
    for (uint32_t i = 0; map->count < lines; i++) {
        add(map, (uint32_t)rand() % LINES);
        look(map, (uint32_t)rand() % LINES);
        if (i % 3 == 0)
            add(map, i % 5); /* as an operation comes back to a header */
    }
    for (uint32_t line = 0; line < LINES; line++)
        look(map, line);
    pms_linemap_clear(map);
    CHECK_EQ(map->count, 0);
}

int main(void)
{
    static const uint32_t lines[] = {
        1, 2, PMS_LINES_FEW - 1, PMS_LINES_FEW, PMS_LINES_FEW + 1, 31, 32, 33, 100, 1000, 4000};
    const uint32_t sizes = sizeof lines / sizeof lines[0];
    struct pms_linemap map = {0};
    for (uint32_t first = 0; first < sizes; first++)
        for (uint32_t second = 0; second < sizes; second++) {
            unit(&map, lines[first]);
            unit(&map, lines[second]);
        }
    pms_linemap_free(&map);
    unit(&map, 3);
    unit(&map, 20);
    pms_linemap_free(&map);
    return 0;
}

/* stores.c -- the time that it takes to make a page durable, with its flushes and fence.
 *
 * A whole page: its stores hide that the emulator finds one page faster than another. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define PAGE 4096
#define LINE 64

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void persist(volatile uint8_t *page)
{
    for (size_t i = 0; i < PAGE; i += LINE)
        __asm__ volatile("clflush %0" : "+m"(page[i]) : : "memory");
    __asm__ volatile("sfence" : : : "memory");
}

static long faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* Times go to ns, one for each page; returns how many page faults there were. */
long persist_pages(uint8_t *base, size_t pages, uint64_t *ns)
{
    long before_all = faults();
    for (size_t i = 0; i < pages; i++) {
        uint8_t *page = base + i * PAGE;
        uint64_t before = now_ns();
        memset(page, (int)(i % 255 + 1), PAGE);
        persist(page);
        ns[i] = now_ns() - before;
    }
    return faults() - before_all;
}

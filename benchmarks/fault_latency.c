/* fault_latency.c -- the time of one store to each page, with its flush and fence. */
#include <stddef.h>
#include <stdint.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void persist(volatile uint8_t *at)
{
#if defined(__x86_64__)
    __asm__ volatile("clflush %0; sfence" : "+m"(*at) : : "memory");
#elif defined(__aarch64__)
    __asm__ volatile("dc cvac, %0; dsb ish" : : "r"(at) : "memory");
#endif
}

/* Times go to ns, one for each page. */
void store_to_pages(volatile uint8_t *base, size_t pages, uint64_t *ns)
{
    for (size_t i = 0; i < pages; i++) {
        volatile uint8_t *at = base + i * 4096;
        uint64_t before = now_ns();
        *at = (uint8_t)(i + 1);
        persist(at);
        ns[i] = now_ns() - before;
    }
}

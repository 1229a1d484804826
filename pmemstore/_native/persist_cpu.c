/* persist_cpu.c -- write-back, fence and non-temporal copy of x86-64 and ARM64.
 *
 * x86-64: CLWB, CLFLUSHOPT and CLFLUSH write a line back; SFENCE orders the first two (and
 * non-temporal stores) before what follows.  Which of them exist is asked of CPUID, and each
 * function is compiled for its own instruction, so the library needs no -march.
 *
 * ARM64: DC CVAP cleans a line to the point of persistence, DC CVAC to the point of coherency
 * (the best there is without FEAT_DPB).  Only DSB waits for their completion, DMB does not.
 */
#include "persist_cpu.h"

static void persist_cpu_flush_none(const void *addr, size_t len)
{
    (void)addr;
    (void)len;
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

#define PMS_CPUID0_EBX_HYGON 0x6f677948u /* "Hygo" */
#define PMS_CPUID1_EDX_CLFLUSH (1u << 19)
#define PMS_CPUID7_EBX_CLFLUSHOPT (1u << 23)
#define PMS_CPUID7_EBX_CLWB (1u << 24)

#define PMS_FOR_EACH_LINE(p, addr, len)                                                        \
    for (uintptr_t p = (uintptr_t)(addr) & ~(uintptr_t)63,                                     \
                   p##_end = (uintptr_t)(addr) + (len);                                        \
         p < p##_end; p += 64)

__attribute__((target("clwb"))) static void persist_cpu_clwb(const void *addr, size_t len)
{
    PMS_FOR_EACH_LINE(p, addr, len)
    _mm_clwb((void *)p);
}

__attribute__((target("clflushopt"))) static void persist_cpu_clflushopt(const void *addr,
                                                                         size_t len)
{
    PMS_FOR_EACH_LINE(p, addr, len)
    _mm_clflushopt((void *)p);
}

static void persist_cpu_clflush(const void *addr, size_t len)
{
    PMS_FOR_EACH_LINE(p, addr, len)
    _mm_clflush((const void *)p);
}

static void persist_cpu_fence(void) { _mm_sfence(); }

/* dst is 8-aligned, len a multiple of 8. */
static void persist_cpu_nt_copy(void *dst, const void *src, size_t len)
{
    uint8_t *d = dst;
    const uint8_t *s = src;
    while (len && ((uintptr_t)d & 15u)) {
        long long word;
        memcpy(&word, s, 8);
        _mm_stream_si64((long long *)(void *)d, word);
        d += 8, s += 8, len -= 8;
    }
    for (; len >= 16; d += 16, s += 16, len -= 16) {
        __m128i two = _mm_loadu_si128((const __m128i *)(const void *)s);
        _mm_stream_si128((__m128i *)(void *)d, two);
    }
    if (len) {
        long long word;
        memcpy(&word, s, 8);
        _mm_stream_si64((long long *)(void *)d, word);
    }
}

/* What CPUID has answered: a bit per kind of flush, and one for the maker. */
#define CPU_ASKED 1u /* PMS_FLUSH_AUTO is none of the kinds */
#define CPU_AMD_KIN (1u << 31)
static _Atomic uint32_t cpu_known;

static uint32_t persist_cpu_ask(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0, maker = 0;
    uint32_t known = CPU_ASKED;
    unsigned leaves = __get_cpuid_max(0, &maker);
    if (leaves >= 1) {
        __cpuid(1, a, b, c, d);
        known |= d & PMS_CPUID1_EDX_CLFLUSH ? 1u << PMS_FLUSH_CLFLUSH : 0;
    }
    if (leaves >= 7) {
        __cpuid_count(7, 0, a, b, c, d);
        known |= b & PMS_CPUID7_EBX_CLFLUSHOPT ? 1u << PMS_FLUSH_CLFLUSHOPT : 0;
        known |= b & PMS_CPUID7_EBX_CLWB ? 1u << PMS_FLUSH_CLWB : 0;
    }
    if (maker == signature_AMD_ebx || maker == PMS_CPUID0_EBX_HYGON)
        known |= CPU_AMD_KIN;
    atomic_store_explicit(&cpu_known, known, memory_order_relaxed);
    return known;
}

/* On a virtual machine each question costs 5 us: they are asked when the library is loaded, not in
 * the first open. */
__attribute__((constructor)) static void persist_cpu_ask_early(void)
{
    (void)persist_cpu_ask();
}

static uint32_t persist_cpu_facts(void)
{
    uint32_t known = atomic_load_explicit(&cpu_known, memory_order_relaxed);
    return known ? known : persist_cpu_ask();
}

bool pms_cpu_has_flush(enum pms_flush_kind kind)
{
    if (kind <= PMS_FLUSH_NONE || kind > PMS_FLUSH_CLWB)
        return kind == PMS_FLUSH_NONE;
    return (persist_cpu_facts() >> kind & 1u) != 0;
}

enum pms_flush_kind pms_cpu_best_flush(void)
{
    for (int kind = PMS_FLUSH_CLWB; kind >= PMS_FLUSH_CLFLUSH; kind--)
        if (pms_cpu_has_flush((enum pms_flush_kind)kind))
            return (enum pms_flush_kind)kind;
    return PMS_FLUSH_AUTO;
}

/* AMD's cores (and their kin) have a line that was written past the caches on its way at once: one
 * line and a fence 98 ns, with a write-back 161; eight 113 and 183 (Zen 5).  On Intel's, up to some
 * hundred bytes a write-back is faster. */
static bool persist_cpu_lines_past_caches(void)
{
    return (persist_cpu_facts() & CPU_AMD_KIN) != 0;
}

void pms_cpu_bind(struct pms_medium *m, enum pms_flush_kind kind)
{
    m->fence_fn = persist_cpu_fence;
    m->nt_copy_fn = persist_cpu_nt_copy;
    m->nt_lines_min = kind != PMS_FLUSH_NONE && persist_cpu_lines_past_caches() ? 1 : SIZE_MAX;
    m->flush_fn = kind == PMS_FLUSH_CLWB         ? persist_cpu_clwb
                  : kind == PMS_FLUSH_CLFLUSHOPT ? persist_cpu_clflushopt
                  : kind == PMS_FLUSH_CLFLUSH    ? persist_cpu_clflush
                                                 : persist_cpu_flush_none;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

#ifndef HWCAP_DCPOP
#define HWCAP_DCPOP (1ul << 16)
#endif

/* Smallest data cache line of all levels, bytes (CTR_EL0.DminLine counts words of 4). */
static uintptr_t persist_cpu_line(void)
{
    uint64_t ctr;
    __asm__("mrs %0, ctr_el0" : "=r"(ctr));
    return (uintptr_t)4 << (ctr >> 16 & 15u);
}

static void persist_cpu_cvap(const void *addr, size_t len)
{
    uintptr_t line = persist_cpu_line();
    uintptr_t end = (uintptr_t)addr + len;
    for (uintptr_t p = (uintptr_t)addr & ~(line - 1); p < end; p += line)
        __asm__ volatile("sys #3, c7, c12, #1, %0" : : "r"(p) : "memory"); /* dc cvap */
}

static void persist_cpu_cvac(const void *addr, size_t len)
{
    uintptr_t line = persist_cpu_line();
    uintptr_t end = (uintptr_t)addr + len;
    for (uintptr_t p = (uintptr_t)addr & ~(line - 1); p < end; p += line)
        __asm__ volatile("dc cvac, %0" : : "r"(p) : "memory");
}

static void persist_cpu_fence(void) { __asm__ volatile("dsb sy" : : : "memory"); }

bool pms_cpu_has_flush(enum pms_flush_kind kind)
{
    switch (kind) {
    case PMS_FLUSH_NONE:
    case PMS_FLUSH_DC_CVAC:
        return true;
    case PMS_FLUSH_DC_CVAP:
        return (getauxval(AT_HWCAP) & HWCAP_DCPOP) != 0;
    default:
        return false;
    }
}

enum pms_flush_kind pms_cpu_best_flush(void)
{
    return pms_cpu_has_flush(PMS_FLUSH_DC_CVAP) ? PMS_FLUSH_DC_CVAP : PMS_FLUSH_DC_CVAC;
}

void pms_cpu_bind(struct pms_medium *m, enum pms_flush_kind kind)
{
    m->fence_fn = persist_cpu_fence;
    m->nt_lines_min = SIZE_MAX;
    m->nt_copy_fn = NULL; /* STNP is only a hint: it does not make a flush needless */
    m->flush_fn = kind == PMS_FLUSH_DC_CVAP   ? persist_cpu_cvap
                  : kind == PMS_FLUSH_DC_CVAC ? persist_cpu_cvac
                                              : persist_cpu_flush_none;
}

#else
#error "pmemstore knows the cache instructions of x86-64 and ARM64 only"
#endif

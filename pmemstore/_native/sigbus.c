/* sigbus.c -- the list of live mappings, and the handlers that walk it: SIGBUS and fork.
 *
 * The list is walked without a lock by signal handlers in any thread.  Writers hold list_lock,
 * publish with release stores, and after unlinking wait until no handler is inside a walk
 * (handlers_inside == 0): then nobody can still hold a pointer to the map that left.
 */
#include "map_internal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

_Atomic uint32_t pms_fork_epoch;

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pms_map *_Atomic live_maps;
static _Atomic uint32_t handlers_inside;

/* The handler that was there before ours.  A new one is published when somebody replaced
 * ours; the old node is kept for ever, a handler may be reading it. */
static struct sigaction *_Atomic previous_handler;

/* Set while this thread runs the previous handler.  initial-exec: no allocation on access. */
static _Thread_local int chaining __attribute__((tls_model("initial-exec")));

void pms_map_blame(struct pms_map *map, uint64_t off)
{
    uint64_t none = 0;
    atomic_compare_exchange_strong(&map->media_error, &none, off + 1);
}

/* Put zero pages under a faulting address of ours.  False: it is not ours. */
static bool sigbus_substitute(uintptr_t addr, unsigned lsb)
{
    bool ours = false;
    atomic_fetch_add(&handlers_inside, 1);
    struct pms_map *map = atomic_load_explicit(&live_maps, memory_order_acquire);
    for (; map; map = atomic_load_explicit(&map->next, memory_order_acquire)) {
        uintptr_t base = (uintptr_t)map->medium.base;
        if (addr < base || addr - base >= map->limit)
            continue;
        uintptr_t unit = lsb > 12 && lsb < 31 ? (uintptr_t)1 << lsb : PMS_PAGE;
        uintptr_t start = addr & ~(unit - 1);
        uintptr_t end = start + unit;
        start = start < base ? base : start;
        end = end > base + map->limit ? base + map->limit : end;
        void *page = mmap((void *)start, end - start, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        pms_map_blame(map, (uint64_t)(addr - base));
        ours = page != MAP_FAILED;
        break;
    }
    atomic_fetch_sub(&handlers_inside, 1);
    return ours;
}

/* Do what would have happened without us. */
static void sigbus_chain(int sig, siginfo_t *info, void *context)
{
    struct sigaction *old = atomic_load_explicit(&previous_handler, memory_order_acquire);
    bool sent = info->si_code <= 0; /* by kill or raise, not by an access */
    bool with_info = old && (old->sa_flags & SA_SIGINFO);
    if (old && !with_info && old->sa_handler == SIG_IGN && sent)
        return;
    bool callable =
        old && (with_info || (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN));
    if (callable && !chaining) {
        chaining = 1;
        if (with_info)
            old->sa_sigaction(sig, info, context);
        else
            old->sa_handler(sig);
        chaining = 0;
        return;
    }
    /* The default: die.  An access is executed again on return and meets SIG_DFL. */
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigaction(sig, &dfl, NULL);
    if (sent)
        raise(sig);
}

static void sigbus_handler(int sig, siginfo_t *info, void *context)
{
    int saved = errno;
    unsigned lsb = 0;
    if (info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO)
        lsb = (unsigned)info->si_addr_lsb;
    /* Only codes above 0 carry an address. */
    if (info->si_code <= 0 || !sigbus_substitute((uintptr_t)info->si_addr, lsb))
        sigbus_chain(sig, info, context);
    errno = saved;
}

/* Under list_lock. */
static int sigbus_install_locked(void)
{
    struct sigaction now;
    if (sigaction(SIGBUS, NULL, &now) != 0)
        return PMS_FAIL_OS("reading the SIGBUS handler", 0, 0, errno);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == sigbus_handler)
        return PMS_OK;
    struct sigaction *kept = atomic_load_explicit(&previous_handler, memory_order_relaxed);
    if (!kept || kept->sa_sigaction != now.sa_sigaction || kept->sa_flags != now.sa_flags) {
        kept = malloc(sizeof *kept);
        if (!kept)
            return PMS_FAIL(PMS_E_NOMEM, "SIGBUS handler", 0, sizeof *kept, 0);
        *kept = now;
        atomic_store_explicit(&previous_handler, kept, memory_order_release);
    }
    struct sigaction ours = {.sa_sigaction = sigbus_handler,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, &ours, NULL) != 0)
        return PMS_FAIL_OS("installing the SIGBUS handler", 0, 0, errno);
    return PMS_OK;
}

int pms_sigbus_install(void)
{
    pthread_mutex_lock(&list_lock);
    int status = sigbus_install_locked();
    pthread_mutex_unlock(&list_lock);
    return status;
}

/* ---- fork ------------------------------------------------------------------------------ */

static void fork_prepare(void) { pthread_mutex_lock(&list_lock); }

static void fork_parent(void) { pthread_mutex_unlock(&list_lock); }

static void fork_child(void)
{
    struct pms_map *map = atomic_load_explicit(&live_maps, memory_order_acquire);
    for (; map; map = atomic_load_explicit(&map->next, memory_order_acquire)) {
        if (map->medium.fd >= 0)
            close(map->medium.fd);
        map->medium.fd = -1;
        /* A mapping, too, keeps the file open, and so the parent's lock. */
        if (!(map->flags & PMS_MAP_RAW))
            mmap(map->medium.base, pms_page_up(map->size), PROT_READ,
                 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    atomic_store(&handlers_inside, 0); /* the threads that were inside are not here */
    atomic_fetch_add(&pms_fork_epoch, 1);
    pthread_mutex_unlock(&list_lock);
}

/* Under list_lock.  Without the guard a child of fork() would share the parent's lock. */
static int fork_guard_once(void)
{
    static int done;
    int err = done ? 0 : pthread_atfork(fork_prepare, fork_parent, fork_child);
    done = done || !err;
    return err ? PMS_FAIL_NOMEM("guard against fork (pthread_atfork)", 0) : PMS_OK;
}

/* ---- the list -------------------------------------------------------------------------- */

int pms_sigbus_enter(struct pms_map *map)
{
    pthread_mutex_lock(&list_lock);
    int status = fork_guard_once();
    if (status == PMS_OK)
        status = sigbus_install_locked();
    if (status == PMS_OK) {
        struct pms_map *first = atomic_load_explicit(&live_maps, memory_order_relaxed);
        atomic_store_explicit(&map->next, first, memory_order_relaxed);
        atomic_store_explicit(&live_maps, map, memory_order_release);
    }
    pthread_mutex_unlock(&list_lock);
    return status;
}

void pms_sigbus_leave(struct pms_map *map)
{
    pthread_mutex_lock(&list_lock);
    struct pms_map *_Atomic *link = &live_maps;
    struct pms_map *at;
    while ((at = atomic_load_explicit(link, memory_order_relaxed)) && at != map)
        link = &at->next;
    if (at)
        atomic_store(link, atomic_load_explicit(&map->next, memory_order_relaxed));
    while (atomic_load(&handlers_inside))
        sched_yield();
    pthread_mutex_unlock(&list_lock);
}

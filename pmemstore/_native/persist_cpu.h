/* persist_cpu.h -- write-back, fence and non-temporal copy of this CPU.  For persist.c. */
#ifndef PMS_PERSIST_CPU_H
#define PMS_PERSIST_CPU_H

#include "persist.h"

/* The best kind that this CPU offers (never PMS_FLUSH_NONE; AUTO if it offers none). */
enum pms_flush_kind pms_cpu_best_flush(void);

/* True if this CPU can execute the instruction of that kind (NONE: always). */
bool pms_cpu_has_flush(enum pms_flush_kind kind);

/* Set flush_fn, fence_fn, nt_copy_fn and nt_lines_min for a kind that the CPU has. */
void pms_cpu_bind(struct pms_medium *m, enum pms_flush_kind kind);

#endif

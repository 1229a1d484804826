/* tx_lag.c -- writing back what REDO units have stored in place.  tx_lag.h is the manual. */
#include "tx_lag.h"

void pms_lag_write_back(struct pms_lag *lag, struct pms_medium *medium, uint64_t seq)
{
    const uint64_t *line = lag->unit[seq % PMS_REDO_LAG].line;
    uint32_t count = lag->unit[seq % PMS_REDO_LAG].count;
    lag->unit[seq % PMS_REDO_LAG].count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *known = pms_lag_known(lag, line[i]);
        if (*known == line[i])
            *known = 0;
        pms_flush(medium, line[i], PMS_LINE);
    }
}

void pms_lag_end(struct pms_lag *lag, struct pms_medium *medium)
{
    for (uint32_t n = 0; n < PMS_REDO_LAG; n++)
        pms_lag_write_back(lag, medium, n);
    lag->row = 0;
}

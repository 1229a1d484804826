/* pool_take.c -- a session's first write.
 *
 *   open     reads: superblocks, anchors, log; changes nothing that can wait
 *   take     before the first unit: the name made durable, the rest of recovery
 *
 * A session that only reads writes nothing, and a close of it neither, unless there were frames:
 * then the next open would read them again.
 */
#include <errno.h>

#include "pool.h"
#include "recover.h"

/* Whoever made the pool was perhaps killed between giving it its name and syncing that: then units
 * would be durable in a file that a crash leaves without a name.  A directory that may not be read
 * cannot be synced, and was not made by this user; one that is gone was moved by somebody. */
int pms_pool_name_durable(struct pms_pool *pool)
{
    if (pool->named)
        return PMS_OK;
    int status = pms_sync_dir(&pool->map.medium, pool->path), err = pms_detail()->sys_errno;
    return status == PMS_E_OS && (err == EACCES || err == EPERM || err == EINVAL ||
                                  err == ENOENT || err == ENOTDIR)
               ? PMS_OK
               : status;
}

int pms_pool_take(struct pms_pool *pool)
{
    if (!pool->untaken)
        return PMS_OK;
    PMS_TRY(pms_pool_look(pool, 1)); /* a file that somebody cut is not made longer again */
    int status = pms_pool_name_durable(pool), err = pms_detail()->sys_errno;
    if (status == PMS_E_NOMEM || (status == PMS_E_OS && (err == EMFILE || err == ENFILE)))
        return status; /* nothing was synced: the next unit may try again */
    if (status == PMS_OK)
        status = pms_recover_rest(pool->untaken, &pool->log);
    if (status != PMS_OK)
        return pms_pool_poison(pool, status);
    pms_pool_untake(pool);
    return pms_pool_remember(pool);
}

void pms_pool_untake(struct pms_pool *pool)
{
    pms_recover_drop(pool->untaken);
    pool->untaken = NULL;
}

int pms_pool_end_untaken(struct pms_pool *pool)
{
    if (pool->untaken && pms_recover_found(pool->untaken))
        return pms_pool_take(pool);
    return PMS_OK;
}

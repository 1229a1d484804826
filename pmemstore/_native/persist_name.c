/* persist_name.c -- names of files: made, given, replaced, made durable. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "persist.h"

int pms_create_at(struct pms_medium *m, const char *name, const struct pms_site *site)
{
    int err = pms_tell(m, PMS_EV_CREATE, 0, 0, name, site);
    if (!err) {
        m->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        err = m->fd < 0 ? errno : 0;
    }
    return err ? PMS_FAIL_OS("create", 0, 0, err) : PMS_OK;
}

int pms_link_at(struct pms_medium *m, const char *from, const char *name,
                const struct pms_site *site)
{
    int err = pms_tell(m, PMS_EV_LINK, 0, 0, name, site);
    if (!err)
        err = link(from, name) ? errno : 0;
    return err ? PMS_FAIL_OS("link", 0, 0, err) : PMS_OK;
}

int pms_rename_at(struct pms_medium *m, const char *from, const char *name,
                  const struct pms_site *site)
{
    int err = pms_tell(m, PMS_EV_RENAME, 0, 0, name, site);
    if (!err)
        err = rename(from, name) ? errno : 0;
    return err ? PMS_FAIL_OS("rename", 0, 0, err) : PMS_OK;
}

int pms_unlink_at(struct pms_medium *m, const char *name, const struct pms_site *site)
{
    int err = pms_tell(m, PMS_EV_UNLINK, 0, 0, name, site);
    if (!err)
        err = unlink(name) ? errno : 0;
    return err ? PMS_FAIL_OS("unlink", 0, 0, err) : PMS_OK;
}

static int open_directory_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    char *directory = slash ? strndup(name, (size_t)(slash - name) + 1) : strdup(".");
    if (!directory) {
        errno = ENOMEM;
        return -1;
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = errno;
    free(directory);
    errno = err;
    return fd;
}

int pms_sync_dir_at(struct pms_medium *m, const char *name, const struct pms_site *site)
{
    int fd = open_directory_of(name);
    if (fd < 0)
        return errno == ENOMEM ? PMS_FAIL(PMS_E_NOMEM, "open the directory", 0, 0, 0)
                               : PMS_FAIL_OS("open the directory", 0, 0, errno);
    int err = pms_tell(m, PMS_EV_SYNC_DIR, 0, 0, name, site);
    if (!err)
        err = fsync(fd) ? errno : 0;
    close(fd);
    return err ? PMS_FAIL_OS("fsync of the directory", 0, 0, err) : PMS_OK;
}

/* probe.c -- which durability tier a file can give, and the sentence that says why. */
#include "map_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif
#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif
#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif

#define PMS_MAGIC_TMPFS 0x01021994u
#define PMS_MAGIC_RAMFS 0x858458f6u

static const struct {
    uint32_t magic;
    const char *name;
} probe_fs_names[] = {
    {PMS_MAGIC_TMPFS, "tmpfs"}, {PMS_MAGIC_RAMFS, "ramfs"}, {0xef53u, "ext4"},
    {0x58465342u, "xfs"},       {0x9123683eu, "btrfs"},     {0x794c7630u, "overlay"},
    {0x01021997u, "9p"},        {0x65735546u, "fuse"},      {0x6969u, "nfs"},
    {0xf2f52010u, "f2fs"},      {0x2fc12fc1u, "zfs"},       {0xca451a4eu, "bcachefs"},
    {0xe0f5e1e2u, "erofs"},     {0x87b282ffu, "famfs"},
};

static const struct {
    int err;
    const char *name;
} probe_errno_names[] = {
    {EPERM, "EPERM"},         {EIO, "EIO"},       {EBADF, "EBADF"},
    {EAGAIN, "EAGAIN"},       {ENOMEM, "ENOMEM"}, {EACCES, "EACCES"},
    {EFAULT, "EFAULT"},       {EBUSY, "EBUSY"},   {ENODEV, "ENODEV"},
    {EINVAL, "EINVAL"},       {EFBIG, "EFBIG"},   {ENOSPC, "ENOSPC"},
    {EROFS, "EROFS"},         {ENOSYS, "ENOSYS"}, {EOPNOTSUPP, "EOPNOTSUPP"},
    {ETXTBSY, "ETXTBSY"},     {EDQUOT, "EDQUOT"}, {EHWPOISON, "EHWPOISON"},
    {EINTR, "EINTR"},         {ENOTTY, "ENOTTY"}, {ENXIO, "ENXIO"},
    {EOVERFLOW, "EOVERFLOW"}, {ESTALE, "ESTALE"},
};

const char *pms_errno_name(int err, char buf[PMS_ERRNO_NAME_MAX])
{
    for (size_t i = 0; i < sizeof probe_errno_names / sizeof probe_errno_names[0]; i++)
        if (probe_errno_names[i].err == err)
            return probe_errno_names[i].name;
    snprintf(buf, PMS_ERRNO_NAME_MAX, "error %d", err);
    return buf;
}

/* 0: the kernel does not say. */
static uint32_t probe_fs_magic(int fd)
{
    struct statfs fs;
    int failed;
    do {
        failed = fstatfs(fd, &fs);
    } while (failed && errno == EINTR);
    return failed ? 0 : (uint32_t)fs.f_type;
}

static const char *probe_name_of(uint32_t magic)
{
    for (size_t i = 0; i < sizeof probe_fs_names / sizeof probe_fs_names[0]; i++)
        if (probe_fs_names[i].magic == magic)
            return probe_fs_names[i].name;
    return "this file system";
}

const char *pms_probe_fs_name(int fd) { return probe_name_of(probe_fs_magic(fd)); }

int pms_probe_map_sync(int fd)
{
    void *page = mmap(NULL, PMS_PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
    if (page == MAP_FAILED)
        return errno;
    munmap(page, PMS_PAGE);
    return 0;
}

static bool probe_statx_dax(int fd)
{
    struct statx stx = {0};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) != 0)
        return false;
    return (stx.stx_attributes & STATX_ATTR_DAX) != 0;
}

/* The first word of the nearest file of that name above the file's block device in sysfs;
 * false if there is none to read (device mapper, no sysfs, ...). */
static bool probe_sysfs_word(int fd, const char *attribute, char word[32])
{
    struct stat st;
    char link[64];
    char path[PATH_MAX];
    if (fstat(fd, &st) != 0)
        return false;
    snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
    if (!realpath(link, path))
        return false;
    for (char *slash = strrchr(path, '/'); slash && slash != path; slash = strrchr(path, '/')) {
        char name[PATH_MAX + 32];
        snprintf(name, sizeof name, "%s/%s", path, attribute);
        FILE *file = fopen(name, "re");
        if (file) {
            bool got = fgets(word, 32, file) != NULL;
            fclose(file);
            if (got)
                word[strcspn(word, " \n")] = 0;
            return got;
        }
        *slash = 0;
    }
    return false;
}

void pms_map_ask_direct(int fd, uint64_t size)
{
    char word[32];
    const char *fs = pms_probe_fs_name(fd);
    if (!strcmp(fs, "btrfs")) {
        int flags = 0;
        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
            flags |= FS_NOCOW_FL;
            (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
        }
    } else if ((!strcmp(fs, "ext4") || !strcmp(fs, "xfs")) &&
               probe_sysfs_word(fd, "queue/dax", word) && !strcmp(word, "1")) {
        struct fsxattr attr;
        if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) == 0 && !(attr.fsx_xflags & FS_XFLAG_DAX)) {
            attr.fsx_xflags |= FS_XFLAG_DAX;
            (void)ioctl(fd, FS_IOC_FSSETXATTR, &attr);
        }
        if (size >= PMS_HUGE && !strcmp(fs, "xfs") &&
            ioctl(fd, FS_IOC_FSGETXATTR, &attr) == 0) {
            attr.fsx_xflags |= FS_XFLAG_EXTSIZE;
            attr.fsx_extsize = PMS_HUGE;
            (void)ioctl(fd, FS_IOC_FSSETXATTR, &attr);
        }
    }
}

int pms_map_lengthen(struct pms_medium *m, uint64_t off, uint64_t len)
{
    struct stat st;
    if (probe_fs_magic(m->fd) != PMS_MAGIC_TMPFS || fstat(m->fd, &st) != 0 ||
        (uint64_t)st.st_size > off) /* somebody may have appended something */
        return pms_allocate_zero(m, off, len);
    return pms_allocate_written(m, off, len); /* what pms_map_share wants */
}

int pms_map_fill(struct pms_medium *m, uint64_t size)
{
    pms_map_ask_direct(m->fd, size);
    PMS_TRY(pms_map_lengthen(m, 0, size));
    return pms_sync_all(m);
}

static void probe_map_sync_granted(int fd, const char *fs, enum pms_tier *tier,
                                   char reason[PMS_REASON_MAX])
{
    char word[32];
    bool read = probe_sysfs_word(fd, "persistence_domain", word);
    *tier = PMS_TIER_FLUSH;
    if (read && !strcmp(word, "cpu_cache")) {
        *tier = PMS_TIER_EADR;
        snprintf(reason, PMS_REASON_MAX,
                 "%s grants MAP_SYNC and its device keeps CPU caches through a power failure "
                 "(persistence_domain cpu_cache)",
                 fs);
    } else if (read) {
        snprintf(reason, PMS_REASON_MAX,
                 "%s grants MAP_SYNC; CPU caches must be flushed (persistence_domain %s)", fs,
                 word);
    } else {
        snprintf(reason, PMS_REASON_MAX,
                 "%s grants MAP_SYNC; the persistence_domain of its device cannot be read, so "
                 "CPU caches are flushed",
                 fs);
    }
}

/* Why there is no DAX, as far as it can be known; the errno alone never says. */
static const char *probe_no_dax(int fd, const char *fs)
{
    static const struct {
        const char *fs, *why;
    } known[] = {
        {"btrfs", "it checksums and copies what is written, or spreads it over devices (RAID)"},
        {"zfs", "it checksums and copies what is written"},
        {"bcachefs", "it checksums and copies what is written"},
        {"overlay", "overlays pass none on; use a directory of the file system below"},
        {"nfs", "a network file system has no memory to map"},
        {"9p", "a network file system has no memory to map"},
        {"fuse", "it goes through a server"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(known[i].fs, fs))
            return known[i].why;
    if (strcmp(fs, "ext4") && strcmp(fs, "xfs"))
        return "it is not known to have any";
    char word[32];
    struct statfs st;
    struct fsxattr attr = {0};
    struct pms_extents extents = {0};
    if (!probe_sysfs_word(fd, "queue/dax", word) || strcmp(word, "1") != 0)
        return "its device is not persistent memory, or does not show itself as such";
    if (fstatfs(fd, &st) == 0 && st.f_bsize != (long)PMS_PAGE)
        return "its blocks are not as large as a page";
    pms_extents_look(fd, 0, PMS_POOL_MAX, &extents);
    if (extents.state & PMS_EXTENT_SHARED)
        return "blocks of the file are shared with a clone (reflink)";
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) == 0 && attr.fsx_xflags & FS_XFLAG_DAX)
        return "the file has the DAX flag, which counts when it is closed by all and opened "
               "again, unless the mount says dax=never or the file was cloned";
    return "the file has no DAX flag and the mount does not give it (dax=always)";
}

const char *pms_map_reason(struct pms_map *map)
{
    char buf[PMS_ERRNO_NAME_MAX];
    if (!map->reason[0] && !map->sync_errno)
        snprintf(map->reason, PMS_REASON_MAX,
                 "%s is memory: its files survive the process, but not a power failure",
                 map->fs);
    else if (!map->reason[0])
        snprintf(map->reason, PMS_REASON_MAX,
                 "the file cannot be mapped with MAP_SYNC: %s has no DAX for it (%s): %s",
                 map->fs, pms_errno_name(map->sync_errno, buf),
                 probe_no_dax(map->medium.fd, map->fs));
    return map->reason;
}

/* The tier that the file itself gives. */
static int probe_truth(struct pms_map *map, int fd, enum pms_tier *tier)
{
    struct stat st;
    char buf[PMS_ERRNO_NAME_MAX];
    if (fstat(fd, &st) != 0)
        return PMS_FAIL_OS("fstat", 0, 0, errno);
    if (!S_ISREG(st.st_mode))
        return PMS_FAIL(PMS_E_INVAL, "not a regular file", 0, S_IFREG, st.st_mode & S_IFMT);
    uint32_t magic = probe_fs_magic(fd);
    if (!magic) /* it might be memory: nothing may be called durable then */
        return PMS_FAIL_OS("asking for the file system (fstatfs)", 0, 0, errno);
    map->fs = probe_name_of(magic);
    map->sync_errno = 0;
    map->reason[0] = 0;
    if (magic == PMS_MAGIC_TMPFS || magic == PMS_MAGIC_RAMFS) {
        *tier = PMS_TIER_VOLATILE;
        return PMS_OK;
    }
    map->sync_errno = pms_probe_map_sync(fd);
    if (!map->sync_errno) {
        probe_map_sync_granted(fd, map->fs, tier, map->reason);
    } else if (probe_statx_dax(fd)) {
        *tier = PMS_TIER_DAX_FSYNC;
        snprintf(
            map->reason, PMS_REASON_MAX,
            "the file is DAX, but %s does not grant MAP_SYNC (%s; as over virtio-pmem): only "
            "a sync is durable",
            map->fs, pms_errno_name(map->sync_errno, buf));
    } else {
        *tier = PMS_TIER_SYNC;
    }
    return PMS_OK;
}

int pms_probe_file(struct pms_map *map, int fd, enum pms_tier *tier, bool *forced)
{
    *forced = false;
    map->medium.fd = fd;
    PMS_TRY(probe_truth(map, fd, tier));
    const char *name = getenv("PMEMSTORE_FORCE_TIER");
    if (!name || !*name)
        return PMS_OK;
    for (int t = PMS_TIER_EADR; t <= PMS_TIER_VOLATILE; t++) {
        if (strcmp(name, pms_tier_name((enum pms_tier)t)) != 0)
            continue;
        char truth[PMS_REASON_MAX];
        memcpy(truth, pms_map_reason(map), sizeof truth);
        int room = PMS_REASON_MAX - 80;
        snprintf(map->reason, PMS_REASON_MAX,
                 "forced by PMEMSTORE_FORCE_TIER=%s; in truth %s: %.*s", name,
                 pms_tier_name(*tier), room, truth);
        *forced = true;
        *tier = (enum pms_tier)t;
        return PMS_OK;
    }
    return PMS_FAIL(PMS_E_INVAL, "environment variable PMEMSTORE_FORCE_TIER names no tier", 0,
                    0, 0);
}

int pms_map_probe(int fd, uint64_t size, enum pms_tier *tier, char reason[PMS_REASON_MAX])
{
    struct pms_map map = {0};
    bool forced;
    (void)size; /* mapping a page of an empty file is allowed, so the trial needs no size */
    PMS_TRY(pms_probe_file(&map, fd, tier, &forced));
    memcpy(reason, pms_map_reason(&map), PMS_REASON_MAX);
    return PMS_OK;
}

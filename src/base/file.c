/*
 * Files written aside and renamed, trees removed by descriptor: a link planted in a tree is unlinked, never followed,
 * and a mount inside it stops the removal instead of emptying somebody else's disk.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"

char *path_join(const char *directory, const char *name)
{
        size_t n = strlen(directory);
        return xasprintf("%s%s%s", directory, n && directory[n - 1] == '/' ? "" : "/", name);
}

int fd_write_all(int fd, const void *data, size_t len)
{
        const char *at = data;
        while (len) {
                ssize_t n = write(fd, at, len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                at += n;
                len -= (size_t)n;
        }
        return 0;
}

int fd_read_all(int fd, size_t max, struct buf *out)
{
        size_t start = out->len;
        for (;;) {
                buf_reserve(out, 16384);
                ssize_t n = read(fd, out->data + out->len, 16384);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                out->len += (size_t)n;
                out->data[out->len] = '\0';
                if (out->len - start > max)
                        return -EFBIG;
                if (n == 0)
                        return 0;
        }
}

int file_read(const char *path, size_t max, struct buf *out, struct error *error)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(error, errno, "cannot read %s", path);
        int r = fd_read_all(fd, max, out);
        if (r == -EFBIG)
                return error_set(error, r, "%s is larger than %zu bytes", path, max);
        return r < 0 ? error_errno(error, -r, "cannot read %s", path) : 0;
}

static int write_aside(int fd, const void *data, size_t len, mode_t mode)
{
        if (fchmod(fd, mode) < 0)
                return -errno;
        int r = fd_write_all(fd, data, len);
        if (r < 0)
                return r;
        return fsync(fd) < 0 ? -errno : 0;
}

static void sync_parent(const char *path)
{
        _cleanup_free_ char *copy = xstrdup(path);
        _cleanup_close_ int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
                fsync(fd);
}

int file_write(const char *path, const void *data, size_t len, mode_t mode, struct error *error)
{
        _cleanup_free_ char *aside = xasprintf("%s.XXXXXX", path);
        _cleanup_close_ int fd = mkostemp(aside, O_CLOEXEC);
        if (fd < 0)
                return error_errno(error, errno, "cannot write %s", path);
        int r = write_aside(fd, data, len, mode);
        if (r == 0 && rename(aside, path) < 0)
                r = -errno;
        if (r < 0) {
                unlink(aside);
                return error_errno(error, -r, "cannot write %s", path);
        }
        sync_parent(path);
        return 0;
}

static int make_one(const char *path, mode_t mode)
{
        struct stat st;
        if (mkdir(path, mode) == 0)
                return 0;
        if (errno == EEXIST && stat(path, &st) == 0)
                return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
        return -errno;
}

int dir_make(const char *path, mode_t mode, struct error *error)
{
        _cleanup_free_ char *part = xstrdup(path);
        int r = 0;
        for (char *slash = strchr(part + 1, '/'); slash && r == 0; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                r = make_one(part, 0755);
                *slash = '/';
        }
        if (r == 0)
                r = make_one(path, mode);
        if (r == 0 && chmod(path, mode) < 0)
                r = -errno;
        return r < 0 ? error_errno(error, -r, "cannot make directory %s", path) : 0;
}

static int empty_directory(int fd, dev_t device);

static int remove_entry(int parent, const char *name, dev_t device)
{
        struct stat st;
        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISDIR(st.st_mode))
                return unlinkat(parent, name, 0) < 0 && errno != ENOENT ? -errno : 0;
        if (st.st_dev != device)
                return -EXDEV;
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        int r = empty_directory(fd, device);
        if (r < 0)
                return r;
        return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* Takes the descriptor over. */
static int empty_directory(int fd, dev_t device)
{
        DIR *dir = fdopendir(fd);
        if (!dir) {
                int r = -errno;
                close(fd);
                return r;
        }
        int r = 0;
        for (struct dirent *entry; r == 0 && (entry = readdir(dir));)
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        r = remove_entry(dirfd(dir), entry->d_name, device);
        closedir(dir);
        return r;
}

int dir_remove(const char *path, struct error *error)
{
        struct stat st;
        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : error_errno(error, errno, "cannot remove %s", path);
        int r = remove_entry(AT_FDCWD, path, st.st_dev);
        return r < 0 ? error_errno(error, -r, "cannot remove %s", path) : 0;
}

int file_lock(const char *path, int64_t wait_ms, int *ret_fd, struct error *error)
{
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_errno(error, errno, "cannot open lock %s", path);
        int64_t deadline = clock_ms() + wait_ms;
        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return error_errno(error, errno, "cannot lock %s", path);
                if (clock_ms() >= deadline)
                        return error_set(error, -EWOULDBLOCK, "%s is held by another process", path);
                clock_sleep_ms(20);
        }
        *ret_fd = STEAL_FD(fd);
        return 0;
}

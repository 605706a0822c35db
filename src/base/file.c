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
        if (!*path)
                return error_errno(error, ENOENT, "cannot make a directory without a name");
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

/* --- removing a tree ---------------------------------------------------------------------------------------------- */

/*
 * Whoever owned the tree may have nested it deeper than there are descriptors: a directory below DEPTH_MAX is moved up
 * to the top of the tree and its turn comes in the next round.
 */
#define DEPTH_MAX 32

struct removal {
        int top; /* the tree's own directory */
        dev_t device;
        unsigned moved; /* directories moved up so far */
        bool left;      /* in this round */
};

static int empty_directory(struct removal *removal, int fd, int depth);

/* Also a mount of the same file system (a bind mount), which the device's number does not tell. */
static bool is_other_tree(const struct removal *removal, int fd)
{
        struct stat st;
        struct statx more = {0};
        if (fstat(fd, &st) < 0 || st.st_dev != removal->device)
                return true;
        return statx(fd, "", AT_EMPTY_PATH, 0, &more) == 0 && (more.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static int move_up(struct removal *removal, int parent, const char *name)
{
        for (;;) {
                char aside[48];
                snprintf(aside, sizeof aside, ".lablink-removed-%u", removal->moved++);
                if (renameat(parent, name, removal->top, aside) == 0)
                        break;
                if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
                        return -errno;
        }
        removal->left = true;
        return 0;
}

static int remove_directory(struct removal *removal, int parent, const char *name, int depth)
{
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        int r = is_other_tree(removal, fd) ? -EXDEV : 0;
        if (r < 0 || depth == DEPTH_MAX) {
                close(fd);
                return r < 0 ? r : move_up(removal, parent, name);
        }
        r = empty_directory(removal, fd, depth);
        if (r < 0)
                return r;
        return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_entry(struct removal *removal, int parent, const char *name, int depth)
{
        struct stat st;
        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISDIR(st.st_mode))
                return remove_directory(removal, parent, name, depth + 1);
        return unlinkat(parent, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* Takes the descriptor over. */
static int empty_directory(struct removal *removal, int fd, int depth)
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
                        r = remove_entry(removal, dirfd(dir), entry->d_name, depth);
        closedir(dir);
        return r;
}

static int remove_tree(const char *path)
{
        struct stat st;
        _cleanup_close_ int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (top < 0 || fstat(top, &st) < 0)
                return -errno;
        struct removal removal = {.top = top, .device = st.st_dev};
        do {
                removal.left = false;
                int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                int r = fd < 0 ? -errno : empty_directory(&removal, fd, 0);
                if (r < 0)
                        return r;
        } while (removal.left);
        return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

int dir_remove(const char *path, struct error *error)
{
        struct stat st;
        int r = 0;
        if (lstat(path, &st) < 0)
                r = errno == ENOENT ? 0 : -errno;
        else if (S_ISDIR(st.st_mode))
                r = remove_tree(path);
        else if (unlink(path) < 0 && errno != ENOENT)
                r = -errno;
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

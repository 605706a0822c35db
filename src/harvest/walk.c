/* Walking through somebody else's tree (walk.h). */
#include "harvest/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/text.h"

#define ASK_EACH 256
#define SHOWN_HEAD 300
#define SHOWN_TAIL 100

static void found_list_free(struct found *list, size_t n)
{
        for (size_t i = 0; i < n; i++)
                free(list[i].path);
        free(list);
}

void finds_clear(struct finds *finds)
{
        found_list_free(finds->list, finds->n);
        found_list_free(finds->left, finds->left_n);
        *finds = (struct finds){0};
}

void finds_add(struct finds *finds, struct found *found)
{
        if (finds->n == finds->room) {
                finds->room = finds->room ? finds->room * 2 : 64;
                finds->list = xreallocarray(finds->list, finds->room, sizeof *finds->list);
        }
        finds->bytes += found->size;
        finds->list[finds->n++] = *found;
        *found = (struct found){0};
}

/* What is no UTF-8, such as half a character at a cut, and what is no text becomes %XX. */
static void add_shown(const char *text, size_t len, struct buf *out)
{
        for (size_t i = 0; i < len;) {
                size_t part = 1;
                while (part < 4 && i + part < len && ((unsigned char)text[i + part] & 0xc0) == 0x80)
                        part++;
                bool control = (unsigned char)text[i] < 0x20 || text[i] == 0x7f;
                if (!control && utf8_valid(text + i, part))
                        buf_add(out, text + i, part);
                else
                        for (size_t k = 0; k < part; k++)
                                buf_addf(out, "%%%02X", (unsigned char)text[i + k]);
                i += part;
        }
}

char *path_shown(const char *path)
{
        struct buf out = BUF_NULL;
        size_t len = strlen(path), head = len > SHOWN_HEAD + SHOWN_TAIL ? SHOWN_HEAD : len;
        size_t tail = len - head > SHOWN_TAIL ? SHOWN_TAIL : len - head;
        add_shown(path, head, &out);
        if (head + tail < len)
                buf_adds(&out, " ... ");
        add_shown(path + len - tail, tail, &out);
        return buf_steal(&out);
}

void finds_leave(struct finds *finds, const char *path, int64_t size)
{
        finds->left_all++;
        if (finds->left_n == LEFT_NAMED_MAX)
                return;
        if (!finds->left)
                finds->left = xcalloc(LEFT_NAMED_MAX, sizeof *finds->left);
        finds->left[finds->left_n++] = (struct found){.path = path_shown(path), .size = size};
}

static int compare_found(const void *a, const void *b)
{
        return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path);
}

void finds_sort(struct finds *finds)
{
        if (finds->n)
                qsort(finds->list, finds->n, sizeof *finds->list, compare_found);
}

static int open_beneath(int directory, const char *path, int flags)
{
        struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
                               .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
                                          RESOLVE_NO_XDEV};
        for (int tries = 0;; tries++) {
                long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
                if (fd >= 0)
                        return (int)fd;
                if (errno != EAGAIN || tries == 16) /* somebody renames around it */
                        return -errno;
        }
}

int walk_open(int root, const char *path, int *ret_fd)
{
        struct stat st;
        _cleanup_close_ int place = open_beneath(root, path, O_PATH);
        if (place < 0)
                return place;
        if (fstat(place, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode)) /* a device or a pipe is not even opened */
                return -EINVAL;
        _cleanup_close_ int fd = open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return -EINVAL;
        *ret_fd = STEAL_FD(fd);
        return 0;
}

int walk_root(const char *root, const char *below, int *ret_fd, struct error *error)
{
        _cleanup_close_ int fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return error_errno(error, errno, "cannot open the participant's home");
        if (!below || !*below) {
                *ret_fd = STEAL_FD(fd);
                return 0;
        }
        int sub = open_beneath(fd, below, O_RDONLY | O_DIRECTORY);
        if (sub < 0)
                return error_errno(error, -sub, "cannot open %s in the participant's home", below);
        *ret_fd = sub;
        return 0;
}

int64_t mtime_ns(const struct stat *st)
{
        int64_t ns;
        if (__builtin_mul_overflow((int64_t)st->st_mtim.tv_sec, INT64_C(1000000000), &ns) ||
            __builtin_add_overflow(ns, (int64_t)st->st_mtim.tv_nsec, &ns))
                return st->st_mtim.tv_sec < 0 ? INT64_MIN : INT64_MAX;
        return ns;
}

/* --- looking ------------------------------------------------------------------------------------------------------- */

struct search {
        const struct walk *walk;
        struct finds *finds;
        size_t entries;
        struct buf path; /* of the directory that is being read, with a slash at its end, or empty */
        int r;
};

static int look_into(struct search *search, int fd);

static bool goes_on(struct search *search)
{
        const struct walk *walk = search->walk;
        if (++search->entries > walk->entries_max)
                search->finds->cut = true;
        else if (walk->stop && search->entries % ASK_EACH == 0 && walk->stop(walk->userdata))
                search->r = -ECANCELED;
        return search->r == 0 && !search->finds->cut;
}

static void take_file(struct search *search, const struct stat *st)
{
        const char *path = buf_str(&search->path);
        if (!selection_takes(search->walk->selection, path))
                return;
        if (!path_is_safe(path, search->path.len)) {
                finds_leave(search->finds, path, st->st_size);
                return;
        }
        if (search->finds->n == search->walk->files_max) {
                search->finds->cut = true;
                return;
        }
        struct found found = {
                .path = xstrdup(path), .size = st->st_size, .mtime_ns = mtime_ns(st), .mode = st->st_mode & 0777};
        finds_add(search->finds, &found);
}

static void take_directory(struct search *search, int parent, const char *name)
{
        if (selection_excludes(search->walk->selection, name))
                return;
        bool enters = path_is_safe(buf_str(&search->path), search->path.len);
        int fd = enters ? open_beneath(parent, name, O_RDONLY | O_DIRECTORY) : -ENAMETOOLONG;
        buf_addc(&search->path, '/');
        if (fd >= 0)
                look_into(search, fd);
        else if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP &&
                 fd != -EXDEV) /* gone, turned into a link, a mount */
                finds_leave(search->finds, buf_str(&search->path), 0);
}

static void take_name(struct search *search, int parent, const char *name)
{
        struct stat st;
        size_t len = search->path.len;
        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
                return;
        buf_adds(&search->path, name);
        if (S_ISDIR(st.st_mode))
                take_directory(search, parent, name);
        else
                take_file(search, &st);
        buf_truncate(&search->path, len);
}

/* Takes the descriptor over. */
static int look_into(struct search *search, int fd)
{
        DIR *dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return 0;
        }
        for (struct dirent *one; goes_on(search) && (one = readdir(dir));)
                if (strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0)
                        take_name(search, dirfd(dir), one->d_name);
        closedir(dir);
        return search->r;
}

int walk_find(int root, const struct walk *walk, struct finds *ret, struct error *error)
{
        struct search search = {.walk = walk, .finds = ret};
        int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(error, errno, "cannot read the participant's home");
        int r = look_into(&search, fd);
        buf_deinit(&search.path);
        finds_sort(ret);
        return r < 0 ? error_set(error, r, "the search was stopped") : 0;
}

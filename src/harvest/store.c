/* Objects and lists on the disk (store.h). */
#include "harvest/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#define INCOMING "new-"
#define LOCK_LOOK_MS 50

int store_open(const char *state_dir, int64_t collection, bool make, struct store *ret, struct error *error)
{
        *ret = (struct store){.objects = -1, .top = -1};
        _cleanup_free_ char *all = path_join(state_dir, "collections");
        ret->directory = xasprintf("%s/%lld", all, (long long)collection);
        _cleanup_free_ char *objects = path_join(ret->directory, "objects");
        _cleanup_free_ char *work = path_join(ret->directory, "work");
        int r = 0;
        if (make) {
                r = dir_make(all, 0700, error);
                if (r == 0)
                        r = dir_make(ret->directory, 0700, error);
                if (r == 0)
                        r = dir_make(objects, 0700, error);
                if (r == 0)
                        r = dir_make(work, 0711, error);
        }
        if (r == 0 && (ret->top = open(ret->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
                r = error_errno(error, errno, "nothing is kept of collection %lld", (long long)collection);
        if (r == 0 && (ret->objects = open(objects, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
                r = error_errno(error, errno, "cannot open %s", objects);
        if (r < 0)
                store_close(ret);
        return r;
}

void store_close(struct store *store)
{
        closep(&store->objects);
        closep(&store->top);
        free(store->directory);
        *store = (struct store){.objects = -1, .top = -1};
}

char *store_list_path(const struct store *store, int64_t list)
{
        return xasprintf("%s/index-%lld", store->directory, (long long)list);
}

/* --- objects ------------------------------------------------------------------------------------------------------- */

static bool hash_is_good(const char *hash)
{
        return strlen(hash) == HASH_LENGTH && strspn(hash, "0123456789abcdef") == HASH_LENGTH;
}

int store_work_open(const struct store *store, const char *folder, char **ret_path, int *ret_fd, struct error *error)
{
        _cleanup_free_ char *path = xasprintf("%s/work/%s", store->directory, folder);
        int r = dir_make(path, 0700, error);
        if (r < 0)
                return r;
        DIR *dir = opendir(path);
        int fd = dir ? fcntl(dirfd(dir), F_DUPFD_CLOEXEC, 3) : -1;
        int number = errno;
        for (struct dirent *one; fd >= 0 && (one = readdir(dir));)
                if (str_starts(one->d_name, INCOMING))
                        unlinkat(fd, one->d_name, 0);
        if (dir)
                closedir(dir);
        if (fd < 0)
                return error_errno(error, number, "cannot open %s", path);
        *ret_path = STEAL(path);
        *ret_fd = fd;
        return 0;
}

int incoming_begin(struct incoming *ret)
{
        *ret = (struct incoming){.fd = -1, .hash = EVP_MD_CTX_new()};
        return ret->hash && EVP_DigestInit_ex(ret->hash, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

static void give_name(struct incoming *incoming)
{
        static unsigned number;
        snprintf(incoming->name, sizeof incoming->name, INCOMING "%u", number++);
}

int incoming_open(int place, struct incoming *ret)
{
        int r = incoming_begin(ret);
        if (r < 0)
                return r;
        give_name(ret);
        ret->fd = openat(place, ret->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
        return ret->fd < 0 ? -errno : 0;
}

int incoming_move(int place, struct incoming *incoming, int fd, int from, const char *path)
{
        struct stat wanted, st;
        give_name(incoming);
        if (fchmod(fd, 0400) < 0 || renameat(from, path, place, incoming->name) < 0) {
                incoming->name[0] = '\0';
                return -errno;
        }
        if (fstat(fd, &wanted) < 0 || fstatat(place, incoming->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        bool same = wanted.st_dev == st.st_dev && wanted.st_ino == st.st_ino;
        return same && st.st_nlink == 1 && st.st_size == incoming->size ? 0 : -EBADMSG;
}

int incoming_write(struct incoming *incoming, const void *data, size_t len)
{
        if (EVP_DigestUpdate(incoming->hash, data, len) != 1)
                return -EIO;
        incoming->size += (int64_t)len;
        return incoming->fd < 0 ? 0 : fd_write_all(incoming->fd, data, len);
}

int incoming_end(struct incoming *incoming, char hash[HASH_LENGTH + 1])
{
        unsigned char sum[HASH_LENGTH / 2];
        if (EVP_DigestFinal_ex(incoming->hash, sum, NULL) != 1)
                return -EIO;
        sodium_bin2hex(hash, HASH_LENGTH + 1, sum, sizeof sum);
        int fd = STEAL_FD(incoming->fd);
        return fd >= 0 && close(fd) < 0 ? -errno : 0;
}

void incoming_drop(int place, struct incoming *incoming)
{
        closep(&incoming->fd);
        if (incoming->name[0])
                unlinkat(place, incoming->name, 0);
        EVP_MD_CTX_free(incoming->hash);
        *incoming = (struct incoming){.fd = -1};
}

static void object_name(const char *hash, char out[HASH_LENGTH + 2])
{
        snprintf(out, HASH_LENGTH + 2, "%.2s/%s", hash, hash + 2);
}

int store_keep(const struct store *store, int place, const char *name, const struct entry *entry)
{
        char object[HASH_LENGTH + 2], folder[3] = "";
        struct stat st;
        if (!hash_is_good(entry->hash) || !str_starts(name, INCOMING) || strchr(name, '/'))
                return -EBADMSG;
        if (fstatat(place, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size != entry->size)
                return -EBADMSG;
        if (store_holds(store, entry))
                return unlinkat(place, name, 0) < 0 ? -errno : 0;
        object_name(entry->hash, object);
        memcpy(folder, entry->hash, 2);
        if (renameat(place, name, store->objects, object) == 0)
                return 0;
        if (errno != ENOENT || mkdirat(store->objects, folder, 0700) < 0)
                return -errno;
        return renameat(place, name, store->objects, object) < 0 ? -errno : 0;
}

bool store_holds(const struct store *store, const struct entry *entry)
{
        char name[HASH_LENGTH + 2];
        struct stat st;
        if (!hash_is_good(entry->hash))
                return false;
        object_name(entry->hash, name);
        return fstatat(store->objects, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
               st.st_size == entry->size;
}

int store_read(const struct store *store, const char *hash, int *ret_fd)
{
        char name[HASH_LENGTH + 2];
        if (!hash_is_good(hash))
                return -EINVAL;
        object_name(hash, name);
        int fd = openat(store->objects, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

static int compare_hashes(const void *a, const void *b)
{
        return memcmp(a, b, HASH_LENGTH);
}

static void sweep_folder(const struct store *store, const char *folder, const struct hashes *keep)
{
        int fd = openat(store->objects, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                closep(&fd);
                return;
        }
        for (struct dirent *file; (file = readdir(dir));) {
                char hash[HASH_LENGTH + 1];
                if (snprintf(hash, sizeof hash, "%s%s", folder, file->d_name) != HASH_LENGTH || !hash_is_good(hash))
                        continue;
                if (!keep->n || !bsearch(hash, keep->list, keep->n, HASH_LENGTH, compare_hashes))
                        unlinkat(dirfd(dir), file->d_name, 0);
        }
        closedir(dir);
}

int store_lock_shared(const struct store *store)
{
        while (flock(store->top, LOCK_SH) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

int store_lock(const struct store *store, int64_t wait_ms)
{
        int64_t deadline = clock_ms() + wait_ms;
        while (flock(store->top, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EINTR && (errno != EWOULDBLOCK || clock_ms() >= deadline))
                        return -errno;
                clock_sleep_ms(LOCK_LOOK_MS);
        }
        return 0;
}

void store_unlock(const struct store *store)
{
        flock(store->top, LOCK_UN);
}

void store_sweep(const struct store *store, struct hashes *keep)
{
        DIR *dir = NULL;
        int top = openat(store->objects, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (top < 0 || !(dir = fdopendir(top))) {
                closep(&top);
                return;
        }
        if (keep->n)
                qsort(keep->list, keep->n, HASH_LENGTH, compare_hashes);
        for (struct dirent *one; (one = readdir(dir));)
                if (strlen(one->d_name) == 2 && strcmp(one->d_name, "..") != 0)
                        sweep_folder(store, one->d_name, keep);
        closedir(dir);
}

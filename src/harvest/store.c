/* Objects and lists on the disk (store.h). */
#include "harvest/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

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

char *store_work_path(const struct store *store, const char *folder)
{
        return xasprintf("%s/work/%s", store->directory, folder);
}

/* --- objects ------------------------------------------------------------------------------------------------------- */

int incoming_open(const struct store *store, struct incoming *ret)
{
        static unsigned number;
        *ret = (struct incoming){.fd = -1};
        snprintf(ret->name, sizeof ret->name, "new-%d-%lld-%u", (int)getpid(), (long long)clock_us(), number++);
        ret->fd = openat(store->objects, ret->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (ret->fd < 0)
                return -errno;
        ret->hash = xmalloc(sizeof(crypto_hash_sha256_state));
        crypto_hash_sha256_init(ret->hash);
        return 0;
}

int incoming_write(struct incoming *incoming, const void *data, size_t len)
{
        crypto_hash_sha256_update(incoming->hash, data, len);
        incoming->size += (int64_t)len;
        return fd_write_all(incoming->fd, data, len);
}

static void object_name(const char *hash, char out[HASH_LENGTH + 2])
{
        snprintf(out, HASH_LENGTH + 2, "%.2s/%s", hash, hash + 2);
}

int incoming_keep(const struct store *store, struct incoming *incoming, char hash[HASH_LENGTH + 1])
{
        unsigned char sum[crypto_hash_sha256_BYTES];
        char name[HASH_LENGTH + 2], folder[3] = "";
        crypto_hash_sha256_final(incoming->hash, sum);
        sodium_bin2hex(hash, HASH_LENGTH + 1, sum, sizeof sum);
        object_name(hash, name);
        memcpy(folder, hash, 2);
        if (mkdirat(store->objects, folder, 0700) < 0 && errno != EEXIST)
                return -errno;
        if (close(STEAL_FD(incoming->fd)) < 0 || renameat(store->objects, incoming->name, store->objects, name) < 0)
                return -errno;
        incoming->name[0] = '\0';
        return 0;
}

void incoming_drop(const struct store *store, struct incoming *incoming)
{
        if (incoming->fd >= 0)
                close(incoming->fd);
        if (incoming->name[0])
                unlinkat(store->objects, incoming->name, 0);
        free(incoming->hash);
        *incoming = (struct incoming){.fd = -1};
}

static bool hash_is_good(const char *hash)
{
        return strlen(hash) == HASH_LENGTH && strspn(hash, "0123456789abcdef") == HASH_LENGTH;
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

static void sweep_folder(const struct store *store, const char *folder, const char (*kept)[HASH_LENGTH], size_t n)
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
                if (!n || !bsearch(hash, kept, n, HASH_LENGTH, compare_hashes))
                        unlinkat(dirfd(dir), file->d_name, 0);
        }
        closedir(dir);
}

/* Whoever plays a list holds the directory's lock shared: then nothing goes. */
void store_sweep(const struct store *store, const struct entries *keep)
{
        _cleanup_close_ int top = openat(store->objects, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (top < 0 || flock(store->top, LOCK_EX | LOCK_NB) < 0)
                return;
        char(*kept)[HASH_LENGTH] = xcalloc(keep->n + 1, HASH_LENGTH);
        for (size_t i = 0; i < keep->n; i++)
                memcpy(kept[i], keep->list[i].hash, HASH_LENGTH);
        qsort(kept, keep->n, HASH_LENGTH, compare_hashes);
        DIR *dir = fdopendir(STEAL_FD(top));
        for (struct dirent *one; dir && (one = readdir(dir));) {
                if (str_starts(one->d_name, "new-"))
                        unlinkat(store->objects, one->d_name, 0);
                else if (strlen(one->d_name) == 2 && strcmp(one->d_name, "..") != 0)
                        sweep_folder(store, one->d_name, kept, keep->n);
        }
        if (dir)
                closedir(dir);
        free(kept);
        flock(store->top, LOCK_UN);
}

/*
 * Files of a VM whose home is a directory of this machine. The VM runs meanwhile and its root may rename, replace and
 * truncate whatever is looked at: walk.h says how nothing of that leads astray.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/text.h"
#include "harvest/worker.h"

#define ENTRIES_A_FILE 100 /* names looked at for each file that may be taken, at least a million */
#define ALIVE_MS 1000

/* What was asked for as the VM names it, as seen from its home. */
static int below_home(const struct harvest_seat *seat, const char *directory, const char **ret, struct error *error)
{
        const char *home = str_or(seat->reach.home, "");
        size_t len = strlen(home);
        *ret = directory;
        if (!directory || *directory != '/')
                return 0;
        if (strncmp(directory, home, len) != 0 || (directory[len] && directory[len] != '/'))
                return error_set(error, -EINVAL, "%s is not below the participant's home %s", directory, home);
        *ret = directory[len] ? directory + len + 1 : NULL;
        return 0;
}

static int take(struct worker *worker, int root, struct found *found, struct error *error)
{
        struct stat st;
        _cleanup_close_ int fd = -1;
        if (worker_judge(worker, found) != FILE_WANTED)
                return 0;
        int r = walk_open(root, found->path, &fd);
        if (r == -ENOENT)
                return 0; /* gone since it was found */
        if (r < 0 || fstat(fd, &st) < 0) {
                worker_skip(worker, found,
                            r == -EINVAL || r == -ELOOP || r == -EXDEV ? "it is no regular file any more"
                                                                       : strerror(r < 0 ? -r : errno));
                return 0;
        }
        /* it may have grown since it was found, or be another one */
        found->size = st.st_size;
        found->mode = st.st_mode & 0777;
        found->mtime_ns = mtime_ns(&st);
        if (worker_judge(worker, found) != FILE_WANTED)
                return 0;
        return worker_take(worker, found, fd, -1, NULL, error);
}

/* A search through a million names says now and then that it goes on. */
static bool say_alive(void *userdata)
{
        static int64_t told;
        if (clock_ms() - told >= ALIVE_MS) {
                told = clock_ms();
                worker_alive(userdata);
        }
        return false;
}

static int take_all(struct worker *worker, int root, struct finds *finds, struct error *error)
{
        for (size_t i = 0; i < finds->n; i++) {
                if (worker->harvest->look) {
                        if (worker_judge(worker, &finds->list[i]) == FILE_WANTED)
                                worker_would(worker, &finds->list[i]);
                        continue;
                }
                int r = take(worker, root, &finds->list[i], error);
                if (r < 0)
                        return r;
        }
        return 0;
}

int fetch_directory(struct worker *worker, struct error *error)
{
        const struct selection *selection = worker->harvest->selection;
        struct finds finds = {0};
        struct walk walk = {
                .selection = selection,
                .files_max = (size_t)worker->harvest->limits.vm_files,
                .entries_max = (size_t)MAX(worker->harvest->limits.vm_files * ENTRIES_A_FILE, (int64_t)1000000),
                .stop = say_alive,
                .userdata = worker};
        _cleanup_close_ int root = -1;
        const char *below;
        worker_step(worker, "find");
        int r = below_home(worker->seat, selection->directory, &below, error);
        if (r == 0)
                r = walk_root(worker->seat->reach.directory, below, &root, error);
        if (r == -ENOENT && below) { /* nobody made it in this VM: it has no file there */
                error_clear(error);
                return 0;
        }
        if (r == 0)
                r = walk_find(root, &walk, &finds, error);
        if (r == 0) {
                worker_found(worker, &finds);
                if (finds.cut)
                        worker_say(worker, "more than %zu files: the rest is left out (harvest.files_max)", finds.n);
                worker_step(worker, "transfer");
                r = take_all(worker, root, &finds, error);
        }
        finds_clear(&finds);
        return r;
}

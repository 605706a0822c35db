/*
 * The archive of a list. Any list is played or refused without a crash, what was measured is what is written, and no name
 * leads out of its folder.
 */
#include <assert.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "harvest/zip.h"
#include "lab/selection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *place;

static void remove_place(void)
{
        dir_remove(place, NULL);
        free(place);
}

/* tools/fuzz removes TMPDIR, also after an input that ended this program. */
static bool make_place(void)
{
        const char *directory = getenv("TMPDIR");
        place = xasprintf("%s/lablink-fuzz-zip-XXXXXX", directory ? directory : "/tmp");
        atexit(remove_place);
        return mkdtemp(place) != NULL;
}

/* The object that lists may name: "abc". */
static void make_object(const struct store *store)
{
        _cleanup_free_ char *work = NULL;
        _cleanup_close_ int fd = -1;
        struct incoming incoming;
        struct entry entry = {.size = 3};
        assert(store_work_open(store, "vm", &work, &fd, NULL) == 0);
        assert(incoming_open(fd, &incoming) == 0 && incoming_write(&incoming, "abc", 3) == 0);
        assert(incoming_end(&incoming, entry.hash) == 0 && store_keep(store, fd, incoming.name, &entry) == 0);
        incoming_drop(fd, &incoming);
}

static int count(void *userdata, const void *bytes, size_t len)
{
        (void)bytes;
        *(int64_t *)userdata += (int64_t)len;
        return 0;
}

static void check_name(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *path = xstrndup((const char *)data, size);
        if (!path_is_safe(path, strlen(path)))
                return;
        _cleanup_free_ char *name = archive_name("vm", path);
        assert(strncmp(name, "vm/", 3) == 0 && !strchr(name, '\\'));
        assert(strlen(name) > PATH_BYTES_MAX || path_is_safe(name + 3, strlen(name + 3)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct store store;
        if (!store.directory) {
                assert(make_place() && store_open(place, 1, true, &store, NULL) == 0);
                make_object(&store);
        }
        check_name(data, size);
        _cleanup_free_ char *path = store_list_path(&store, 1);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert(fd >= 0 && fd_write_all(fd, data, size) == 0);
        int64_t written = 0, measured = 0;
        struct archive_facts facts, dry;
        struct archive_plan plan = {.store = &store, .list = 1, .put = count, .userdata = &written};
        int r = archive_play(&plan, &facts, NULL);
        plan.measure = true;
        plan.userdata = &measured;
        if (r == 0 && facts.whole)
                assert(archive_play(&plan, &dry, NULL) == 0 && written == measured && facts.files == dry.files);
        return 0;
}

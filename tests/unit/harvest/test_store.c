/* What is kept of a collection: what the parent takes from a worker's place, and who may remove it. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "harvest/store.h"

static char place[40];

static int furnish(void **state)
{
        struct store *store = xcalloc(1, sizeof *store);
        strcpy(place, "/tmp/lablink-store-XXXXXX");
        assert_non_null(mkdtemp(place));
        assert_int_equal(store_open(place, 1, true, store, NULL), 0);
        *state = store;
        return 0;
}

static int clear(void **state)
{
        store_close(*state);
        free(*state);
        return dir_remove(place, NULL);
}

/* As a worker leaves it. */
static void bring(int work, const char *text, struct entry *ret, char name[32])
{
        struct incoming incoming;
        assert_int_equal(incoming_open(work, &incoming), 0);
        assert_int_equal(incoming_write(&incoming, text, strlen(text)), 0);
        assert_int_equal(incoming_end(&incoming, ret->hash), 0);
        ret->size = incoming.size;
        memcpy(name, incoming.name, sizeof incoming.name);
        incoming.name[0] = '\0';
        incoming_drop(work, &incoming);
}

static void holds(const struct store *store, const struct entry *entry, const char *text)
{
        _cleanup_close_ int fd = -1;
        char found[16] = "";
        assert_int_equal(store_read(store, entry->hash, &fd), 0);
        assert_int_equal(read(fd, found, sizeof found - 1), strlen(text));
        assert_string_equal(found, text);
}

static void what_is_whole_is_never_replaced(void **state)
{
        struct store *store = *state;
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int work = -1;
        struct entry first = {0}, again = {0};
        char name[32];
        assert_int_equal(store_work_open(store, "vm", &path, &work, NULL), 0);
        bring(work, "abc", &first, name);
        assert_string_equal(first.hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_int_equal(store_keep(store, work, name, &first), 0);
        holds(store, &first, "abc");
        bring(work, "xyz", &again, name); /* and says that it is the same */
        memcpy(again.hash, first.hash, sizeof again.hash);
        assert_int_equal(store_keep(store, work, name, &again), 0);
        holds(store, &first, "abc");
        assert_int_not_equal(faccessat(work, name, F_OK, 0), 0);
        /* but what a loss of power has emptied is */
        _cleanup_free_ char *object = xasprintf("%s/objects/%.2s/%s", store->directory, first.hash, first.hash + 2);
        assert_int_equal(truncate(object, 0), 0);
        bring(work, "abc", &again, name);
        assert_int_equal(store_keep(store, work, name, &again), 0);
        holds(store, &first, "abc");
}

static void lies_are_not_kept(void **state)
{
        struct store *store = *state;
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int work = -1;
        struct entry entry = {0};
        char name[32];
        assert_int_equal(store_work_open(store, "vm", &path, &work, NULL), 0);
        bring(work, "abc", &entry, name);
        entry.size++;
        assert_int_equal(store_keep(store, work, name, &entry), -EBADMSG);
        entry.size--;
        assert_int_equal(store_keep(store, work, "../vm/new-0", &entry), -EBADMSG);
        assert_int_equal(store_keep(store, work, "tree", &entry), -EBADMSG);
        assert_int_equal(symlinkat("/etc/passwd", work, "new-link"), 0);
        assert_int_equal(store_keep(store, work, "new-link", &entry), -EBADMSG);
        entry.hash[0] = '/';
        assert_int_equal(store_keep(store, work, name, &entry), -EBADMSG);
        /* and what a worker that was killed has left goes when the next one begins */
        _cleanup_free_ char *other = NULL;
        _cleanup_close_ int next = -1;
        assert_int_equal(store_work_open(store, "vm", &other, &next, NULL), 0);
        assert_int_not_equal(faccessat(next, name, F_OK, 0), 0);
        assert_int_not_equal(faccessat(next, "new-link", F_OK, AT_SYMLINK_NOFOLLOW), 0);
}

/* Moves what is open as `fd`; whoever had kept another name of it could write an object. */
static int move(int work, int fd, const char *path, const char *text, struct entry *ret)
{
        struct incoming incoming;
        assert_int_equal(incoming_begin(&incoming), 0);
        assert_int_equal(incoming_write(&incoming, text, strlen(text)), 0);
        int r = incoming_move(work, &incoming, fd, work, path);
        if (r == 0) {
                assert_int_equal(incoming_end(&incoming, ret->hash), 0);
                ret->size = incoming.size;
                assert_int_equal(faccessat(work, incoming.name, F_OK, 0), 0);
        }
        incoming_drop(work, &incoming);
        return r;
}

static int make(int work, const char *name, const char *text)
{
        int fd = openat(work, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        return fd;
}

static void only_what_has_one_name_is_moved(void **state)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int work = -1;
        struct entry entry = {0};
        assert_int_equal(store_work_open(*state, "vm", &path, &work, NULL), 0);
        _cleanup_close_ int fd = make(work, "abc", "abc");
        assert_int_equal(move(work, fd, "abc", "abc", &entry), 0);
        assert_string_equal(entry.hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_int_not_equal(faccessat(work, "abc", F_OK, 0), 0);
        _cleanup_close_ int linked = make(work, "linked", "abc");
        assert_int_equal(linkat(work, "linked", work, "again", 0), 0);
        assert_int_equal(move(work, linked, "linked", "abc", &entry), -EBADMSG);
        _cleanup_close_ int other = make(work, "other", "abc");
        assert_int_equal(move(work, other, "again", "abc", &entry), -EBADMSG);
        assert_int_equal(move(work, other, "other", "longer", &entry), -EBADMSG);
        assert_int_equal(move(work, other, "missing", "abc", &entry), -ENOENT);
}

static void readers_keep_it(void **state)
{
        struct store *store = *state, reader;
        assert_int_equal(store_open(place, 1, false, &reader, NULL), 0);
        assert_int_equal(store_lock_shared(&reader), 0);
        assert_int_equal(store_lock(store, 0), -EWOULDBLOCK);
        assert_int_equal(store_lock(store, 120), -EWOULDBLOCK);
        store_close(&reader);
        assert_int_equal(store_lock(store, 0), 0);
        assert_int_equal(store_open(place, 1, false, &reader, NULL), 0);
        assert_int_equal(flock(reader.top, LOCK_SH | LOCK_NB), -1);
        store_unlock(store);
        assert_int_equal(store_lock_shared(&reader), 0);
        store_close(&reader);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(what_is_whole_is_never_replaced, furnish, clear),
                cmocka_unit_test_setup_teardown(lies_are_not_kept, furnish, clear),
                cmocka_unit_test_setup_teardown(only_what_has_one_name_is_moved, furnish, clear),
                cmocka_unit_test_setup_teardown(readers_keep_it, furnish, clear),
        };
        return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}

/*
 * A worker's programs in the hands of somebody hostile: stand-ins for ssh and rsync that try to write whatever they can
 * reach of the collection. Only the tree of their own seat and the file of their VM's host key may be theirs.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "harvest/confine.h"
#include "harvest/harvest.h"

#define NOT_HERE 77
#define OBJECT \
        "objects/ab/" \
        "cd012345678901234567890123456789012345678901234567890123456789"

/* Each line is tried; what is not allowed says so and goes on. */
static const char attempts[] =
        "#!/bin/sh\n"
        "cd \"$COLLECTION\" || exit 9\n"
        "try() { sh -c \"$1\" >/dev/null 2>&1; }\n"
        "for place in index-1 " OBJECT " work/other/tree/half work/vm/ssh_config ../../hosts/other; do\n"
        "        try \"chmod 666 $place\"; try \"echo x >>$place\"; try \"echo x >$place\"; try \"echo x 1<>$place\"\n"
        "        try \"truncate -s 1 $place\"; try \"rm -f $place\"; try \"mv $place ../..\"; try \"ln -f ../../hosts/vm $place\"\n"
        "        try \"ln -f $place work/vm/tree/link; echo x >work/vm/tree/link\"; try \"mv $place work/vm/tree/stolen\"\n"
        "done\n"
        "for place in objects objects/ab work work/vm work/other work/other/tree . ../.. /tmp; do\n"
        "        try \"echo x >$place/lablink-planted\"; try \"mkdir $place/lablink-planted\"; try \"ln -s x $place/lablink-planted\"\n"
        "done\n"
        "try 'mv work/other work/gone'; try 'mv work/vm/tree work/vm/away'; try 'rm -rf work/other objects'\n";
static const char hostile_ssh[] = "echo spoken >>../../hosts/vm\n"
                                  "case \"$*\" in *find*) printf '3 1700000000.0 644 a.slp\\0' ;; esac\n";
static const char hostile_rsync[] = "cat >/dev/null; printf abc >work/vm/tree/a.slp\n";

struct place {
        char state[40], *collection;
        struct store store;
};

static void put(const char *directory, const char *name, const char *text, mode_t mode)
{
        _cleanup_free_ char *path = path_join(directory, name);
        assert_int_equal(file_write(path, text, strlen(text), mode, NULL), 0);
}

static void has(const char *directory, const char *name, const char *text)
{
        _cleanup_free_ char *path = path_join(directory, name);
        _cleanup_buf_ struct buf found = BUF_NULL;
        if (file_read(path, 4096, &found, NULL) < 0)
                fail_msg("%s is gone", name);
        assert_string_equal(buf_str(&found), text);
}

static void is_missing(const char *directory, const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s/%s/lablink-planted", directory, name);
        assert_int_not_equal(access(path, F_OK), 0);
}

static void make_dir(const char *directory, const char *name)
{
        _cleanup_free_ char *path = path_join(directory, name);
        assert_int_equal(dir_make(path, 0700, NULL), 0);
}

static void program(const char *directory, const char *name, const char *what)
{
        _cleanup_free_ char *text = xasprintf("%s%s", attempts, what);
        put(directory, name, text, 0700);
}

static int furnish(void **state)
{
        struct place *place = xcalloc(1, sizeof *place);
        strcpy(place->state, "/tmp/lablink-confined-XXXXXX");
        assert_non_null(mkdtemp(place->state));
        assert_int_equal(store_open(place->state, 1, true, &place->store, NULL), 0);
        place->collection = place->store.directory;
        static const char *const directories[] = {"objects/ab", "work/other/tree"};
        for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
                make_dir(place->collection, directories[i]);
        make_dir(place->state, "hosts");
        make_dir(place->state, "bin");
        put(place->collection, OBJECT, "kept", 0400);
        put(place->collection, "index-1", "the list", 0600);
        put(place->collection, "work/other/tree/half", "of another", 0600);
        put(place->state, "hosts/other", "key", 0600);
        _cleanup_free_ char *bin = path_join(place->state, "bin");
        program(bin, "ssh", hostile_ssh);
        program(bin, "rsync", hostile_rsync);
        _cleanup_free_ char *path = xasprintf("%s:%s", bin, getenv("PATH"));
        setenv("PATH", path, 1);
        setenv("COLLECTION", place->collection, 1);
        *state = place;
        return 0;
}

static int clear(void **state)
{
        struct place *place = *state;
        assert_int_equal(dir_remove(place->state, NULL), 0);
        store_close(&place->store);
        free(place);
        return 0;
}

static void say(void *userdata _unused_, struct harvest_seat *seat _unused_, const char *text)
{
        print_message("%s\n", text);
}

static void programs_write_nowhere_else(void **state)
{
        struct place *place = *state;
        static char *extensions[] = {(char *)"slp", NULL};
        struct selection selection = {.extensions = extensions};
        _cleanup_free_ char *hosts = path_join(place->state, "hosts/vm");
        struct harvest_seat seat = {.hostname = "vm",
                                    .folder = "vm",
                                    .reachable = true,
                                    .reach = {.kind = REACH_SSH,
                                              .user = xstrdup("root"),
                                              .address = xstrdup("vm.invalid"),
                                              .key_file = xstrdup("/nonexistent/key"),
                                              .known_hosts_file = xstrdup(hosts)}};
        struct harvest harvest = {.store = &place->store,
                                  .selection = &selection,
                                  .limits = {.side_by_side = 1,
                                             .vm_bytes = 1 << 20,
                                             .all_bytes = 1 << 20,
                                             .vm_files = 100,
                                             .time_ms = INT32_MAX,
                                             .quiet_ms = INT32_MAX,
                                             .connect_ms = 10000},
                                  .seats = &seat,
                                  .n = 1,
                                  .say = say};
        assert_int_equal(harvest_run(&harvest, NULL), 0);
        assert_null(seat.reason);
        assert_int_equal(seat.fresh_files, 1); /* what it wrote in its own tree */
        has(place->state, "hosts/vm", "spoken\n");
        has(place->collection, OBJECT, "kept");
        has(place->collection, "index-1", "the list");
        has(place->collection, "work/other/tree/half", "of another");
        has(place->state, "hosts/other", "key");
        static const char *const places[] = {"objects",         "objects/ab", "work",  "work/vm",        "work/other",
                                             "work/other/tree", ".",          "../..", "../../../../tmp"};
        for (size_t i = 0; i < ARRAY_SIZE(places); i++)
                is_missing(place->collection, places[i]);
        _cleanup_free_ char *config = path_join(place->collection, "work/vm/ssh_config");
        _cleanup_buf_ struct buf text = BUF_NULL;
        assert_int_equal(file_read(config, 8192, &text, NULL), 0);
        assert_non_null(strstr(buf_str(&text), "StrictHostKeyChecking accept-new"));
        harvest_seat_clear(&seat);
}

int main(void)
{
        pid_t pid = fork();
        int status = 0;
        if (pid == 0)
                _exit(confine_writes((const char *const[]){NULL}) ? 0 : NOT_HERE);
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == NOT_HERE) {
                fputs("SKIPPED: this kernel has no landlock, nothing confines a worker here\n", stderr);
                return NOT_HERE;
        }
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(programs_write_nowhere_else, furnish, clear),
        };
        return cmocka_run_group_tests_name("confined", tests, NULL, NULL);
}

/* Which processes are the participant's software. */
#include "place.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/process.h"
#include "client/in_use.h"

#define LINE(text) text, sizeof(text)

static void test_match(void **state _unused_)
{
        assert_true(in_use_match(LINE("/usr/bin/sleap-label"), "sleap"));
        assert_true(in_use_match(LINE("python3\0/opt/env/bin/sleap-label\0project.slp"), "sleap"));
        assert_true(in_use_match(LINE("tmux\0new-session\0-d\0-s\0terminal"), "terminal"));
        assert_true(in_use_match(LINE("java\0-jar\0lab.jar"), "java -jar lab.jar"));
        assert_false(in_use_match(LINE("bash\0-l"), "sleap"));
        assert_false(in_use_match("", 0, "sleap"));
        assert_false(in_use_match(LINE("bash"), ""));
}

/* The name stands in the watchers' own command lines, as a setting. */
static void test_watchers(void **state _unused_)
{
        assert_false(in_use_match(LINE("/usr/bin/lablink-client\0run\0client.software=sleap"), "sleap"));
        assert_false(in_use_match(LINE("python3\0/usr/local/bin/update_inuse_status\0client.software=sleap"), "sleap"));
        assert_false(in_use_match(LINE("subscribe\0client.software=sleap"), "sleap"));
        assert_false(in_use_match(LINE("/usr/bin/python3\0-u\0/venv/bin/check_gpu\0client.software=sleap"), "sleap"));
}

static void test_fake_proc(void **state)
{
        assert_int_equal(mkdir(place_path(*state, "17"), 0755), 0);
        assert_int_equal(mkdir(place_path(*state, "18"), 0755), 0);
        assert_int_equal(mkdir(place_path(*state, "19"), 0755), 0);
        assert_int_equal(mkdir(place_path(*state, "self"), 0755), 0);
        place_write(*state, "17/cmdline", "", 0644);
        place_write(*state, "18/cmdline", "sleap-label", 0644);
        place_write(*state, "self/cmdline", "other", 0644);
        assert_int_equal(in_use_find(((struct place *)*state)->directory, "sleap"), 18);
        assert_int_equal(in_use_find(((struct place *)*state)->directory, "other"), 0);
        assert_int_equal(in_use_find("/nowhere", "sleap"), 0);
}

static void test_real_process(void **state)
{
        struct place *place = *state;
        _cleanup_free_ char *name = xasprintf("software-%s", strrchr(place->directory, '-') + 1);
        int hold[2], status;
        assert_int_equal(in_use_find("/proc", name), 0);
        place_write(place, name, "#!/bin/sh\nread word\n", 0755);
        assert_int_equal(pipe(hold), 0);
        struct process_spec spec = {.argv = (const char *const[]){place_path(place, name), NULL},
                                    .stdin_fd = hold[0],
                                    .stdout_fd = PROCESS_FD_NULL,
                                    .stderr_fd = PROCESS_FD_NULL};
        pid_t pid;
        assert_int_equal(process_spawn(&spec, &pid, NULL), 0);
        close(hold[0]);
        assert_int_equal(in_use_find("/proc", name), pid);
        siginfo_t info;
        close(hold[1]);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(in_use_find("/proc", name), 0); /* a zombie */
        assert_int_equal(waitpid(pid, &status, 0), pid);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_match),
                cmocka_unit_test(test_watchers),
                cmocka_unit_test_setup_teardown(test_fake_proc, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_real_process, place_setup, place_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

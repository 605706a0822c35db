/*
 * A runner that is killed (SIGKILL) in the middle of a launch, a start, a reset or a destroy: what it leaves is whole
 * or known to be half-made, and the next runner copes. Each is tried at ever later moments; how far it had come then
 * does not matter to the test. All of it once more where no control group holds the VMs. Needs root.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "rig.h"

#define STEP_MS 17

static void launch_three(struct rig *rig)
{
        rig_launch(rig, NULL, "a", "b", "c", NULL);
}

static void destroy(struct rig *rig)
{
        local_provider.destroy_all(rig->provider, NULL, NULL);
}

static void reset_a(struct rig *rig)
{
        local_provider.reset(rig->provider, "a", TOKEN_TWO, NULL, NULL);
}

static void start_a(struct rig *rig)
{
        local_provider.start(rig->provider, "a", NULL, NULL);
}

static void run_and_kill(struct rig *rig, void (*work)(struct rig *rig), int64_t after_ms)
{
        pid_t runner = fork();
        if (runner == 0) {
                work(rig);
                _exit(0);
        }
        assert_true(runner > 0);
        clock_sleep_ms(after_ms);
        kill(runner, SIGKILL);
        assert_int_equal(waitpid(runner, NULL, 0), runner);
}

static void launch(struct rig *rig, const char *name)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        if (rig_launch(rig, &error, name, NULL) < 0)
                fail_msg("%s", error_text(&error));
}

static void kill_vm(struct rig *rig, const char *name)
{
        _cleanup_vm_ struct local_vm vm = {0};
        assert_int_equal(local_vm_load(rig->provider, name, &vm, NULL), 0);
        assert_int_equal(process_kill(&vm.init, 60000), 0);
        assert_int_equal(rig_state(rig, name), PROVIDER_STOPPED);
}

/* Can be entered, or is running no longer: what was killed dies in its own time. */
static bool enters(struct rig *rig, const char *name)
{
        for (int64_t deadline = clock_ms() + RIG_PATIENCE_MS; clock_ms() < deadline; clock_sleep_ms(10)) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                if (rig_run(rig, name, false, "true", &out) == 0 || rig_state(rig, name) != PROVIDER_RUNNING)
                        return true;
        }
        return false;
}

/* Listed as running means that it can be entered; as stopped, that it can be started. */
static void assert_believable(struct rig *rig, const char *name)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_true(rig_state(rig, name) != PROVIDER_RUNNING || enters(rig, name));
        int state = rig_state(rig, name);
        if (state == PROVIDER_STOPPED && local_provider.start(rig->provider, name, NULL, &error) < 0)
                fail_msg("%s is stopped and does not start: %s", name, error_text(&error));
}

static void test_in_a_launch(void **state)
{
        struct rig *rig = *state;
        static const char *const names[] = {"a", "b", "c"};
        for (int after_ms = 0; after_ms < 9 * STEP_MS; after_ms += STEP_MS) {
                _cleanup_error_ struct error error = ERROR_NULL;
                run_and_kill(rig, launch_three, after_ms);
                for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                        assert_believable(rig, names[i]);
                /* the next launch makes what is missing or half-made, and only that */
                if (rig_state(rig, "b") != PROVIDER_RUNNING && rig_launch(rig, &error, "b", NULL) < 0)
                        fail_msg("%s", error_text(&error));
                free(rig_say(rig, "b", false, "true"));
                assert_int_equal(local_provider.destroy_all(rig->provider, NULL, NULL), 0);
                rig_assert_nothing_left(rig);
        }
}

static void test_in_a_destroy(void **state)
{
        struct rig *rig = *state;
        for (int after_ms = 0; after_ms < 5 * STEP_MS; after_ms += STEP_MS) {
                launch(rig, "a");
                launch(rig, "b");
                run_and_kill(rig, destroy, after_ms);
                assert_believable(rig, "a");
                assert_believable(rig, "b");
                assert_int_equal(local_provider.destroy_all(rig->provider, NULL, NULL), 0);
                rig_assert_nothing_left(rig);
        }
}

static void test_in_a_reset(void **state)
{
        struct rig *rig = *state;
        launch(rig, "a");
        for (int after_ms = 0; after_ms < 5 * STEP_MS; after_ms += STEP_MS) {
                free(rig_say(rig, "a", false, "echo secret >~/work"));
                run_and_kill(rig, reset_a, after_ms);
                assert_believable(rig, "a");
                assert_int_equal(local_provider.reset(rig->provider, "a", TOKEN_ONE, NULL, NULL), 0);
                assert_int_equal(rig_state(rig, "a"), PROVIDER_RUNNING);
                _cleanup_free_ char *found = rig_say(rig, "a", true, "ls /home/client/work; cat /run/lablink-client/*");
                assert_non_null(strstr(found, "No such file"));
                assert_non_null(strstr(found, TOKEN_ONE));
        }
}

static void test_in_a_start(void **state)
{
        struct rig *rig = *state;
        launch(rig, "a");
        free(rig_say(rig, "a", false, "echo kept >~/work"));
        for (int after_ms = 0; after_ms < 5 * STEP_MS; after_ms += STEP_MS) {
                if (rig_state(rig, "a") == PROVIDER_RUNNING)
                        kill_vm(rig, "a");
                run_and_kill(rig, start_a, after_ms);
                assert_int_equal(local_provider.start(rig->provider, "a", NULL, NULL), 0);
                _cleanup_free_ char *work = rig_say(rig, "a", false, "cat ~/work");
                assert_string_equal(work, "kept");
        }
        int64_t deadline = clock_ms() +
                           60000; /* one VM, whatever was begun before: its monitor and its first process */
        while (rig_count_processes(rig, "bwrap") != 2) {
                if (clock_ms() > deadline)
                        fail_msg("%zu processes are called bwrap", rig_count_processes(rig, "bwrap"));
                clock_sleep_ms(20);
        }
}

/* Two runners at once (a person's and a repeated one): each makes its own, and no two VMs share ids. */
static void test_two_at_once(void **state)
{
        struct rig *rig = *state;
        static const char *const names[] = {"a", "b", "c", "d"};
        uint32_t first[ARRAY_SIZE(names)];
        pid_t runners[2];
        for (int i = 0; i < 2; i++) {
                runners[i] = fork();
                if (runners[i] == 0)
                        _exit(rig_launch(rig, NULL, names[2 * i], names[2 * i + 1], NULL) < 0);
        }
        for (int i = 0; i < 2; i++) {
                int status;
                assert_int_equal(waitpid(runners[i], &status, 0), runners[i]);
                assert_int_equal(status, 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                assert_int_equal(rig_state(rig, names[i]), PROVIDER_RUNNING);
                first[i] = local_first_id(rig->provider, names[i]);
                for (size_t k = 0; k < i; k++)
                        assert_int_not_equal(first[i], first[k]);
        }
}

/* The record is gone, the VM runs: it is neither started, nor forgotten, nor left running. */
static void test_lost_record(void **state)
{
        struct rig *rig = *state;
        static const char *const contents[] = {NULL, "", "{\"token\": 1}"};
        _cleanup_free_ char *path = path_join(rig->provider->records, "a.json");
        for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
                launch(rig, "a");
                assert_int_equal(unlink(path), 0);
                if (contents[i])
                        assert_int_equal(file_write(path, contents[i], strlen(contents[i]), 0600, NULL), 0);
                assert_int_equal(rig_state(rig, "a"), PROVIDER_BROKEN);
                assert_int_equal(local_provider.reset(rig->provider, "a", TOKEN_TWO, NULL, NULL), 0);
                assert_int_equal(rig_state(rig, "a"), PROVIDER_RUNNING);
                assert_int_equal(unlink(path), 0);
                assert_int_equal(local_provider.destroy_all(rig->provider, NULL, NULL), 0);
                rig_assert_nothing_left(rig);
        }
}

static void test_limits_of_processes(void **state)
{
        struct rig *rig = *state;
        char *code = NULL, *hint = NULL, **detail = NULL;
        bool said = false;
        assert_int_equal(local_provider.check(rig->provider, &code, &hint, &detail), 0);
        for (char **line = detail; *line; line++)
                said |= strcmp(*line, "memory limit: none on the whole VM; each process by its data size") == 0;
        assert_true(said);
        free(code);
        free(hint);
        strv_free(detail);
        launch(rig, "a");
        _cleanup_free_ char *limits = rig_say(rig, "a", false, "ulimit -d; ulimit -u");
        assert_string_equal(limits, "524288\n64");
        rig_wait(rig, "a", "for f in /proc/[0-9]*/limits; do grep -q 'data size *536870912' $f || exit 1; done");
}

/* As on a machine that has no control groups for us, seen by this program alone. */
static int hide_control_groups(void **state)
{
        (void)state;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
            mount("none", "/sys/fs/cgroup", "tmpfs", MS_RDONLY, "size=64k") < 0)
                fail_msg("cannot hide the control groups: %s", strerror(errno));
        return 0;
}

#define killed(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
        const struct CMUnitTest held[] = {
                killed(test_in_a_launch), killed(test_in_a_destroy), killed(test_in_a_reset),
                killed(test_in_a_start),  killed(test_two_at_once),  killed(test_lost_record),
        };
        const struct CMUnitTest free_ones[] = {
                killed(test_limits_of_processes),
                killed(test_in_a_launch),
                killed(test_lost_record),
        };
        if (!rig_possible())
                return RIG_SKIP;
        int failed = cmocka_run_group_tests_name("killed", held, NULL, NULL);
        if (access("/sys/fs/cgroup", F_OK) < 0)
                return failed;
        return failed +
               cmocka_run_group_tests_name("killed, without control groups", free_ones, hide_control_groups, NULL);
}

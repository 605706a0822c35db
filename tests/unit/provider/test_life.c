/*
 * The life of VMs of the provider `local`: ended, started again, reset, half-made by a runner that was killed, and
 * destroyed so that nothing is left. Needs root, and says so when it is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "rig.h"

static void launch_one(struct rig *rig)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        if (rig_launch(rig, &error, "one", NULL) < 0)
                fail_msg("%s", error_text(&error));
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING);
}

static void kill_vm(struct rig *rig, const char *name)
{
        _cleanup_vm_ struct local_vm vm = {0};
        int64_t deadline = clock_ms() + RIG_PATIENCE_MS;
        assert_int_equal(local_vm_load(rig->provider, name, &vm, NULL), 0);
        assert_int_equal(kill(vm.init.pid, SIGKILL), 0);
        while (rig_state(rig, name) != PROVIDER_STOPPED) {
                assert_true(clock_ms() < deadline);
                clock_sleep_ms(10);
        }
}

static void test_starts_again_with_its_files(void **state)
{
        struct rig *rig = *state;
        struct provider_sink sink = rig_sink(rig);
        _cleanup_vm_ struct local_vm before = {0}, after = {0};
        launch_one(rig);
        assert_int_equal(local_vm_load(rig->provider, "one", &before, NULL), 0);
        free(rig_say(rig, "one", false, "echo kept >~/work"));
        free(rig_say(rig, "one", true, "echo kept >/var/work; mkdir -p /opt/bin; echo changed >/etc/hosts"));
        kill_vm(rig, "one");
        _cleanup_buf_ struct buf out = BUF_NULL;
        assert_int_equal(rig_run(rig, "one", false, "true", &out), -1);
        assert_int_equal(local_provider.start(rig->provider, "one", &sink, NULL), 0);
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING);
        _cleanup_free_ char *work = rig_say(rig, "one", false,
                                            "cat ~/work /var/work; stat -c %u ~/work; ls -d /opt/bin");
        assert_string_equal(work, "kept\nkept\n1000\n/opt/bin");
        free(rig_say(rig, "one", false, "grep -q localhost /etc/hosts"));
        assert_int_equal(local_vm_load(rig->provider, "one", &after, NULL), 0);
        assert_int_equal(after.first_id, before.first_id);
        assert_string_equal(after.token, before.token);
        assert_false(after.init.pid == before.init.pid && after.init.start_time == before.init.start_time);
        /* one that runs is left alone */
        assert_int_equal(local_provider.start(rig->provider, "one", &sink, NULL), 0);
        assert_true(process_is(&after.init));
        rig_wait(rig, "one", "test $(grep -c 'one runs$' /var/log/lablink-boot.log) = 2");
}

static void test_after_a_reboot(void **state)
{
        struct rig *rig = *state;
        _cleanup_vm_ struct local_vm vm = {0};
        launch_one(rig);
        kill_vm(rig, "one");
        assert_int_equal(local_vm_load(rig->provider, "one", &vm, NULL), 0);
        /* the same pid and start time, and yet another boot: our own process must not be taken for the VM */
        assert_int_equal(process_identify(getpid(), &vm.init), 0);
        vm.init.boot_id[0] = vm.init.boot_id[0] == 'a' ? 'b' : 'a';
        vm.network = vm.init;
        assert_int_equal(local_vm_save(rig->provider, &vm, NULL), 0);
        assert_int_equal(rig_state(rig, "one"), PROVIDER_STOPPED);
        assert_int_equal(local_provider.start(rig->provider, "one", NULL, NULL), 0);
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING);
}

static void test_reset_leaves_nothing_of_the_last(void **state)
{
        struct rig *rig = *state;
        launch_one(rig);
        free(rig_say(rig, "one", false, "echo secret >~/work"));
        free(rig_say(rig, "one", true, "echo secret | tee /var/work /opt/work /etc/work >/tmp/work"));
        assert_int_equal(local_provider.reset(rig->provider, "one", TOKEN_TWO, NULL, NULL), 0);
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING);
        _cleanup_buf_ struct buf out = BUF_NULL;
        assert_int_not_equal(rig_run(rig, "one", true, "ls -d /home/client/work /var/work", &out), 0);
        assert_int_not_equal(
                rig_run(rig, "one", true, "grep -rl secret /home /var/work /opt/work /etc/work /tmp", &out), 0);
        _cleanup_free_ char *token = rig_say(rig, "one", true, "cat /run/lablink-client/token");
        assert_string_equal(token, TOKEN_TWO);
        rig_wait(rig, "one", "test $(grep -c 'one runs$' /var/log/lablink-boot.log) = 1");
}

static void test_refuses_what_exists_and_bad_names(void **state)
{
        struct rig *rig = *state;
        static const char *const bad[] = {
                "",    "..", ".x",   "a/b",
                "a b", "-x", "a\nb", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
        launch_one(rig);
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(rig_launch(rig, &error, "two", "one", "three", NULL), -EEXIST);
        assert_non_null(strstr(error_text(&error), "launched 1 of 3"));
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING); /* untouched */
        assert_int_equal(rig_state(rig, "two"), PROVIDER_RUNNING);
        assert_int_equal(rig_state(rig, "three"), -1);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(rig_launch(rig, NULL, bad[i], NULL), -EINVAL);
        assert_int_equal(local_provider.start(rig->provider, "../one", NULL, NULL), -EINVAL);
        assert_int_equal(local_provider.start(rig->provider, "nowhere", NULL, NULL), -ENOENT);
        assert_int_equal(local_provider.reset(rig->provider, "nowhere", TOKEN_ONE, NULL, NULL), -ENOENT);
}

static void test_failure_leaves_no_half(void **state)
{
        struct rig *rig = *state;
        _cleanup_error_ struct error error = ERROR_NULL;
        launch_one(rig);
        assert_int_equal(unlink(rig->provider->agent), 0);
        assert_int_equal(rig_launch(rig, &error, "two", NULL), -ENOENT);
        assert_non_null(strstr(error_text(&error), "lablink-client"));
        assert_int_equal(rig_state(rig, "two"), -1);
        assert_false(local_vm_has_directory(rig->provider, "two"));
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING);
        /* one whose agent is no program comes up all the same: its root can look into it */
        assert_int_equal(file_write(rig->provider->agent, "not a program", 13, 0755, NULL), 0);
        assert_int_equal(rig_launch(rig, NULL, "two", NULL), 0);
        rig_wait(rig, "two", "grep -q 'started again' /var/log/lablink-boot.log");
}

static void test_cancelling_stops_between_vms(void **state)
{
        struct rig *rig = *state;
        _cleanup_error_ struct error error = ERROR_NULL;
        rig->cancel_after = 2;
        assert_int_equal(rig_launch(rig, &error, "a", "b", "c", "d", NULL), -ECANCELED);
        assert_int_equal(rig_state(rig, "b"), PROVIDER_RUNNING);
        assert_int_equal(rig_state(rig, "c"), -1);
}

static void test_broken_ones_are_found_and_replaced(void **state)
{
        struct rig *rig = *state;
        _cleanup_vm_ struct local_vm half = {0}, lost = {0};
        _cleanup_free_ char *stray = path_join(rig->provider->vms, "stray");
        launch_one(rig);
        assert_int_equal(local_vm_new(rig->provider, "half", TOKEN_TWO, &half, NULL), 0);
        assert_int_equal(layout_make(rig->provider, &half, NULL), 0);
        assert_int_equal(local_vm_new(rig->provider, "lost", TOKEN_TWO, &lost, NULL), 0);
        assert_int_equal(mkdir(stray, 0700), 0);
        assert_int_equal(rig_state(rig, "half"), PROVIDER_BROKEN);
        assert_int_equal(rig_state(rig, "lost"), PROVIDER_BROKEN);
        assert_int_equal(rig_state(rig, "stray"), PROVIDER_BROKEN);
        assert_int_equal(local_provider.start(rig->provider, "half", NULL, NULL), -EIO);
        assert_int_equal(rig_launch(rig, NULL, "half", "stray", NULL), 0);
        assert_int_equal(rig_state(rig, "half"), PROVIDER_RUNNING);
        assert_int_equal(rig_state(rig, "stray"), PROVIDER_RUNNING);
}

static void test_vms_outlive_the_runner(void **state)
{
        struct rig *rig = *state;
        int status = 0;
        pid_t runner = fork();
        if (runner == 0)
                _exit(rig_launch(rig, NULL, "one", NULL) < 0);
        assert_int_equal(waitpid(runner, &status, 0), runner);
        assert_int_equal(status, 0);
        kill(-runner, SIGKILL); /* a Ctrl-C's worth of group */
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING);
        free(rig_say(rig, "one", false, "true"));
}

/* An operation's lock is inherited by everything that still works on it, and a VM does not. */
static void test_vms_hold_no_descriptor_of_ours(void **state)
{
        struct rig *rig = *state;
        _cleanup_free_ char *path = path_join(rig->directory, "operation.lock");
        _cleanup_close_ int again = -1;
        int lock = -1;
        assert_int_equal(file_lock(path, 0, &lock, NULL), 0);
        assert_int_equal(fcntl(lock, F_SETFD, 0), 0); /* as a runner's is, for its children */
        launch_one(rig);
        close(lock);
        assert_int_equal(file_lock(path, 0, &again, NULL), 0);
}

static void test_hostile_files_are_removed_and_not_followed(void **state)
{
        struct rig *rig = *state;
        struct provider_sink sink = rig_sink(rig);
        _cleanup_free_ char *canary = path_join(rig->directory, "canary");
        launch_one(rig);
        assert_int_equal(file_write(canary, "alive", 5, 0644, NULL), 0);
        _cleanup_free_ char *links = xasprintf(
                "cd /home/client; ln -s %s here; ln -s / root; ln -s .. up; mkfifo pipe; "
                "mkdir locked && touch locked/x && chmod 0 locked; "
                "printf x >$'new\\nline'; "
                "perl -e 'for (1..3000) { mkdir q(d); chdir q(d) or die } open(F, q(>), q(deep)) or die'",
                rig->directory);
        free(rig_say(rig, "one", true, links));
        /* the places that the host opens at the next start, replaced by links */
        free(rig_say(rig, "one", true,
                     "cd /var; rm -rf log; ln -s /oldroot/etc log; ln -s /etc/passwd lib2; rm -rf lib; ln -s / lib"));
        kill_vm(rig, "one");
        assert_int_equal(local_provider.start(rig->provider, "one", &sink, NULL), 0);
        free(rig_say(rig, "one", true, "rm -f /home/client/Desktop/x"));
        _cleanup_error_ struct error error = ERROR_NULL;
        if (local_provider.destroy_all(rig->provider, &sink, &error) < 0)
                fail_msg("%s: %s", error_text(&error), buf_str(&rig->lines));
        rig_assert_nothing_left(rig);
        assert_int_equal(access(canary, F_OK), 0);
        assert_int_equal(local_provider.destroy_all(rig->provider, &sink, NULL), 0); /* once more changes nothing */
}

static void test_destroy_ends_busy_vms(void **state)
{
        struct rig *rig = *state;
        launch_one(rig);
        assert_int_equal(rig_launch(rig, NULL, "two", NULL), 0);
        free(rig_say(rig, "one", false,
                     "(trap '' TERM HUP; while :; do :; done) >/dev/null 2>&1 & "
                     "setsid sleep 100000 >/dev/null 2>&1 & echo"));
        free(rig_say(rig, "two", true, "unshare -Urpf --mount-proc sleep 100000 >/dev/null 2>&1 & sleep 0.2"));
        assert_true(rig_count_processes(rig, NULL) > 0);
        assert_int_equal(local_provider.destroy_all(rig->provider, NULL, NULL), 0);
        rig_assert_nothing_left(rig);
}

static void test_limits_hold(void **state)
{
        struct rig *rig = *state;
        char *code = NULL, *hint = NULL, **detail = NULL;
        _cleanup_buf_ struct buf out = BUF_NULL, all = BUF_NULL;
        assert_int_equal(local_provider.check(rig->provider, &code, &hint, &detail), 0);
        assert_string_equal(code, "ready");
        for (char **line = detail; *line; line++)
                buf_addf(&all, "%s\n", *line);
        free(code);
        free(hint);
        strv_free(detail);
        assert_non_null(strstr(buf_str(&all), "user ids: 65536"));
        launch_one(rig);
        rig_wait(rig, "one", "grep -q 'one runs$' /var/log/lablink-boot.log"); /* a shell that cannot fork ends */
        rig_run(rig, "one", false, "perl -e 'for (1..200) { if (defined(my $p = fork)) { $p or sleep(300), exit } }'",
                &out);
        _cleanup_free_ char *running = rig_say(rig, "one", true,
                                               "set -- /proc/[0-9]*; echo $#"); /* nothing can be forked */
        print_message("%s", buf_str(&all));
        assert_in_range(strtol(running, NULL, 10), 20,
                        64); /* local.processes of this lab; its root's few are over it without cgroups */
        if (!strstr(buf_str(&all), "memory limit: cgroup"))
                return;
        kill_vm(rig, "one");
        assert_int_equal(local_provider.start(rig->provider, "one", NULL, NULL), 0);
        assert_int_not_equal(rig_run(rig, "one", false, "set -o pipefail; head -c 700M /dev/zero | tail | wc -c", &out),
                             0);
}

static void test_check_says_what_is_missing(void **state)
{
        struct rig *rig = *state;
        char *code = NULL, *hint = NULL;
        assert_int_equal(unlink(rig->provider->agent), 0);
        assert_true(local_provider.check(rig->provider, &code, &hint, NULL) < 0);
        assert_string_equal(code, "no-agent");
        assert_non_null(strstr(hint, rig->provider->agent));
        free(code);
        free(hint);
}

static void use_startup_script(struct rig *rig, const char *script, const char *on_error)
{
        _cleanup_free_ char *path = path_join(rig->directory, "custom.sh");
        assert_int_equal(file_write(path, script, strlen(script), 0600, NULL), 0);
        rig->config->startup_script.enabled = true;
        str_replace(&rig->config->startup_script.path, path);
        str_replace(&rig->config->startup_script.on_error, on_error);
}

static void test_startup_script_runs(void **state)
{
        struct rig *rig = *state;
        use_startup_script(rig, "#!/bin/sh\nid -u >/var/by; echo said-by-script; exit 3\n", "continue");
        launch_one(rig);
        rig_wait(rig, "one", "grep -q 'one runs$' /var/log/lablink-boot.log");
        _cleanup_free_ char *by = rig_say(rig, "one", true,
                                          "cat /var/by; grep -c said-by-script /var/log/lablink-boot.log");
        assert_string_equal(by, "0\n1");
        free(rig_say(rig, "one", true, "grep -q 'ended with status 3' /var/log/lablink-boot.log"));
}

static void test_failing_startup_script_is_an_error(void **state)
{
        struct rig *rig = *state;
        use_startup_script(rig, "#!/bin/sh\nexit 3\n", "fail");
        launch_one(rig);
        rig_wait(rig, "one", "grep -q 'report status error' /var/log/agent-calls");
        free(rig_say(rig, "one", true, "! grep -q 'report status running' /var/log/agent-calls"));
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING); /* it stays, to be looked into */
        str_replace(&rig->config->startup_script.path, "/nowhere.sh");
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(rig_launch(rig, &error, "two", NULL), -ENOENT);
        assert_non_null(strstr(error_text(&error), "/nowhere.sh"));
}

static void test_repository_is_cloned_once(void **state)
{
        struct rig *rig = *state;
        /* a repository that the VM can see: made by its own start-up script, cloned at the second boot */
        use_startup_script(
                rig,
                "#!/bin/sh\n[ -d /opt/course.git ] && exit 0\ngit init -q /opt/course.git && cd /opt/course.git && "
                "echo lesson >one.txt && git add . && git -c user.name=x -c user.email=x@x commit -qm one && "
                "chown -R 1000:1000 /opt/course.git\n",
                "continue");
        str_replace(&rig->config->machine.repository, "/opt/course.git");
        launch_one(rig);
        rig_wait(rig, "one", "grep -q 'one runs$' /var/log/lablink-boot.log");
        free(rig_say(rig, "one", true, "grep -q 'could not clone the repository course' /var/log/lablink-boot.log"));
        kill_vm(rig, "one");
        assert_int_equal(local_provider.start(rig->provider, "one", NULL, NULL), 0);
        rig_wait(rig, "one", "test $(grep -c 'one runs$' /var/log/lablink-boot.log) = 2");
        _cleanup_free_ char *lesson = rig_say(rig, "one", false,
                                              "cat ~/Desktop/course/one.txt; stat -c %U ~/Desktop/course");
        assert_string_equal(lesson, "lesson\nclient");
}

static void test_software_starts_once(void **state)
{
        struct rig *rig = *state;
        str_replace(&rig->config->local.software_command, "id -u >~/by; exec sleep 34567");
        launch_one(rig);
        rig_wait(rig, "one", "grep -q 'one runs$' /var/log/lablink-boot.log");
        free(rig_say(rig, "one", true, "lablink-software; lablink-software"));
        rig_wait(rig, "one", "test -s /home/client/by");
        _cleanup_free_ char *said = rig_say(
                rig, "one", true,
                "cat /home/client/by; pgrep -c -f 'sleep 3456[7]'; pgrep -u 1000 -c -f 'sleep 3456[7]'");
        assert_string_equal(said, "1000\n1\n1");
}

#define life(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                life(test_starts_again_with_its_files),
                life(test_after_a_reboot),
                life(test_reset_leaves_nothing_of_the_last),
                life(test_refuses_what_exists_and_bad_names),
                life(test_failure_leaves_no_half),
                life(test_cancelling_stops_between_vms),
                life(test_broken_ones_are_found_and_replaced),
                life(test_vms_outlive_the_runner),
                life(test_vms_hold_no_descriptor_of_ours),
                life(test_hostile_files_are_removed_and_not_followed),
                life(test_destroy_ends_busy_vms),
                life(test_limits_hold),
                life(test_check_says_what_is_missing),
                life(test_startup_script_runs),
                life(test_failing_startup_script_is_an_error),
                life(test_repository_is_cloned_once),
                life(test_software_starts_once),
        };
        if (!rig_possible())
                return RIG_SKIP;
        return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}

/* Starting children: what they get, what they do not get, and why they could not be started. */
#include "base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "unit.h"

#define SH(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

/* Starts it with its output in a pipe; its whole output and status. */
static int output_of(struct process_spec spec, struct buf *out)
{
        int fds[2], status;
        pid_t pid;
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        spec.stdout_fd = fds[1];
        if (process_spawn(&spec, &pid, &error) < 0)
                fail_msg("%s", error_text(&error));
        close(fds[1]);
        assert_int_equal(fd_read_all(fds[0], 1 << 20, out), 0);
        close(fds[0]);
        assert_int_equal(process_wait(pid, &status, NULL), 0);
        return status;
}

static void says_why_it_cannot_start(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        pid_t pid = 0;
        struct process_spec spec = {.argv = (const char *const[]){"no-such-program-of-lablink", NULL}};
        assert_int_equal(process_spawn(&spec, &pid, &error), -ENOENT);
        assert_string_equal(error_text(&error),
                            "no-such-program-of-lablink: cannot execute it: No such file or directory");
        spec.argv = (const char *const[]){"/etc/passwd", NULL};
        assert_int_equal(process_spawn(&spec, &pid, &error), -EACCES);
        spec.argv = SH("exit 0");
        spec.cwd = "/no/such/directory";
        assert_int_equal(process_spawn(&spec, &pid, &error), -ENOENT);
        assert_contains(error_text(&error), "cannot enter its directory");
        spec.cwd = NULL;
        spec.stdout_fd = 12345;
        assert_int_equal(process_spawn(&spec, &pid, &error), -EBADF);
        assert_contains(error_text(&error), "descriptors");
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie was left */
        assert_int_equal(errno, ECHILD);
        assert_int_equal(pid, 0);
}

static void gets_what_it_was_given(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        struct process_spec spec = {.argv = SH("pwd; echo \"$A-$HOME\"; exit 7"),
                                    .env = (const char *const[]){"A=1", NULL},
                                    .cwd = "/usr",
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stderr_fd = PROCESS_FD_INHERIT};
        int status = output_of(spec, &out);
        assert_string_equal(buf_str(&out), "/usr\n1-\n");
        assert_int_equal(WEXITSTATUS(status), 7);
}

static void gets_only_the_descriptors_it_was_given(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        int stray = fcntl(open("/dev/null", O_RDONLY), F_DUPFD, 40);
        int kept = fcntl(open("/dev/null", O_RDONLY | O_CLOEXEC), F_DUPFD_CLOEXEC, 50);
        int also = fcntl(kept, F_DUPFD_CLOEXEC, 45);
        struct process_spec spec = {.argv = SH("for f in /proc/self/fd/*; do echo ${f##*/}; done"),
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stderr_fd = PROCESS_FD_NULL,
                                    .keep_fds = (const int[]){kept, also},
                                    .n_keep_fds = 2};
        output_of(spec, &out);
        _cleanup_free_ char *both = xasprintf("\n%d\n%d\n", also, kept);
        assert_contains(buf_str(&out), "0\n1\n2\n");
        assert_contains(buf_str(&out), both);
        assert_null(strstr(buf_str(&out), "\n40\n"));
        close(stray);
        close(kept);
        close(also);
}

static void swapped_standard_descriptors_stay_apart(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL, err = BUF_NULL;
        int one[2], two[2], status;
        pid_t pid;
        assert_int_equal(pipe2(one, O_CLOEXEC), 0);
        assert_int_equal(pipe2(two, O_CLOEXEC), 0);
        int saved1 = dup(1), saved2 = dup(2);
        dup2(one[1], 1);
        dup2(two[1], 2);
        struct process_spec spec = {
                .argv = SH("echo out; echo err >&2"), .stdin_fd = PROCESS_FD_NULL, .stdout_fd = 2, .stderr_fd = 1};
        int r = process_spawn(&spec, &pid, NULL);
        dup2(saved1, 1);
        dup2(saved2, 2);
        close(saved1);
        close(saved2);
        close(one[1]);
        close(two[1]);
        assert_int_equal(r, 0);
        assert_int_equal(process_wait(pid, &status, NULL), 0);
        fd_read_all(one[0], 100, &err);
        fd_read_all(two[0], 100, &out);
        assert_string_equal(buf_str(&out), "out\n");
        assert_string_equal(buf_str(&err), "err\n");
        close(one[0]);
        close(two[0]);
}

/* A daemon whose standard descriptors are closed: the pipe that tells why gets their numbers. */
static void tells_why_with_closed_standard_descriptors(void **state _unused_)
{
        int status;
        pid_t pid = fork();
        if (pid == 0) {
                close(0);
                close(1);
                close(2);
                pid_t child;
                struct process_spec spec = {.argv = (const char *const[]){"/no/such/program", NULL},
                                            .stdin_fd = PROCESS_FD_NULL,
                                            .stdout_fd = PROCESS_FD_NULL,
                                            .stderr_fd = PROCESS_FD_NULL};
                _exit(process_spawn(&spec, &child, NULL) == -ENOENT ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void signals_are_as_new(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        sigset_t blocked, before;
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGTERM);
        sigprocmask(SIG_BLOCK, &blocked, &before);
        signal(SIGPIPE, SIG_IGN);
        struct process_spec spec = {.argv = SH("grep -E 'SigBlk|SigIgn' /proc/self/status"),
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stderr_fd = PROCESS_FD_INHERIT};
        output_of(spec, &out);
        sigprocmask(SIG_SETMASK, &before, NULL);
        assert_string_equal(buf_str(&out), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void may_have_a_session_of_its_own(void **state _unused_)
{
        _cleanup_free_ char *own = NULL;
        _cleanup_buf_ struct buf out = BUF_NULL;
        struct process_spec spec = {.argv = SH("read a b c d e f g < /proc/self/stat; echo $f; echo $$"),
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stderr_fd = PROCESS_FD_INHERIT,
                                    .new_session = true};
        output_of(spec, &out);
        char *newline = strchr(out.data, '\n');
        own = xstrndup(out.data, (size_t)(newline - out.data));
        buf_consume(&out, (size_t)(newline - out.data) + 1);
        buf_truncate(&out, out.len - 1);
        assert_string_equal(own, buf_str(&out));
}

static void drops_rights(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (geteuid() != 0)
                skip();
        struct process_spec spec = {.argv = SH("id -u; id -G; grep NoNewPrivs /proc/self/status"),
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stderr_fd = PROCESS_FD_INHERIT,
                                    .drop_ids = true,
                                    .uid = 65534,
                                    .gid = 65534};
        output_of(spec, &out);
        assert_string_equal(buf_str(&out), "65534\n65534\nNoNewPrivs:\t1\n");
}

static void dies_with_its_parent(void **state _unused_)
{
        int status, fds[2];
        char c;
        assert_int_equal(pipe(fds), 0);
        pid_t parent = fork();
        if (parent == 0) {
                pid_t child;
                struct process_spec spec = {.argv = SH("while :; do sleep 1; done"),
                                            .stdin_fd = PROCESS_FD_NULL,
                                            .stdout_fd = fds[1],
                                            .stderr_fd = PROCESS_FD_NULL,
                                            .die_with_parent = true};
                _exit(process_spawn(&spec, &child, NULL) == 0 ? 0 : 1);
        }
        close(fds[1]);
        waitpid(parent, &status, 0);
        assert_int_equal(status, 0);
        /* The shell is killed; a sleep that it started ends within its second. Then the pipe is closed. */
        assert_int_equal(read(fds[0], &c, 1), 0);
        close(fds[0]);
}

static void stops_gently_then_not(void **state _unused_)
{
        struct process_spec spec = {.argv = SH("trap '' TERM; echo ready; while :; do sleep 0.05; done"),
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stderr_fd = PROCESS_FD_NULL,
                                    .new_session = true};
        int fds[2];
        char line[6];
        pid_t pid;
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        spec.stdout_fd = fds[1];
        assert_int_equal(process_spawn(&spec, &pid, NULL), 0);
        close(fds[1]);
        assert_int_equal(read(fds[0], line, 6), 6);
        process_stop(pid, true, 50);
        assert_int_equal(kill(pid, 0), -1);
        close(fds[0]);
        spec.argv = SH("exec sleep 1000");
        spec.stdout_fd = PROCESS_FD_NULL;
        assert_int_equal(process_spawn(&spec, &pid, NULL), 0);
        process_stop(pid, false, 60000);
        assert_int_equal(kill(pid, 0), -1);
        process_stop(0, true, 0); /* never our own group */
}

static void is_known_by_more_than_its_number(void **state _unused_)
{
        struct process_identity me, other;
        assert_int_equal(process_identify(getpid(), &me), 0);
        assert_true(process_is(&me));
        assert_int_equal(strlen(me.boot_id), 36);
        other = me;
        other.start_time++;
        assert_false(process_is(&other));
        other = me;
        other.boot_id[0] = other.boot_id[0] == 'a' ? 'b' : 'a';
        assert_false(process_is(&other));
        assert_false(process_is(&(struct process_identity){0}));
        pid_t pid = fork();
        if (pid == 0) {
                pause();
                _exit(0);
        }
        assert_int_equal(process_identify(pid, &other), 0);
        assert_true(process_is(&other));
        kill(pid, SIGKILL);
        siginfo_t info;
        waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
        assert_false(process_is(&other)); /* a zombie */
        waitpid(pid, NULL, 0);
        assert_false(process_is(&other));
        assert_int_equal(process_identify(pid, &other), -ESRCH);
}

static void outcomes_have_words(void **state _unused_)
{
        _cleanup_free_ char *three = process_outcome(3 << 8), *killed = process_outcome(9);
        assert_string_equal(three, "exit 3");
        assert_string_equal(killed, "killed by signal 9 (Killed)");
        assert_int_equal(process_wait(1, &(int){0}, NULL), -ECHILD);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(says_why_it_cannot_start),
                cmocka_unit_test(gets_what_it_was_given),
                cmocka_unit_test(gets_only_the_descriptors_it_was_given),
                cmocka_unit_test(swapped_standard_descriptors_stay_apart),
                cmocka_unit_test(tells_why_with_closed_standard_descriptors),
                cmocka_unit_test(signals_are_as_new),
                cmocka_unit_test(may_have_a_session_of_its_own),
                cmocka_unit_test(drops_rights),
                cmocka_unit_test(dies_with_its_parent),
                cmocka_unit_test(stops_gently_then_not),
                cmocka_unit_test(is_known_by_more_than_its_number),
                cmocka_unit_test(outcomes_have_words),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * `exec` of the provider `local` with a terminal and with pipes: what goes in and out, the size, the end. Needs root,
 * and says so when it is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "rig.h"

static int open_lab(void **state)
{
        struct rig *rig = xcalloc(1, sizeof *rig);
        _cleanup_error_ struct error error = ERROR_NULL;
        *state = rig;
        rig_open(rig);
        if (rig_launch(rig, &error, "one", NULL) < 0)
                fail_msg("%s", error_text(&error));
        return 0;
}

static int close_lab(void **state)
{
        rig_close(*state);
        free(*state);
        return 0;
}

/* exec in a child whose terminal (or pipes) we hold. */
static pid_t start_shell(struct rig *rig, int *ret_terminal)
{
        struct winsize size = {.ws_row = 37, .ws_col = 91};
        pid_t pid = forkpty(ret_terminal, NULL, NULL, &size);
        if (pid == 0) {
                int status = 0;
                setenv("TERM", "vt100", 1);
                _cleanup_error_ struct error error = ERROR_NULL;
                int r = local_provider.exec(rig->provider, "one", false, NULL, &status, &error);
                if (r < 0)
                        dprintf(2, "%s\n", error_text(&error));
                _exit(r < 0 ? 255 : status);
        }
        assert_true(pid > 0);
        return pid;
}

static void type(int terminal, const char *text)
{
        assert_int_equal(fd_write_all(terminal, text, strlen(text)), 0);
}

static void expect(int terminal, const char *text, struct buf *seen)
{
        int64_t deadline = clock_ms() + RIG_PATIENCE_MS;
        while (!strstr(buf_str(seen), text)) {
                char block[1024];
                struct pollfd wait = {.fd = terminal, .events = POLLIN};
                if (clock_ms() > deadline)
                        fail_msg("\"%s\" never came: %s", text, buf_str(seen));
                if (poll(&wait, 1, 500) <= 0)
                        continue;
                ssize_t n = read(terminal, block, sizeof block);
                if (n <= 0)
                        fail_msg("the terminal ended before \"%s\": %s", text, buf_str(seen));
                for (ssize_t i = 0; i < n; i++)
                        if (block[i]) /* a vt100 is given time by NULs */
                                buf_addc(seen, block[i]);
        }
        buf_consume(seen, (size_t)(strstr(buf_str(seen), text) - seen->data) + strlen(text));
}

static void test_terminal(void **state)
{
        struct rig *rig = *state;
        _cleanup_buf_ struct buf seen = BUF_NULL;
        int terminal, status;
        pid_t pid = start_shell(rig, &terminal);
        type(terminal, "PS1='> '; echo ready$((20+22)); tty; stty size; echo $TERM; id -un\n");
        expect(terminal, "ready42", &seen);
        expect(terminal, "/dev/pts/0", &seen);
        expect(terminal, "37 91", &seen);
        expect(terminal, "vt100", &seen);
        expect(terminal, "client", &seen);
        expect(terminal, "> ", &seen); /* until its prompt the shell itself sets the size that it has read before */
        struct winsize size = {.ws_row = 40, .ws_col = 120};
        assert_int_equal(ioctl(terminal, TIOCSWINSZ, &size), 0);
        clock_sleep_ms(200);
        type(terminal, "stty size; echo resized$((1+1))\n");
        expect(terminal, "40 120", &seen);
        type(terminal, "sleep 1000\n");
        clock_sleep_ms(300);
        type(terminal, "\003"); /* Ctrl-C is the command's, not ours */
        type(terminal, "echo after$((2+2)); exit 5\n");
        expect(terminal, "after4", &seen);
        while (poll(&(struct pollfd){.fd = terminal, .events = POLLIN}, 1, -1) > 0) {
                char block[256];
                if (read(terminal, block, sizeof block) <= 0)
                        break;
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 5);
        close(terminal);
}

/* The runner goes (its terminal was closed): what it started inside goes too. */
static void test_hang_up(void **state)
{
        struct rig *rig = *state;
        _cleanup_buf_ struct buf seen = BUF_NULL;
        int terminal, status;
        pid_t pid = start_shell(rig, &terminal);
        type(terminal, "echo ready$((20+22)); exec sleep 76543\n");
        expect(terminal, "ready42", &seen);
        rig_wait(rig, "one", "pgrep -f 'sleep 7654[3]'");
        close(terminal);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        rig_wait(rig, "one", "! pgrep -f 'sleep 7654[3]'");
}

static void test_killed_runner_ends_the_command(void **state)
{
        struct rig *rig = *state;
        _cleanup_buf_ struct buf seen = BUF_NULL;
        int terminal;
        pid_t pid = start_shell(rig, &terminal);
        type(terminal, "echo ready$((20+22)); exec sleep 87654\n");
        expect(terminal, "ready42", &seen);
        rig_wait(rig, "one", "pgrep -f 'sleep 8765[4]'");
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        rig_wait(rig, "one", "! pgrep -f 'sleep 8765[4]'");
        close(terminal);
}

struct piped {
        pid_t pid;
        int in, out, err;
};

static struct piped start_piped(struct rig *rig, const char *script)
{
        const char *argv[] = {"bash", "-c", script, NULL};
        int in[2], out[2], err[2];
        assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
                int status = 0;
                dup2(in[0], 0);
                dup2(out[1], 1);
                dup2(err[1], 2);
                close(in[1]);
                close(out[0]);
                close(err[0]);
                int r = local_provider.exec(rig->provider, "one", false, argv, &status, NULL);
                _exit(r < 0 ? 255 : status);
        }
        close(in[0]);
        close(out[1]);
        close(err[1]);
        return (struct piped){.pid = pid, .in = in[1], .out = out[0], .err = err[0]};
}

static int finish(struct piped *piped)
{
        int status;
        closep(&piped->in);
        closep(&piped->out);
        closep(&piped->err);
        assert_int_equal(waitpid(piped->pid, &status, 0), piped->pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_pipes_carry_everything(void **state)
{
        struct rig *rig = *state;
        _cleanup_buf_ struct buf out = BUF_NULL, err = BUF_NULL;
        struct piped piped = start_piped(rig, "wc -c; echo aside >&2; head -c 200000 /dev/zero; exit 9");
        _cleanup_free_ char *megabytes = xcalloc(1, 5 << 20);
        assert_int_equal(fd_write_all(piped.in, megabytes, 5 << 20), 0);
        close(piped.in);
        piped.in = -1;
        assert_int_equal(fd_read_all(piped.out, 1 << 20, &out), 0);
        assert_int_equal(fd_read_all(piped.err, 1 << 20, &err), 0);
        assert_int_equal(finish(&piped), 9);
        assert_int_equal(out.len, strlen("5242880\n") + 200000);
        assert_memory_equal(out.data, "5242880\n", 8);
        assert_string_equal(buf_str(&err), "aside\n");
}

static void test_reader_that_goes(void **state)
{
        struct rig *rig = *state;
        struct piped piped = start_piped(
                rig, "trap '' PIPE; yes >/dev/null & while echo x 2>/dev/null; do :; done; kill $!; exit 4");
        char byte;
        assert_int_equal(read(piped.out, &byte, 1), 1);
        close(piped.out);
        piped.out = -1;
        assert_int_equal(finish(&piped), 4); /* it noticed, and we passed its status on */
}

static void test_slow_reader_gets_the_end(void **state)
{
        struct rig *rig = *state;
        _cleanup_buf_ struct buf out = BUF_NULL;
        struct piped piped = start_piped(rig, "head -c 60000 /dev/zero; echo end");
        clock_sleep_ms(1000); /* the command has ended long ago */
        assert_int_equal(fd_read_all(piped.out, 1 << 20, &out), 0);
        assert_int_equal(out.len, 60004);
        assert_int_equal(finish(&piped), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_terminal),
                cmocka_unit_test(test_hang_up),
                cmocka_unit_test(test_killed_runner_ends_the_command),
                cmocka_unit_test(test_pipes_carry_everything),
                cmocka_unit_test(test_reader_that_goes),
                cmocka_unit_test(test_slow_reader_gets_the_end),
        };
        if (!rig_possible())
                return RIG_SKIP;
        return cmocka_run_group_tests_name("terminal", tests, open_lab, close_lab);
}

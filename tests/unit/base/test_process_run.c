/* Running a child to its end: lines, limits, time, cancelling, and what its children leave open. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "unit.h"

#define SH(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

struct seen {
        struct buf out, err;
        size_t lines, longest;
        int asked, patience; /* cancelled at the question after `patience`; < 0: never */
        const char *until;   /* cancelled once this was printed */
};

static void on_line(void *userdata, const char *line, bool is_stderr)
{
        struct seen *seen = userdata;
        seen->lines++;
        seen->longest = MAX(seen->longest, strlen(line));
        if (strlen(line) < 1000)
                buf_addf(is_stderr ? &seen->err : &seen->out, "<%s>", line);
}

static bool on_question(void *userdata)
{
        struct seen *seen = userdata;
        seen->asked++;
        return seen->until && strstr(buf_str(&seen->out), seen->until);
}

static void seen_deinit(struct seen *seen)
{
        buf_deinit(&seen->out);
        buf_deinit(&seen->err);
}
#define _cleanup_seen_ _cleanup_(seen_deinit)

static int run(const char *script, struct seen *seen, int64_t timeout_ms, struct error *error)
{
        struct process_io io = {.line = on_line, .cancelled = on_question, .userdata = seen, .timeout_ms = timeout_ms};
        int status = -1;
        int r = process_run(&(struct process_spec){.argv = SH(script)}, &io, &status, error);
        return r < 0 ? r : status;
}

static void gives_lines_of_both(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {0};
        assert_int_equal(run("printf 'a\\nb\\r\\n\\nlast'; printf 'e\\n' >&2; exit 3", &seen, 0, NULL), 3 << 8);
        assert_string_equal(buf_str(&seen.out), "<a><b><><last>");
        assert_string_equal(buf_str(&seen.err), "<e>");
}

static void lines_are_text(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {0};
        assert_int_equal(run("printf 'a\\000\\377\\303\\244\\n'", &seen, 0, NULL), 0);
        assert_string_equal(buf_str(&seen.out), "<a\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4>");
}

/* However the bytes arrive, a long line is one line. */
static void a_long_line_is_cut_once(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {0}, slow = {0};
        assert_int_equal(run("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after", &seen, 0, NULL), 0);
        assert_int_equal(seen.lines, 2);
        assert_int_equal(seen.longest, 16384);
        assert_string_equal(buf_str(&seen.out), "<after>");
        assert_int_equal(
                run("for i in 1 2 3 4; do head -c 10000 /dev/zero | tr '\\0' x; sleep 0.02; done; echo; echo after",
                    &slow, 0, NULL),
                0);
        assert_int_equal(slow.lines, 2);
        assert_int_equal(slow.longest, 16384);
        assert_string_equal(buf_str(&slow.out), "<after>");
}

static void sends_input(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {0};
        _cleanup_buf_ struct buf input = BUF_NULL;
        for (int i = 0; i < 500000; i++)
                buf_addc(&input, 'x');
        struct process_io io = {.line = on_line, .userdata = &seen, .input = buf_str(&input), .input_len = input.len};
        int status;
        assert_int_equal(process_run(&(struct process_spec){.argv = SH("wc -c")}, &io, &status, NULL), 0);
        assert_string_equal(buf_str(&seen.out), "<500000>");
        /* who does not read it costs nothing */
        assert_int_equal(process_run(&(struct process_spec){.argv = SH("exit 5")}, &io, &status, NULL), 0);
        assert_int_equal(WEXITSTATUS(status), 5);
        io.input = "";
        io.input_len = 0;
        buf_truncate(&seen.out, 0);
        assert_int_equal(process_run(&(struct process_spec){.argv = SH("wc -c")}, &io, &status, NULL), 0);
        assert_string_equal(buf_str(&seen.out), "<0>");
}

static void cannot_start(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct process_io io = {0};
        int status;
        struct process_spec spec = {.argv = (const char *const[]){"no-such-program-of-lablink", NULL}};
        assert_int_equal(process_run(&spec, &io, &status, &error), -ENOENT);
        assert_contains(error_text(&error), "cannot execute it");
}

static void takes_too_long(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(run("echo begun; exec sleep 1000", &seen, 300, &error), -ETIMEDOUT);
        assert_contains(error_text(&error), "took too long");
        /* also with its output closed */
        assert_int_equal(run("exec sleep 1000 >&- 2>&-", &seen, 300, &error), -ETIMEDOUT);
}

static void is_cancelled_with_its_children(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {.until = "ready"};
        _cleanup_error_ struct error error = ERROR_NULL;
        char marker[24], script[256];
        snprintf(marker, sizeof marker, "86%d.5", (int)getpid());
        /* the child ends at once, its own child does not listen */
        snprintf(script, sizeof script, "(trap '' TERM; echo ready; exec sleep %s) & wait", marker);
        assert_int_equal(run(script, &seen, 0, &error), -ECANCELED);
        assert_contains(error_text(&error), "was cancelled");
        char look[128];
        snprintf(look, sizeof look, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q '[s]leep %s'",
                 marker);
        bool alive = true;
        for (int i = 0; alive && i < 500; i++) { /* SIGKILL was sent; the kernel may need a moment */
                struct seen ignored = {0};
                alive = run(look, &ignored, 0, NULL) == 0;
                seen_deinit(&ignored);
                clock_sleep_ms(10);
        }
        assert_false(alive);
}

/* The question may be a query: output, however much, does not ask it more often. */
static void asks_by_the_clock(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {0};
        int64_t before = clock_ms();
        assert_int_equal(run("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done", &seen, 0, NULL), 0);
        int64_t most = (clock_ms() - before) / 200 + 1;
        assert_int_equal(seen.lines, 3000);
        assert_true(seen.asked <= most);
}

static void a_stray_grandchild_is_not_waited_for(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {0};
        assert_int_equal(run("(trap '' TERM; echo $$; exec sleep 30) & echo done", &seen, 20000, NULL), 0);
        assert_contains(buf_str(&seen.out), "<done>");
}

static void captures_byte_for_byte(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL, large = BUF_NULL;
        assert_int_equal(process_capture(SH("printf 'a\\000\\377\\r\\nb'"), &out, NULL), 0);
        assert_int_equal(out.len, 6);
        assert_memory_equal(out.data, "a\0\377\r\nb", 6);
        /* one long line, as `tofu output -json` prints */
        assert_int_equal(process_capture(SH("head -c 1048576 /dev/zero | tr '\\0' x"), &large, NULL), 0);
        assert_int_equal(large.len, 1 << 20);
}

static void capturing_has_limits(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(process_capture(SH("head -c 1048577 /dev/zero"), &out, &error), -EFBIG);
        assert_contains(error_text(&error), "more than 1 MB");
        assert_int_equal(out.len, 0);
        assert_int_equal(process_capture(SH("head -c 3000000 /dev/zero"), NULL, NULL), 0);
}

static void capturing_tells_what_went_wrong(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(process_capture(SH("echo out; echo no capacity >&2; echo sorry >&2; exit 4"), &out, &error),
                         -EIO);
        assert_string_equal(error_text(&error), "/bin/sh: exit 4: no capacity; sorry");
        assert_int_equal(process_capture(SH("kill -9 $$"), NULL, &error), -EIO);
        assert_contains(error_text(&error), "killed by signal 9");
        assert_int_equal(
                process_capture(SH("i=0; while [ $i -lt 900 ]; do printf '\\303\\244'; i=$((i+1)); done >&2; exit 1"),
                                NULL, &error),
                -EIO);
        assert_true(utf8_valid(error.text, strlen(error.text)));
}

static void a_status_taken_by_another_is_told(void **state _unused_)
{
        _cleanup_seen_ struct seen seen = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        signal(SIGCHLD, SIG_IGN); /* the kernel reaps */
        int r = run("echo a", &seen, 20000, &error);
        signal(SIGCHLD, SIG_DFL);
        assert_int_equal(r, -ECHILD);
        assert_string_equal(buf_str(&seen.out), "<a>");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(gives_lines_of_both),
                cmocka_unit_test(lines_are_text),
                cmocka_unit_test(a_long_line_is_cut_once),
                cmocka_unit_test(sends_input),
                cmocka_unit_test(cannot_start),
                cmocka_unit_test(takes_too_long),
                cmocka_unit_test(is_cancelled_with_its_children),
                cmocka_unit_test(asks_by_the_clock),
                cmocka_unit_test(a_stray_grandchild_is_not_waited_for),
                cmocka_unit_test(captures_byte_for_byte),
                cmocka_unit_test(capturing_has_limits),
                cmocka_unit_test(capturing_tells_what_went_wrong),
                cmocka_unit_test(a_status_taken_by_another_is_told),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

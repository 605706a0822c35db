/*
 * Running a child to its end in blocking code while its output is handed over line by line. Its pipes are drained
 * before its death is believed; what keeps a pipe open after its death (a stray grandchild) is waited for one second
 * more; whoever was told to stop leaves nothing of its group behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"

#define LINE_BYTES_MAX 16384
#define RAW_BYTES_MAX ((size_t)1 << 20)
#define TICK_MS 200

struct run {
        const struct process_io *io;
        pid_t pid;
        int in, out[2]; /* our ends; -1 when closed */
        size_t sent;
        struct buf partial[2];
        bool skipping[2]; /* the rest of a line that was handed over cut */
        struct buf *raw;  /* gets standard output as it is instead of lines; NULL: lines */
        int64_t deadline, killed_at, asked_at;
        int stopped_by;    /* 0, -ETIMEDOUT, -ECANCELED */
        bool reaped, lost; /* lost: somebody else reaped it */
        int status;
        int64_t reaped_at;
};

static void hand_over(struct run *run, int which, const char *line, size_t len)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        if (len && line[len - 1] == '\r')
                len--;
        utf8_scrub(line, utf8_cut(line, len, LINE_BYTES_MAX), &clean);
        if (run->io->line)
                run->io->line(run->io->userdata, buf_str(&clean), which == 1);
}

static void take_lines(struct run *run, int which, bool at_end)
{
        struct buf *partial = &run->partial[which];
        size_t start = 0;
        for (char *newline;
             start < partial->len && (newline = memchr(partial->data + start, '\n', partial->len - start));) {
                if (!run->skipping[which])
                        hand_over(run, which, partial->data + start, (size_t)(newline - partial->data) - start);
                run->skipping[which] = false;
                start = (size_t)(newline - partial->data) + 1;
        }
        buf_consume(partial, start);
        if (run->skipping[which]) {
                buf_truncate(partial, 0);
        } else if (partial->len > LINE_BYTES_MAX || (at_end && partial->len)) {
                hand_over(run, which, partial->data, partial->len);
                buf_truncate(partial, 0);
                run->skipping[which] = !at_end;
        }
}

static void take_raw(struct run *run, struct buf *partial)
{
        if (run->raw->len <= RAW_BYTES_MAX)
                buf_add(run->raw, partial->data, MIN(partial->len, RAW_BYTES_MAX + 1 - run->raw->len));
        buf_truncate(partial, 0);
}

static void read_output(struct run *run, int which)
{
        struct buf *partial = &run->partial[which];
        buf_reserve(partial, 65536);
        ssize_t n = read(run->out[which], partial->data + partial->len, 65536);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n <= 0) {
                closep(&run->out[which]);
                run->out[which] = -1;
                take_lines(run, which, true);
                return;
        }
        partial->len += (size_t)n;
        partial->data[partial->len] = '\0';
        if (which == 0 && run->raw)
                take_raw(run, partial);
        else
                take_lines(run, which, false);
}

static void send_input(struct run *run)
{
        ssize_t n = write(run->in, run->io->input + run->sent, run->io->input_len - run->sent);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n > 0)
                run->sent += (size_t)n;
        if (n <= 0 || run->sent == run->io->input_len) {
                closep(&run->in);
                run->in = -1;
        }
}

static void stop_group(struct run *run, int why)
{
        int64_t now = clock_ms();
        if (!run->stopped_by) {
                run->stopped_by = why;
                run->killed_at = now + 5000;
                kill(-run->pid, SIGTERM);
        } else if (now > run->killed_at) {
                kill(-run->pid, SIGKILL);
        }
}

static void look_at_clock(struct run *run)
{
        int64_t now = clock_ms();
        if (run->reaped && !run->stopped_by)
                return;
        if (run->stopped_by || (run->deadline && now > run->deadline)) {
                stop_group(run, -ETIMEDOUT);
        } else if (run->io->cancelled && now >= run->asked_at + TICK_MS) {
                run->asked_at = now;
                if (run->io->cancelled(run->io->userdata))
                        stop_group(run, -ECANCELED);
        }
}

static bool going_on(struct run *run)
{
        pid_t pid = run->reaped ? 0 : waitpid(run->pid, &run->status, WNOHANG);
        if (pid != 0 && !(pid < 0 && errno == EINTR)) {
                run->reaped = true;
                run->lost = pid < 0;
                run->reaped_at = clock_ms();
        }
        bool open_pipes = run->out[0] >= 0 || run->out[1] >= 0;
        return !run->reaped || (open_pipes && clock_ms() < run->reaped_at + 1000);
}

static void shovel(struct run *run)
{
        while (going_on(run)) {
                struct pollfd fds[3] = {{.fd = run->out[0], .events = POLLIN},
                                        {.fd = run->out[1], .events = POLLIN},
                                        {.fd = run->in, .events = POLLOUT}};
                bool open_pipes = run->out[0] >= 0 || run->out[1] >= 0;
                poll(fds, 3, open_pipes ? (run->reaped ? 10 : TICK_MS) : 5);
                for (int i = 0; i < 2; i++)
                        if (run->out[i] >= 0 && fds[i].revents)
                                read_output(run, i);
                if (run->in >= 0 && fds[2].revents)
                        send_input(run);
                look_at_clock(run);
        }
        for (int i = 0; i < 2; i++)
                take_lines(run, i, true);
        if (run->stopped_by)
                kill(-run->pid, SIGKILL);
}

struct pipes {
        int in[2], out[2], err[2];
};

static void pipes_close(struct pipes *pipes)
{
        for (int i = 0; i < 2; i++) {
                closep(&pipes->in[i]);
                closep(&pipes->out[i]);
                closep(&pipes->err[i]);
        }
}

static int run_child(const struct process_spec *spec, const struct process_io *io, struct buf *raw, int *ret_status,
                     struct error *error)
{
        _cleanup_(pipes_close) struct pipes pipes = {{-1, -1}, {-1, -1}, {-1, -1}};
        if ((io->input && pipe2(pipes.in, O_CLOEXEC) < 0) || pipe2(pipes.out, O_CLOEXEC) < 0 ||
            pipe2(pipes.err, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot start %s", spec->argv[0]);
        struct process_spec child = *spec;
        child.stdin_fd = io->input ? pipes.in[0] : PROCESS_FD_NULL;
        child.stdout_fd = pipes.out[1];
        child.stderr_fd = pipes.err[1];
        child.new_session = true;
        struct run run = {.io = io, .raw = raw, .deadline = io->timeout_ms ? clock_ms() + io->timeout_ms : 0};
        int r = process_spawn(&child, &run.pid, error);
        if (r < 0)
                return r;
        signal(SIGPIPE, SIG_IGN);
        run.in = STEAL_FD(pipes.in[1]);
        run.out[0] = STEAL_FD(pipes.out[0]);
        run.out[1] = STEAL_FD(pipes.err[0]);
        pipes_close(&pipes);
        pipes = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}};
        if (run.in >= 0)
                fcntl(run.in, F_SETFL, O_NONBLOCK);
        shovel(&run);
        closep(&run.in);
        for (int i = 0; i < 2; i++) {
                closep(&run.out[i]);
                buf_deinit(&run.partial[i]);
        }
        *ret_status = run.status;
        if (run.lost)
                return error_set(error, -ECHILD, "%s: its exit status was taken by somebody else", spec->argv[0]);
        if (run.stopped_by)
                return error_set(error, run.stopped_by, "%s: %s", spec->argv[0],
                                 run.stopped_by == -ETIMEDOUT ? "took too long and was stopped" : "was cancelled");
        return 0;
}

int process_run(const struct process_spec *spec, const struct process_io *io, int *ret_status, struct error *error)
{
        return run_child(spec, io, NULL, ret_status, error);
}

static void keep_tail(void *userdata, const char *line, bool is_stderr)
{
        struct buf *tail = userdata;
        if (!is_stderr)
                return;
        buf_addf(tail, "%s%s", tail->len ? "; " : "", line);
        if (tail->len <= 1024)
                return;
        size_t drop = tail->len - 1024;
        while (drop < tail->len && ((unsigned char)tail->data[drop] & 0xc0) == 0x80)
                drop++;
        buf_consume(tail, drop);
}

int process_capture(const char *const *argv, struct buf *out, struct error *error)
{
        _cleanup_buf_ struct buf tail = BUF_NULL, raw = BUF_NULL;
        struct process_io io = {.line = keep_tail, .userdata = &tail};
        int status = 0;
        int r = run_child(&(struct process_spec){.argv = argv}, &io, &raw, &status, error);
        if (r < 0)
                return r;
        if (status != 0) {
                _cleanup_free_ char *outcome = process_outcome(status);
                return error_set(error, -EIO, "%s: %s%s%s", argv[0], outcome, tail.len ? ": " : "", buf_str(&tail));
        }
        if (out && raw.len > RAW_BYTES_MAX)
                return error_set(error, -EFBIG, "%s prints more than 1 MB", argv[0]);
        if (out)
                buf_add(out, buf_str(&raw), raw.len);
        return 0;
}

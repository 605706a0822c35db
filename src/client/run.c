/*
 * The child's end is believed only from its pidfd; then what its pipe still holds is taken and the pipe closed, because
 * a daemon that the child left behind may hold the other end for ever. Handles outlive the run by a turn of the loop:
 * the last one that closes frees the memory.
 */
#include "client/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/file.h"
#include "client/run_spawn.h"

struct run {
        struct wait wait;
        uv_poll_t ended_poll, output_poll;
        uv_timer_t timer;
        int pidfd, input, output;
        pid_t pid;
        int status;
        int open_handles;
        void (*line)(void *userdata, const char *line, size_t len);
        void *userdata;
        struct buf partial;
        size_t taken; /* bytes of output so far */
        bool tied, ended, timed_out, freed;
};

static void maybe_free(struct run *run)
{
        if (run->open_handles || !run->freed)
                return;
        buf_deinit(&run->partial);
        free(run);
}

static void on_closed(uv_handle_t *handle)
{
        struct run *run = handle->data;
        run->open_handles--;
        maybe_free(run);
}

static void close_handle(uv_handle_t *handle)
{
        if (handle->data && !uv_is_closing(handle))
                uv_close(handle, on_closed);
}

static void close_fd(int *fd)
{
        closep(fd);
        *fd = -1;
}

static void end_line(struct run *run)
{
        run->line(run->userdata, buf_str(&run->partial), MIN(run->partial.len, (size_t)RUN_LINE_MAX));
        buf_truncate(&run->partial, 0);
}

static void take_output(struct run *run, const char *data, size_t len)
{
        for (size_t i = 0; i < len && run->taken < RUN_OUTPUT_MAX; i++, run->taken++) {
                if (data[i] == '\n')
                        end_line(run);
                else if (run->partial.len <= RUN_LINE_MAX)
                        buf_addc(&run->partial, data[i]);
        }
        if (run->taken >= RUN_OUTPUT_MAX)
                run->taken += len;
}

static void close_output(struct run *run)
{
        if (run->output < 0)
                return;
        uv_poll_stop(&run->output_poll);
        close_handle((uv_handle_t *)&run->output_poll);
        close_fd(&run->output);
        if (run->partial.len)
                end_line(run);
}

/* Takes what is there. After a flood the pipe is left alone but open: the child blocks. */
static void read_output(struct run *run)
{
        char chunk[4096];
        while (run->output >= 0) {
                ssize_t n = read(run->output, chunk, sizeof chunk);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n <= 0) {
                        close_output(run);
                        return;
                }
                take_output(run, chunk, (size_t)n);
                if (run->taken > RUN_FLOOD_MAX) {
                        uv_poll_stop(&run->output_poll);
                        return;
                }
        }
}

static void on_output(uv_poll_t *poll, int status _unused_, int events _unused_)
{
        read_output(poll->data);
}

static void on_ended(uv_poll_t *poll, int status _unused_, int events _unused_)
{
        struct run *run = poll->data;
        if (waitpid(run->pid, &run->status, WNOHANG) == 0)
                return;
        run->ended = true;
        read_output(run);
        close_output(run);
        close_handle((uv_handle_t *)&run->ended_poll);
        close_handle((uv_handle_t *)&run->timer);
        close_fd(&run->pidfd);
        close_fd(&run->input);
        task_wake(&run->wait);
}

static void on_timeout(uv_timer_t *timer)
{
        struct run *run = timer->data;
        run->timed_out = true;
        kill(-run->pid, SIGKILL);
}

static int open_pipes(struct run *run, const struct run_spec *spec, int theirs[2], struct error *error)
{
        int in[2] = {-1, -1}, out[2] = {-1, -1};
        if (spec->input ? pipe2(in, O_CLOEXEC) : (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
                return error_errno(error, errno, "cannot open a pipe");
        theirs[0] = in[0];
        run->input = in[1];
        if (spec->line ? pipe2(out, O_CLOEXEC) : (out[1] = fcntl(2, F_DUPFD_CLOEXEC, 3)) < 0)
                return error_errno(error, errno, "cannot open a pipe");
        theirs[1] = out[1];
        run->output = out[0];
        if (out[0] >= 0)
                fcntl(out[0], F_SETFL, O_NONBLOCK);
        return 0;
}

static void start_handles(struct run *run, struct loop *loop, int64_t timeout_ms)
{
        uv_poll_init(&loop->uv, &run->ended_poll, run->pidfd);
        run->ended_poll.data = run;
        uv_poll_start(&run->ended_poll, UV_READABLE, on_ended);
        uv_timer_init(&loop->uv, &run->timer);
        run->timer.data = run;
        run->open_handles = 2;
        uv_update_time(&loop->uv);
        if (timeout_ms)
                uv_timer_start(&run->timer, on_timeout, (uint64_t)timeout_ms, 0);
        if (run->output < 0)
                return;
        uv_poll_init(&loop->uv, &run->output_poll, run->output);
        run->output_poll.data = run;
        uv_poll_start(&run->output_poll, UV_READABLE, on_output);
        run->open_handles++;
}

static int launch(struct run *run, const struct run_spec *spec, struct error *error)
{
        int theirs[2] = {-1, -1};
        int r = open_pipes(run, spec, theirs, error);
        if (r == 0)
                r = run_spawn(spec, theirs[0], theirs[1], &run->pid, error);
        closep(&theirs[0]);
        closep(&theirs[1]);
        if (r < 0)
                return r;
        run->pidfd = pidfd_open(run->pid, 0);
        if (run->pidfd < 0) {
                r = error_errno(error, errno, "cannot watch %s", spec->argv[0]);
                kill(-run->pid, SIGKILL);
                waitpid(run->pid, NULL, 0);
                return r;
        }
        if (spec->input)
                fd_write_all(run->input, spec->input,
                             strlen(spec->input)); /* a child that reads nothing is not our error */
        return 0;
}

static void cancel(struct wait *wait _unused_)
{
}

struct run *run_start(struct loop *loop, const struct run_spec *spec, struct error *error)
{
        struct run *run = xcalloc(1, sizeof *run);
        *run = (struct run){.wait.cancel = cancel,
                            .pidfd = -1,
                            .input = -1,
                            .output = -1,
                            .line = spec->line,
                            .userdata = spec->userdata,
                            .tied = spec->tied};
        if (launch(run, spec, error) < 0) {
                closep(&run->input);
                closep(&run->output);
                free(run);
                return NULL;
        }
        start_handles(run, loop, spec->timeout_ms);
        return run;
}

int run_await_named(struct task *t, struct run *run, task_step next, const char *name)
{
        int r = task_await_named(t, &run->wait, next, name);
        if (run->ended)
                task_wake(&run->wait);
        return r;
}

int run_status(const struct run *run)
{
        return run->status;
}

bool run_timed_out(const struct run *run)
{
        return run->timed_out;
}

bool run_flooded(const struct run *run)
{
        return run->taken >= RUN_OUTPUT_MAX;
}

void run_free(struct run *run)
{
        if (!run)
                return;
        if (!run->ended && run->tied) {
                kill(-run->pid, SIGKILL);
                waitpid(run->pid, NULL, 0);
        }
        run->line = NULL;
        run->freed = true;
        buf_truncate(&run->partial, 0);
        close_handle((uv_handle_t *)&run->ended_poll);
        close_handle((uv_handle_t *)&run->timer);
        close_handle((uv_handle_t *)&run->output_poll);
        close_fd(&run->pidfd);
        close_fd(&run->input);
        close_fd(&run->output);
        maybe_free(run);
}

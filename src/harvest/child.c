/* Running ssh and rsync (child.h). */
#include "harvest/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "harvest/confine.h"

#define WORDS_BYTES 600
#define TICK_MS 1000
#define BLOCK_BYTES 65536

struct running {
        const struct child_io *io;
        struct child_end *end;
        pid_t pid;
        int out, err;
        int64_t ticked_ms;
};

void child_end_clear(struct child_end *end)
{
        buf_deinit(&end->words);
}

/* The last of them alone: who floods us costs no more than the reading. */
static void keep_words(struct child_end *end, const char *data, size_t n)
{
        for (size_t i = n - MIN(n, (size_t)4 * WORDS_BYTES); i < n; i++) {
                unsigned char c = (unsigned char)data[i];
                bool plain = c >= 0x20 && c != 0x7f;
                if (!plain && (end->words.len == 0 || end->words.data[end->words.len - 1] == ' '))
                        continue;
                buf_addc(&end->words, plain ? (char)c : ' ');
        }
        if (end->words.len > WORDS_BYTES)
                buf_consume(&end->words, end->words.len - WORDS_BYTES);
}

static void stop(struct running *run, int why)
{
        if (!run->end->stopped)
                run->end->stopped = why;
        kill(run->pid, SIGKILL);
}

static void read_from(struct running *run, int *fd)
{
        static char block[BLOCK_BYTES];
        ssize_t n = read(*fd, block, sizeof block);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n <= 0) {
                closep(fd);
                *fd = -1;
                return;
        }
        if (fd == &run->err) {
                keep_words(run->end, block, (size_t)n);
                return;
        }
        int r = run->io->take ? run->io->take(run->io->userdata, block, (size_t)n) : 0;
        if (r < 0)
                stop(run, r);
}

static void tick(struct running *run)
{
        if (!run->io->tick || clock_ms() - run->ticked_ms < TICK_MS)
                return;
        run->ticked_ms = clock_ms();
        int r = run->io->tick(run->io->userdata);
        if (r < 0)
                stop(run, r);
}

static size_t end_children(void)
{
        char path[48];
        size_t ended = 0;
        _cleanup_buf_ struct buf text = BUF_NULL;
        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        if (file_read(path, 65536, &text, NULL) < 0)
                return 0;
        _cleanup_strv_ char **pids = str_split(buf_str(&text), ' ');
        for (char **one = pids; *one; one++) {
                int64_t pid;
                if (parse_int(*one, 2, INT32_MAX, &pid) == 0 && kill((pid_t)pid, SIGKILL) == 0)
                        ended += process_wait((pid_t)pid, &(int){0}, NULL) == 0;
        }
        return ended;
}

/* What it had started (rsync its ssh) is ours since it ended, for the worker adopts orphans. It still holds the pipes, and
 * may write what has come: until none is left, for each that ends may leave us others. */
static void end_orphans(void)
{
        while (end_children())
                ;
}

static bool has_ended(struct running *run, int *status)
{
        pid_t pid = waitpid(run->pid, status, WNOHANG);
        return pid == run->pid || (pid < 0 && errno != EINTR);
}

static void attend(struct running *run)
{
        int status = 0;
        bool ended = false;
        while ((run->out >= 0 || run->err >= 0) && !run->end->stopped) {
                struct pollfd fds[2] = {{.fd = run->out, .events = POLLIN}, {.fd = run->err, .events = POLLIN}};
                poll(fds, 2, TICK_MS / 4);
                if (run->out >= 0 && fds[0].revents)
                        read_from(run, &run->out);
                if (run->err >= 0 && fds[1].revents)
                        read_from(run, &run->err);
                tick(run);
                if (!ended && (ended = has_ended(run, &status)))
                        end_orphans();
        }
        if (!ended)
                process_wait(run->pid, &status, NULL);
        end_orphans();
        run->end->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void shut_in(void *places)
{
        confine_writes(places);
}

int child_run(const char *const *argv, const struct child_io *io, struct child_end *ret, struct error *error)
{
        int out[2] = {-1, -1}, err[2] = {-1, -1};
        *ret = (struct child_end){0};
        if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
                int number = errno;
                closep(&out[0]);
                closep(&out[1]);
                return error_errno(error, number, "cannot start %s", argv[0]);
        }
        struct process_spec spec = {.argv = argv,
                                    .cwd = "/",
                                    .stdin_fd = io->input >= 0 ? io->input : PROCESS_FD_NULL,
                                    .stdout_fd = out[1],
                                    .stderr_fd = err[1],
                                    .die_with_parent = true,
                                    .before_exec = shut_in,
                                    .userdata = (void *)io->places};
        struct running run = {.io = io, .end = ret, .out = out[0], .err = err[0], .ticked_ms = clock_ms()};
        int r = process_spawn(&spec, &run.pid, error);
        close(out[1]);
        close(err[1]);
        if (r == 0)
                attend(&run);
        closep(&run.out);
        closep(&run.err);
        return r;
}

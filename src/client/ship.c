/* The file aside has no name and goes with the process; the job that ships logs reads it by its link in /proc. */
#include "client/ship.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "client/agent.h"
#include "client/job.h"

#define CHUNK 65536

struct ship {
        struct agent agent;
        uv_poll_t input;
        uv_signal_t interrupt, terminate;
        int aside;
        char last;         /* byte that was written */
        bool write_failed; /* told once */
};

static int open_aside(const struct settings *settings, struct error *error)
{
        _cleanup_free_ char *copy = xstrdup(settings->state_file);
        const char *const places[] = {dirname(copy), getenv("TMPDIR"), "/var/tmp", "/tmp"};
        int fd = -1;
        for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(places); i++)
                if (places[i] && *places[i])
                        fd = open(places[i], O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
        return fd >= 0 ? fd : error_errno(error, errno, "cannot keep lines aside");
}

static void put_aside(struct ship *ship, const char *data, size_t len)
{
        int r = fd_write_all(ship->aside, data, len);
        if (r < 0 && !ship->write_failed)
                log_warning("lines are lost: they cannot be kept aside: %s", strerror(-r));
        ship->write_failed = r < 0;
        ship->last = data[len - 1];
}

static void end_input(struct ship *ship)
{
        if (ship->last && ship->last != '\n')
                put_aside(ship, "\n", 1);
        ship->agent.input_ended = true;
}

/* 0: no more for now, 1: its end. */
static int read_some(struct ship *ship)
{
        char data[CHUNK];
        ssize_t n;
        do {
                n = read(STDIN_FILENO, data, sizeof data);
        } while (n < 0 && errno == EINTR);
        if (n > 0)
                put_aside(ship, data, (size_t)n);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                return 0;
        return n <= 0;
}

static void on_input(uv_poll_t *poll, int status, int events _unused_)
{
        struct ship *ship = poll->data;
        if (status == 0 && read_some(ship) == 0)
                return;
        uv_poll_stop(poll);
        end_input(ship);
}

/* A file cannot be polled, and need not be. */
static void watch_input(struct ship *ship)
{
        struct stat st;
        bool waits = fstat(STDIN_FILENO, &st) == 0 &&
                     (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(STDIN_FILENO));
        if (waits && uv_poll_init(&ship->agent.loop.uv, &ship->input, STDIN_FILENO) == 0) {
                ship->input.data = ship;
                uv_poll_start(&ship->input, UV_READABLE | UV_DISCONNECT, on_input);
                return;
        }
        while (read_some(ship) == 0)
                ;
        end_input(ship);
}

static void on_signal(uv_signal_t *handle, int signum _unused_)
{
        struct ship *ship = handle->data;
        uv_stop(&ship->agent.loop.uv);
}

static void catch_signal(struct ship *ship, uv_signal_t *handle, int signum)
{
        uv_signal_init(&ship->agent.loop.uv, handle);
        handle->data = ship;
        uv_signal_start(handle, on_signal, signum);
}

int ship_run(const struct settings *settings, struct error *error)
{
        int aside = open_aside(settings, error);
        if (aside < 0)
                return aside;
        _cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", aside);
        char *files[] = {path, NULL};
        struct settings only = *settings;
        only.log_files = files;
        struct ship ship = {.agent = {.settings = &only, .until_sent = true, .state.lock = -1}, .aside = aside};
        struct agent *agent = &ship.agent;
        signal(SIGPIPE, SIG_IGN);
        loop_init(&agent->loop);
        caller_init(&agent->caller, &agent->loop, &only);
        catch_signal(&ship, &ship.interrupt, SIGINT);
        catch_signal(&ship, &ship.terminate, SIGTERM);
        watch_input(&ship);
        struct job *job = logs_new();
        job_start(job, agent);
        loop_run(&agent->loop);
        bool all = agent->all_sent;
        job_stop(job);
        caller_deinit(&agent->caller);
        loop_deinit(&agent->loop);
        job->free(job);
        mask_deinit(&agent->mask);
        close(aside);
        return all ? 0 : error_set(error, -EINTR, "stopped before every line had arrived");
}

/*
 * Looks for the software every 20 seconds, and at once when the process that was found has ended (a pidfd says so).
 * Told at start, on every change, and every five minutes anyway: an allocator whose database was restored learns it
 * again.
 */
#include <sys/pidfd.h>

#include "base/clock.h"
#include "client/agent.h"
#include "client/in_use.h"
#include "client/job.h"

#define REFRESH_MS 300000

struct in_use {
        struct job job;
        bool used, told, told_value;
        int64_t told_ms;
        pid_t pid; /* the process that was found; 0: none */
        int pidfd; /* of it; -1: none */
        uv_poll_t *ended;
};

static int look(struct task *t);

static void forget_process(struct in_use *u)
{
        if (u->ended) {
                uv_poll_stop(u->ended);
                uv_close((uv_handle_t *)STEAL(u->ended), loop_free_handle);
        }
        closep(&u->pidfd);
        u->pidfd = -1;
        u->pid = 0;
}

static void on_ended(uv_poll_t *poll, int status _unused_, int events _unused_)
{
        struct in_use *u = poll->data;
        forget_process(u);
        alarm_ring(&u->job.alarm);
}

static void watch_process(struct in_use *u, pid_t pid)
{
        if (pid == u->pid)
                return;
        forget_process(u);
        if (!pid)
                return;
        u->pidfd = pidfd_open(pid, 0);
        if (u->pidfd < 0)
                return;
        u->pid = pid;
        u->ended = xcalloc(1, sizeof *u->ended);
        uv_poll_init(&u->job.agent->loop.uv, u->ended, u->pidfd);
        u->ended->data = u;
        uv_poll_start(u->ended, UV_READABLE, on_ended);
}

static int sleep_on(struct task *t)
{
        struct in_use *u = t->state;
        return alarm_await(t, &u->job.alarm, u->job.agent->settings->inuse_ms, look);
}

static int told(struct task *t)
{
        struct in_use *u = t->state;
        if (!call_ok(&u->job.call))
                return job_retry(&u->job, look);
        job_succeeded(&u->job);
        call_deinit(&u->job.call);
        if (!u->told || u->told_value != u->used)
                agent_say(u->job.agent, LOG_LEVEL_INFO, "%s is %s", u->job.agent->settings->software,
                          u->used ? "in use" : "not in use");
        u->told = true;
        u->told_value = u->used;
        u->told_ms = clock_ms();
        return sleep_on(t);
}

static int look(struct task *t)
{
        struct in_use *u = t->state;
        const struct settings *settings = u->job.agent->settings;
        pid_t pid = in_use_find("/proc", settings->software);
        watch_process(u, pid);
        u->used = pid != 0;
        if (u->told && u->told_value == u->used && clock_ms() - u->told_ms < REFRESH_MS)
                return sleep_on(t);
        return call_post(t, &u->job.call, &u->job.agent->caller, "/api/update_inuse_status",
                         json_pack("{s:s, s:b}", "hostname", settings->hostname, "status", u->used), told);
}

static int begin(struct task *t)
{
        struct in_use *u = t->state;
        if (*u->job.agent->settings->software)
                return look(t);
        agent_say(u->job.agent, LOG_LEVEL_INFO, "no software is configured: its use is not watched");
        task_finish(t);
        return 0;
}

static void stop(struct job *job)
{
        forget_process((struct in_use *)job);
}

static void release(struct job *job)
{
        job_deinit(job);
        free(job);
}

struct job *in_use_new(void)
{
        struct in_use *u = xcalloc(1, sizeof *u);
        *u = (struct in_use){.job = {.name = "in-use watch", .first = begin, .stop = stop, .free = release},
                             .pidfd = -1};
        return &u->job;
}

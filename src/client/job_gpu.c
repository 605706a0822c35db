/*
 * Asks a child of the agent's own program, because a broken card can hang whoever asks; no answer in time is an answer.
 * Told at start, on every change and every five minutes. A machine without a GPU is asked only as often as it is told.
 */
#include <string.h>

#include "base/clock.h"
#include "base/process.h"
#include "client/agent.h"
#include "client/child_env.h"
#include "client/gpu.h"
#include "client/job.h"

#define LOOK_MS 60000
#define REFRESH_MS 300000
#define CHILD_MS 45000

struct gpu_job {
        struct job job;
        struct run *run;
        enum gpu gpu, told_gpu;
        bool answered, told;
        int64_t told_ms;
        char *why;
};

static int look(struct task *t);

static int sleep_on(struct task *t)
{
        struct gpu_job *g = t->state;
        return alarm_await(t, &g->job.alarm, g->gpu == GPU_NONE ? REFRESH_MS : LOOK_MS, look);
}

static int tell(struct task *t);

static int told(struct task *t)
{
        struct gpu_job *g = t->state;
        if (!call_ok(&g->job.call))
                return job_retry(&g->job, tell);
        job_succeeded(&g->job);
        call_deinit(&g->job.call);
        if (!g->told || g->told_gpu != g->gpu)
                agent_say(g->job.agent, g->gpu == GPU_UNHEALTHY ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "GPU: %s%s%s",
                          gpu_word(g->gpu), g->why ? ": " : "", g->why ? g->why : "");
        g->told = true;
        g->told_gpu = g->gpu;
        g->told_ms = clock_ms();
        return sleep_on(t);
}

static int tell(struct task *t)
{
        struct gpu_job *g = t->state;
        return call_post(
                t, &g->job.call, &g->job.agent->caller, "/api/gpu_health",
                json_pack("{s:s, s:s}", "hostname", g->job.agent->settings->hostname, "gpu_status", gpu_word(g->gpu)),
                told);
}

static int ended(struct task *t)
{
        struct gpu_job *g = t->state;
        if (!g->answered) {
                _cleanup_free_ char *outcome = process_outcome(run_status(g->run));
                g->gpu = GPU_UNHEALTHY;
                g->why = run_timed_out(g->run) ? xstrdup("no answer in time") : xstrdup(outcome);
        }
        run_free(STEAL(g->run));
        if (g->told && g->told_gpu == g->gpu && clock_ms() - g->told_ms < REFRESH_MS - LOOK_MS / 2)
                return sleep_on(t);
        return tell(t);
}

/* The first line is the word, a second one says why. */
static void take_line(void *userdata, const char *line, size_t len)
{
        struct gpu_job *g = userdata;
        if (!g->answered)
                g->answered = gpu_parse(line, len, &g->gpu) == 0;
        else if (!g->why)
                g->why = xstrndup(line, len);
}

static int look(struct task *t)
{
        struct gpu_job *g = t->state;
        _cleanup_strv_ char **env = child_env(NULL, NULL);
        struct run_spec spec = {.argv = (const char *const[]){"/proc/self/exe", "check", "gpu", NULL},
                                .env = (const char *const *)env,
                                .cwd = "/",
                                .line = take_line,
                                .userdata = g,
                                .tied = true,
                                .timeout_ms = CHILD_MS};
        g->answered = false;
        free(STEAL(g->why));
        run_free(g->run);
        g->run = run_start(t->loop, &spec, &t->error);
        return g->run ? run_await(t, g->run, ended) : t->error.code;
}

static void stop(struct job *job)
{
        struct gpu_job *g = (struct gpu_job *)job;
        run_free(STEAL(g->run));
}

static void release(struct job *job)
{
        struct gpu_job *g = (struct gpu_job *)job;
        free(g->why);
        job_deinit(job);
        free(g);
}

struct job *gpu_new(void)
{
        struct gpu_job *g = xcalloc(1, sizeof *g);
        *g = (struct gpu_job){.job = {.name = "GPU watch", .first = look, .stop = stop, .free = release}};
        return &g->job;
}

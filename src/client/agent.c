/*
 * Starts the jobs and ends them. Stopping loses nothing: whatever the next start must know was written when it was
 * learned, so SIGTERM and kill -9 differ only in the last line of the log.
 */
#include "client/agent.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "client/job.h"

static const struct {
        unsigned bit;
        struct job *(*new)(void);
} kinds[] = {{JOB_STATUS, status_new},  {JOB_HEARTBEAT, heartbeat_new}, {JOB_IN_USE, in_use_new},
             {JOB_GPU, gpu_new},        {JOB_SUBSCRIBE, subscribe_new}, {JOB_LOGS, logs_new},
             {JOB_DESKTOP, desktop_new}};

void agent_say(struct agent *agent, enum log_level level, const char *format, ...)
{
        static const char *const names[] = {"debug", "info", "warning", "error"};
        _cleanup_buf_ struct buf line = BUF_NULL;
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        mask_line(&agent->mask, text, strlen(text), &line);
        log_write(level, "%s", buf_str(&line));
        own_log_add(&agent->own, names[level], buf_str(&line));
}

static void on_signal(uv_signal_t *handle, int signum)
{
        struct agent *agent = handle->data;
        agent_say(agent, LOG_LEVEL_INFO, "signal %d: stopping", signum);
        uv_stop(&agent->loop.uv);
}

static void catch_signal(struct agent *agent, uv_signal_t *handle, int signum)
{
        uv_signal_init(&agent->loop.uv, handle);
        handle->data = agent;
        uv_signal_start(handle, on_signal, signum);
}

/* Only who carries assignments out needs the state; a place that cannot be written is told, and life goes on without.
 */
static int open_state(struct agent *agent, unsigned jobs, struct error *error)
{
        _cleanup_free_ char *note = NULL;
        _cleanup_error_ struct error local = ERROR_NULL;
        agent->state.lock = -1;
        if (!(jobs & (JOB_SUBSCRIBE | JOB_LOGS)))
                return 0;
        int r = state_open(agent->settings->state_file, &agent->state, &note, &local);
        if (r == -EWOULDBLOCK)
                return error_move(error, &local);
        if (r < 0)
                log_warning("%s: nothing is remembered over a restart", error_text(&local));
        if (r == 0 && (jobs & JOB_LOGS)) {
                _cleanup_free_ char *path = xasprintf("%s.agent-log", agent->settings->state_file);
                own_log_init(&agent->own, path);
        }
        mask_set(&agent->mask, NULL, agent->state.pin);
        if (note)
                agent_say(agent, LOG_LEVEL_WARNING, "%s", note);
        return 0;
}

static void start_jobs(struct agent *agent, unsigned jobs)
{
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                if (!(jobs & kinds[i].bit))
                        continue;
                struct job *job = kinds[i].new();
                agent->jobs[agent->n_jobs++] = job;
                if (kinds[i].bit == JOB_IN_USE)
                        agent->in_use = job;
                if (kinds[i].bit == JOB_HEARTBEAT)
                        agent->heartbeat = job;
                job_start(job, agent);
        }
}

static void stop(struct agent *agent)
{
        for (size_t i = 0; i < agent->n_jobs; i++)
                job_stop(agent->jobs[i]);
        caller_deinit(&agent->caller);
        loop_deinit(&agent->loop);
        for (size_t i = 0; i < agent->n_jobs; i++)
                agent->jobs[i]->free(agent->jobs[i]);
        state_close(&agent->state);
        own_log_deinit(&agent->own);
        mask_deinit(&agent->mask);
}

int agent_run(const struct settings *settings, unsigned jobs, const char *status, struct error *error)
{
        struct agent agent = {.settings = settings, .status = status};
        signal(SIGPIPE, SIG_IGN);
        int r = open_state(&agent, jobs, error);
        if (r < 0)
                return r;
        loop_init(&agent.loop);
        caller_init(&agent.caller, &agent.loop, settings);
        catch_signal(&agent, &agent.interrupt, SIGINT);
        catch_signal(&agent, &agent.terminate, SIGTERM);
        agent_say(&agent, LOG_LEVEL_INFO, "the agent of %s starts, version %s, allocator %s%s", settings->hostname,
                  LABLINK_VERSION, settings->socket ? "unix:" : "",
                  settings->socket ? settings->socket : settings->url);
        start_jobs(&agent, status ? jobs | JOB_STATUS : jobs);
        loop_run(&agent.loop);
        stop(&agent);
        return 0;
}

/* What all jobs share: how a failure is told once, how the next try waits, how a broken job begins again. */
#include "client/job.h"

#include "client/agent.h"

static void fail(struct task *t, int code _unused_)
{
        struct job *job = job_of(t);
        agent_say(job->agent, LOG_LEVEL_ERROR, "%s: %s: starting again", job->name, error_text(&t->error));
        error_clear(&t->error);
        alarm_await(t, &job->alarm, backoff_next(&job->backoff, -1), job->first);
}

static void finished(struct task *t _unused_)
{
}

static const struct task_class job_class = {.name = "job", .fail = fail, .finished = finished};

void job_start(struct job *job, struct agent *agent)
{
        job->agent = agent;
        job->backoff.most_ms = agent->settings->socket ? BACKOFF_NEAR_MS : 0;
        alarm_init(&job->alarm, &agent->loop);
        task_init(&job->task, &agent->loop, &job_class, job);
        task_start(&job->task, job->first);
}

void job_stop(struct job *job)
{
        if (!job->task.finished)
                task_kill(&job->task);
        if (job->stop)
                job->stop(job);
        call_deinit(&job->call);
}

void job_deinit(struct job *job)
{
        call_deinit(&job->call);
        backoff_deinit(&job->backoff);
}

int job_retry_of_named(struct job *job, const char *whom, const char *outcome, int64_t retry_after_ms, task_step next,
                       const char *name)
{
        if (backoff_is_news(&job->backoff, outcome))
                agent_say(job->agent, LOG_LEVEL_WARNING, "%s: no good answer from %s (%s): trying again", job->name,
                          whom, outcome);
        return alarm_await_named(&job->task, &job->alarm, backoff_next(&job->backoff, retry_after_ms), next, name);
}

int job_retry_named(struct job *job, task_step next, const char *name)
{
        _cleanup_free_ char *outcome = call_outcome(&job->call);
        return job_retry_of_named(job, "the allocator", outcome, job->call.retry_after_ms, next, name);
}

void job_succeeded(struct job *job)
{
        unsigned failed = backoff_reset(&job->backoff);
        if (failed)
                agent_say(job->agent, LOG_LEVEL_INFO, "%s: the allocator answers again after %u failed tries",
                          job->name, failed);
}

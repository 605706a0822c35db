/* For images without a boot script of ours: the machine's word at start, told until it has arrived. */
#include "client/agent.h"
#include "client/job.h"

static int told(struct task *t);

static int tell(struct task *t)
{
        struct job *job = job_of(t);
        return call_post(
                t, &job->call, &job->agent->caller, "/api/vm-status",
                json_pack("{s:s, s:s}", "hostname", job->agent->settings->hostname, "status", job->agent->status),
                told);
}

static int told(struct task *t)
{
        struct job *job = job_of(t);
        if (call_refused(&job->call)) {
                _cleanup_free_ char *outcome = call_outcome(&job->call);
                agent_say(job->agent, LOG_LEVEL_ERROR, "the status %s was refused: %s", job->agent->status, outcome);
                task_finish(t);
                return 0;
        }
        if (!call_ok(&job->call))
                return job_retry(job, tell);
        job_succeeded(job);
        task_finish(t);
        return 0;
}

static void release(struct job *job)
{
        job_deinit(job);
        free(job);
}

struct job *status_new(void)
{
        struct job *job = xcalloc(1, sizeof *job);
        *job = (struct job){.name = "status", .first = tell, .free = release};
        return job;
}

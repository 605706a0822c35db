/*
 * "I live, since so long, and have carried out generation N", each 10 seconds unless configured otherwise. An allocator
 * of an older kind has no such page and answers 404: then it is asked once a minute.
 */
#include <stdio.h>
#include <string.h>

#include "client/agent.h"
#include "client/job.h"
#include "client/machine.h"

struct heartbeat {
        struct job job;
        char boot_id[40];
};

static int told(struct task *t);

static int tell(struct task *t)
{
        struct heartbeat *h = t->state;
        const struct agent *agent = h->job.agent;
        json_t *body = json_pack("{s:s, s:s, s:I, s:f}", "hostname", agent->settings->hostname, "boot_id", h->boot_id,
                                 "generation", (json_int_t)agent->state.generation, "uptime", machine_uptime());
        return call_post(t, &h->job.call, &h->job.agent->caller, "/api/agent/heartbeat", body, told);
}

static int told(struct task *t)
{
        struct job *job = job_of(t);
        if (!call_ok(&job->call))
                return job_retry(job, tell);
        job_succeeded(job);
        call_deinit(&job->call);
        return alarm_await(t, &job->alarm, job->agent->settings->heartbeat_ms, tell);
}

static void release(struct job *job)
{
        job_deinit(job);
        free(job);
}

struct job *heartbeat_new(void)
{
        struct heartbeat *h = xcalloc(1, sizeof *h);
        *h = (struct heartbeat){.job = {.name = "heartbeat", .first = tell, .free = release}};
        machine_boot_id(h->boot_id, sizeof h->boot_id);
        return &h->job;
}

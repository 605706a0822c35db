/*
 * One job of the agent: a task that never ends, with the alarm it sleeps by, the call it makes and its own memory of
 * failures. A step that fails is told and the job begins again: no job can take another one down.
 */
#pragma once

#include "client/alarm.h"
#include "client/backoff.h"
#include "client/call.h"

struct agent;

struct job {
        struct task task;
        struct agent *agent;
        const char *name; /* "heartbeat", as it stands in the log */
        task_step first;
        void (*stop)(struct job *job); /* may be NULL: lets go of what holds handles of the loop */
        void (*free)(struct job *job); /* releases what is the job's own, and its memory */
        struct alarm alarm;
        struct call call;
        struct backoff backoff;
};

void job_start(struct job *job, struct agent *agent);
void job_stop(struct job *job); /* leaves its wait; the memory stays until job_deinit, after loop_deinit */
void job_deinit(struct job *job);

static inline struct job *job_of(struct task *t)
{
        return t->state;
}

/* The call has failed: told when that is news, then the next try after a growing wait. */
int job_retry_named(struct job *job, task_step next, const char *name);
#define job_retry(job, next) job_retry_named((job), (next), #next)
/* The same of somebody else's answer. */
int job_retry_of_named(struct job *job, const char *whom, const char *outcome, int64_t retry_after_ms, task_step next,
                       const char *name);
/* The call was answered well: says so when it had failed before. */
void job_succeeded(struct job *job);

/*
 * The agent: one process, one loop, one task a job. What the jobs share is here: the settings, the way to the
 * allocator, what was carried out last, and the one way to say something (masked, to standard error and into the
 * shipped log).
 */
#pragma once

#include "base/log.h"
#include "base/task.h"
#include "client/call.h"
#include "client/mask.h"
#include "client/own_log.h"
#include "client/settings.h"
#include "client/state.h"

struct job;

enum agent_jobs {
        JOB_SUBSCRIBE = 1 << 0,
        JOB_IN_USE = 1 << 1,
        JOB_GPU = 1 << 2,
        JOB_LOGS = 1 << 3,
        JOB_HEARTBEAT = 1 << 4,
        JOB_STATUS = 1 << 5,
        JOB_DESKTOP = 1 << 6,
        JOB_ALL = JOB_SUBSCRIBE | JOB_IN_USE | JOB_GPU | JOB_LOGS | JOB_HEARTBEAT | JOB_DESKTOP,
};
#define AGENT_JOBS_MAX 8

struct agent {
        struct loop loop;
        const struct settings *settings;
        const char *status; /* what JOB_STATUS reports; NULL: nothing */
        struct state state;
        struct caller caller;
        struct mask mask;
        struct own_log own;
        struct job *jobs[AGENT_JOBS_MAX];
        size_t n_jobs;
        struct job *in_use, *heartbeat; /* rung when an assignment was carried out; NULL: not among the jobs */
        uv_signal_t interrupt, terminate;
        bool until_sent;            /* of `ship`: the loop ends when ... */
        bool input_ended, all_sent; /* ... nothing more comes, and everything has arrived */
};

/* Runs the jobs until SIGINT or SIGTERM. 0; -EWOULDBLOCK when another agent works with the same state file. */
int agent_run(const struct settings *settings, unsigned jobs, const char *status, struct error *error);

/* Told on standard error and, with JOB_LOGS, to the allocator. Secrets that the mask knows are hidden. */
void agent_say(struct agent *agent, enum log_level level, const char *format, ...) _printf_(3, 4);

struct job *subscribe_new(void);
struct job *in_use_new(void);
struct job *gpu_new(void);
struct job *logs_new(void);
struct job *heartbeat_new(void);
struct job *status_new(void);
struct job *desktop_new(void);

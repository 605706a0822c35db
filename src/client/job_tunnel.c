/*
 * Keeps the way to this VM's desktop open: the tunnel of src/desktop, told what to reach and whom to speak for. What it
 * says about its connection goes to the log when it is news.
 */
#include "client/agent.h"
#include "client/job.h"
#include "client/machine.h"
#include "desktop/tunnel.h"

struct tunnel_job {
        struct job job;
        struct tunnel *tunnel;
        char boot[40];
};

static void news(void *userdata, bool good, const char *text)
{
        struct tunnel_job *t = userdata;
        if (good) {
                backoff_reset(&t->job.backoff);
                agent_say(t->job.agent, LOG_LEVEL_INFO, "tunnel: the way to the desktop is open");
        } else if (backoff_is_news(&t->job.backoff, text)) {
                agent_say(t->job.agent, LOG_LEVEL_WARNING, "tunnel: %s: trying again", text);
        }
}

static int sleep_on(struct task *t)
{
        struct tunnel_job *job = t->state;
        return alarm_await(t, &job->job.alarm, INT64_C(86400000), sleep_on);
}

static int start(struct task *t)
{
        struct tunnel_job *job = t->state;
        const struct settings *settings = job->job.agent->settings;
        if (*settings->desktop_socket && !job->tunnel) {
                machine_boot_id(job->boot, sizeof job->boot);
                job->tunnel = tunnel_new(&(struct tunnel_options){.loop = t->loop,
                                                                  .url = settings->url,
                                                                  .socket = settings->socket,
                                                                  .ca_file = settings->ca_file,
                                                                  .hostname = settings->hostname,
                                                                  .token = settings->token,
                                                                  .boot = job->boot,
                                                                  .desktop = settings->desktop_socket,
                                                                  .news = news,
                                                                  .userdata = job});
        }
        return sleep_on(t);
}

static void stop(struct job *job)
{
        struct tunnel_job *t = container_of(job, struct tunnel_job, job);
        t->tunnel = tunnel_free(t->tunnel);
}

static void free_job(struct job *job)
{
        struct tunnel_job *t = container_of(job, struct tunnel_job, job);
        job_deinit(job);
        free(t);
}

struct job *desktop_new(void)
{
        struct tunnel_job *t = xcalloc(1, sizeof *t);
        t->job = (struct job){.name = "tunnel", .first = start, .stop = stop, .free = free_job};
        return &t->job;
}

/*
 * Ships the lines of the configured files and the agent's own: takes what is there into a batch, notes the batch and
 * the places after it, sends it for as long as it takes, notes that it arrived. Nothing is read while a batch is under
 * way, so the files themselves are the buffer and memory holds one batch.
 */
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/text.h"
#include "base/token.h"
#include "client/agent.h"
#include "client/cloud.h"
#include "client/job.h"
#include "client/spool.h"

#define LOOK_MS 1000
#define BATCH_LINES 1000
#define BATCH_BYTES (128 * 1024)
#define CLOSED_TRIES 5

struct logs {
        struct job job;
        struct tail *tails; /* the last one is the agent's own log */
        size_t n;
        struct spool spool;
        json_t *messages; /* while a batch is gathered */
        size_t turn;      /* the file that is asked first: a flood in one does not silence the others */
        bool save_failed;
        bool more;           /* the last batch was full */
        struct cloud *cloud; /* NULL: lines go straight to the allocator */
        unsigned closed;     /* times in a row that CloudWatch was closed to this VM */
};

static int look(struct task *t);

static void take_line(void *userdata, const char *line, size_t len)
{
        struct logs *l = userdata;
        _cleanup_buf_ struct buf masked = BUF_NULL, clean = BUF_NULL;
        mask_line(&l->job.agent->mask, line, len, &masked);
        utf8_scrub(buf_str(&masked), masked.len, &clean);
        json_array_append_new(l->messages, json_stringn(buf_str(&clean), clean.len));
}

/* Told once, and only here: as a line of its own log it would be a line more to ship. */
static void save(struct logs *l)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = spool_save(&l->spool, l->tails, l->n, &error);
        if (r < 0 && !l->save_failed)
                log_warning("%s", error_text(&error));
        l->save_failed = r < 0;
}

static bool gather(struct logs *l)
{
        struct tail_sink sink = {.line = take_line, .userdata = l, .lines = BATCH_LINES, .bytes = BATCH_BYTES};
        l->messages = json_array();
        for (size_t i = 0; i < l->n; i++)
                tail_read(&l->tails[(i + l->turn) % l->n], &sink);
        l->turn++;
        l->more = !sink.lines || !sink.bytes;
        if (json_array_size(l->messages) == 0) {
                json_decref(STEAL(l->messages));
                return false;
        }
        char id[TOKEN_LENGTH + 1];
        token_random(id);
        l->spool.batch = json_pack("{s:s, s:I, s:o}", "batch_id", id, "time", (json_int_t)(clock_now() * 1000),
                                   "messages", STEAL(l->messages));
        save(l);
        failpoint("agent.logs-gathered");
        return true;
}

static int sent(struct task *t);

static int put(struct task *t);

static int ship(struct task *t)
{
        struct logs *l = t->state;
        if (l->cloud)
                return put(t);
        const struct settings *settings = l->job.agent->settings;
        json_t *body = json_pack("{s:s, s:s, s:O, s:O}", "log_group", settings->log_group, "log_stream",
                                 settings->hostname, "batch_id", json_object_get(l->spool.batch, "batch_id"),
                                 "messages", json_object_get(l->spool.batch, "messages"));
        return call_post(t, &l->job.call, &l->job.agent->caller, "/api/vm-logs", body, sent);
}

static void batch_done(struct logs *l)
{
        json_decref(STEAL(l->spool.batch));
        if (l->job.agent->own.path)
                own_log_shipped(&l->job.agent->own, l->tails[l->n - 1].offset);
        save(l);
}

static int sent(struct task *t)
{
        struct logs *l = t->state;
        if (call_refused(&l->job.call)) {
                _cleanup_free_ char *outcome = call_outcome(&l->job.call);
                log_warning("log shipping: %zu lines dropped, the allocator refuses them: %s",
                            json_array_size(json_object_get(l->spool.batch, "messages")), outcome);
        } else if (!call_ok(&l->job.call)) {
                return job_retry(&l->job, ship);
        } else {
                job_succeeded(&l->job);
        }
        call_deinit(&l->job.call);
        failpoint("agent.logs-sent");
        batch_done(l);
        return alarm_await(t, &l->job.alarm, l->more ? 0 : LOOK_MS, look);
}

/* --- by CloudWatch -------------------------------------------------------------------------------------------------- */

/* A VM without rights on its log group is not a VM without a log. */
static int give_up_cloud(struct task *t, const char *why)
{
        struct logs *l = t->state;
        agent_say(l->job.agent, LOG_LEVEL_WARNING,
                  "log shipping: CloudWatch is closed to this VM (%s): lines go to the allocator", why);
        l->cloud = cloud_free(l->cloud);
        return ship(t);
}

static int put_done(struct task *t)
{
        struct logs *l = t->state;
        const char *why;
        enum cloud_outcome outcome = cloud_outcome(l->cloud, &why);
        if (outcome == CLOUD_CLOSED && ++l->closed >= CLOSED_TRIES)
                return give_up_cloud(t, why);
        if (outcome == CLOUD_CLOSED || outcome == CLOUD_LATER)
                return job_retry_of_named(&l->job, "CloudWatch", why, -1, ship, "ship");
        if (outcome == CLOUD_REFUSED)
                log_warning("log shipping: %zu lines dropped, CloudWatch refuses them: %s",
                            json_array_size(json_object_get(l->spool.batch, "messages")), why);
        l->closed = 0;
        backoff_reset(&l->job.backoff);
        batch_done(l);
        return alarm_await(t, &l->job.alarm, l->more ? 0 : LOOK_MS, look);
}

/* One time for a whole batch: its lines stay in their order, and an old batch is not spread over a day. */
static int put(struct task *t)
{
        struct logs *l = t->state;
        json_int_t time = json_integer_value(json_object_get(l->spool.batch, "time"));
        return cloud_put(t, l->cloud, json_object_get(l->spool.batch, "messages"),
                         time > 0 ? time : (int64_t)(clock_now() * 1000), put_done);
}

/* --- looking --------------------------------------------------------------------------------------------------------- */

static int look(struct task *t)
{
        struct logs *l = t->state;
        struct agent *agent = l->job.agent;
        bool ended = agent->input_ended; /* before looking */
        if (l->spool.batch || gather(l))
                return ship(t);
        if (agent->until_sent && ended) {
                agent->all_sent = true;
                uv_stop(&agent->loop.uv);
        }
        return alarm_await(t, &l->job.alarm, LOOK_MS, look);
}

static void open_logs(struct logs *l)
{
        const struct agent *agent = l->job.agent;
        size_t n = 0;
        while (agent->settings->log_files[n])
                n++;
        l->tails = xcalloc(n + 1, sizeof *l->tails);
        for (size_t i = 0; i < n; i++)
                tail_init(&l->tails[l->n++], agent->settings->log_files[i]);
        if (agent->own.path)
                tail_init(&l->tails[l->n++], agent->own.path);
        _cleanup_free_ char *path = agent->state.path ? xasprintf("%s.logs", agent->state.path) : NULL;
        spool_open(&l->spool, path, l->tails, l->n);
}

static int begin(struct task *t)
{
        struct logs *l = t->state;
        if (!l->tails)
                open_logs(l);
        if (l->n && !l->cloud && l->job.agent->settings->cloudwatch && l->closed < CLOSED_TRIES)
                l->cloud = cloud_new(l->job.agent->settings);
        if (l->n)
                return look(t);
        task_finish(t);
        return 0;
}

static void stop(struct job *job)
{
        cloud_stop(((struct logs *)job)->cloud);
}

static void release(struct job *job)
{
        struct logs *l = (struct logs *)job;
        for (size_t i = 0; i < l->n; i++)
                tail_deinit(&l->tails[i]);
        free(l->tails);
        cloud_free(l->cloud);
        spool_deinit(&l->spool);
        json_decref(l->messages);
        job_deinit(job);
        free(l);
}

struct job *logs_new(void)
{
        struct logs *l = xcalloc(1, sizeof *l);
        *l = (struct logs){.job = {.name = "log shipping", .first = begin, .stop = stop, .free = release}};
        return &l->job;
}

/*
 * What the helper thread works on is copied before and looked at after: while it works, nobody else touches it but for the
 * word to stop.
 */
#include "client/cloud.h"

#include <errno.h>
#include <string.h>

#include "aws/aws.h"

#define TRIES 3
#define CALL_MS 20000

struct cloud {
        struct aws *aws;
        atomic_bool stop;
        char *group, *stream;
        struct aws_log_event *events;
        size_t n;
        int result;
        struct error error;
};

struct cloud *cloud_new(const struct settings *settings)
{
        struct cloud *cloud = xcalloc(1, sizeof *cloud);
        cloud->aws = aws_new(&(struct aws_options){.tries = TRIES, .timeout_ms = CALL_MS, .stop = &cloud->stop});
        cloud->group = xstrdup(settings->log_group);
        cloud->stream = xstrdup(settings->hostname);
        return cloud;
}

static void clear_events(struct cloud *cloud)
{
        for (size_t i = 0; i < cloud->n; i++)
                free((char *)cloud->events[i].message);
        free(STEAL(cloud->events));
        cloud->n = 0;
}

void cloud_stop(struct cloud *cloud)
{
        if (cloud)
                atomic_store(&cloud->stop, true);
}

struct cloud *cloud_free(struct cloud *cloud)
{
        if (!cloud)
                return NULL;
        clear_events(cloud);
        aws_free(cloud->aws);
        free(cloud->group);
        free(cloud->stream);
        error_clear(&cloud->error);
        free(cloud);
        return NULL;
}

/* --- on the helper thread ------------------------------------------------------------------------------------------- */

static int put_once(struct cloud *cloud)
{
        int r = 0;
        for (size_t done = 0; r == 0 && done < cloud->n;) {
                size_t k = aws_log_batch(cloud->events + done, cloud->n - done);
                r = aws_put_log_events(cloud->aws, cloud->group, cloud->stream, cloud->events + done, k, NULL,
                                       &cloud->error);
                done += k;
        }
        return r;
}

static void work(void *argument)
{
        struct cloud *cloud = argument;
        cloud->result = put_once(cloud);
        if (cloud->result != -ENOENT)
                return;
        error_clear(&cloud->error);
        cloud->result = aws_create_log_stream(cloud->aws, cloud->group, cloud->stream, &cloud->error);
        if (cloud->result == 0)
                cloud->result = put_once(cloud);
}

/* --- on the loop ---------------------------------------------------------------------------------------------------- */

/* CloudWatch takes no empty message. */
static void copy_events(struct cloud *cloud, const json_t *messages, int64_t time_ms)
{
        size_t index;
        json_t *message;
        cloud->events = xcalloc(json_array_size(messages) + 1, sizeof *cloud->events);
        json_array_foreach (messages, index, message) {
                bool empty = json_string_length(message) == 0;
                size_t len = empty ? 1 : MIN(json_string_length(message), (size_t)AWS_LOGS_EVENT_MAX);
                cloud->events[cloud->n++] = (struct aws_log_event){
                        .timestamp_ms = time_ms,
                        .message = xstrndup(empty ? " " : json_string_value(message), len),
                        .len = len};
        }
}

int cloud_put_named(struct task *t, struct cloud *cloud, const json_t *messages, int64_t time_ms, task_step next,
                    const char *name)
{
        clear_events(cloud);
        error_clear(&cloud->error);
        copy_events(cloud, messages, time_ms);
        return work_await_named(t, work, cloud, NULL, next, name);
}

enum cloud_outcome cloud_outcome(struct cloud *cloud, const char **ret_sentence)
{
        *ret_sentence = error_text(&cloud->error);
        switch (cloud->result) {
        case 0:
                return CLOUD_TAKEN;
        case -EINVAL:
                return CLOUD_REFUSED;
        case -EACCES:
        case -ENOKEY:
        case -ENOENT:
        case -EKEYREJECTED:
                return CLOUD_CLOSED;
        default:
                return CLOUD_LATER;
        }
}

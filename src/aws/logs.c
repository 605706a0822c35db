/* CloudWatch Logs, its JSON protocol. Sequence tokens are no longer asked for and are not sent. */
#include <errno.h>
#include <string.h>

#include "aws/internal.h"
#include "base/json.h"

#define BODY_TYPE "application/x-amz-json-1.1"

static int call_logs(struct aws *aws, const char *operation, json_t *body, struct buf *ret, struct error *error)
{
        _cleanup_json_ json_t *owned = body;
        _cleanup_buf_ struct buf text = BUF_NULL;
        _cleanup_free_ char *target = xasprintf("Logs_20140328.%s", operation);
        _cleanup_free_ char *action = xasprintf("logs:%s", operation);
        const struct aws_pair head[] = {{"content-type", BODY_TYPE}, {"x-amz-target", target}};
        if (!owned)
                return error_set(error, -EINVAL, "%s: a text that is not UTF-8", action);
        json_write(owned, &text);
        struct aws_call call = {.service = "logs",
                                .action = action,
                                .method = "POST",
                                .path = "/",
                                .head = head,
                                .n_head = ARRAY_SIZE(head),
                                .body = buf_str(&text),
                                .len = text.len};
        return aws_call(aws, &call, ret, error);
}

/* Events up to an index were too old, or expired; from an index on too new. */
static size_t count_rejected(const struct buf *answer, size_t n)
{
        _cleanup_json_ json_t *object = json_read(buf_str(answer), answer->len, NULL);
        const json_t *info = json_object_get(object, "rejectedLogEventsInfo");
        json_int_t old = json_integer_value(json_object_get(info, "tooOldLogEventEndIndex"));
        json_int_t expired = json_integer_value(json_object_get(info, "expiredLogEventEndIndex"));
        const json_t *start = json_object_get(info, "tooNewLogEventStartIndex");
        json_int_t dropped = MAX(MAX(old, expired), (json_int_t)0);
        if (json_is_integer(start) && json_integer_value(start) >= 0 && json_integer_value(start) < (json_int_t)n)
                dropped += (json_int_t)n - json_integer_value(start);
        return MIN((size_t)dropped, n);
}

int aws_put_log_events(struct aws *aws, const char *group, const char *stream, const struct aws_log_event *events,
                       size_t n, size_t *ret_rejected, struct error *error)
{
        _cleanup_buf_ struct buf answer = BUF_NULL;
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
                json_array_append_new(list, json_pack("{s:I, s:s%}", "timestamp", (json_int_t)events[i].timestamp_ms,
                                                      "message", events[i].message, events[i].len));
        if (json_array_size(list) != n) {
                json_decref(list);
                return error_set(error, -EINVAL, "a log line is not UTF-8");
        }
        json_t *body = json_pack("{s:s, s:s, s:o}", "logGroupName", group, "logStreamName", stream, "logEvents", list);
        int r = call_logs(aws, "PutLogEvents", body, &answer, error);
        if (r == 0 && ret_rejected)
                *ret_rejected = count_rejected(&answer, n);
        return r;
}

int aws_create_log_stream(struct aws *aws, const char *group, const char *stream, struct error *error)
{
        json_t *body = json_pack("{s:s, s:s}", "logGroupName", group, "logStreamName", stream);
        int r = call_logs(aws, "CreateLogStream", body, NULL, error);
        if (r == -EEXIST) {
                error_clear(error);
                return 0;
        }
        return r < 0 ? error_wrap(error, "log stream %s in the group %s", stream, group) : 0;
}

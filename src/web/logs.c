/*
 * Log lines in and out. Intake is one item of a batch, answered after its commit. Reading the whole text is done in
 * pieces of the table, put into a streamed JSON string as they come, so that a history of a gigabyte costs no memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/text.h"
#include "lab/names.h"
#include "web/routes.h"

#define PIECE_LINES 500
#define TAIL_MAX 10000
#define BATCH_ID_MAX 128

void logs_state_free(void *state)
{
        struct logs_state *s = state;
        json_decref(s->item);
        buf_deinit(&s->text.text);
        buf_deinit(&s->escaped);
}

/* --- in ------------------------------------------------------------------------------------------------------------ */

static int logs_taken(struct task *t)
{
        struct logs_state *s = t->state;
        failpoint("logs.before-answer");
        if (!s->answer.found)
                return web_unknown_vm(t);
        return reply_json(t, 200, json_pack("{s:s}", "message", "VM logs posted successfully."));
}

/* 0, or a reply was made. */
static int check_messages(struct task *t, const json_t *messages, int *ret_replied)
{
        size_t index;
        json_t *message;
        if (!messages || json_is_null(messages))
                *ret_replied = reply_error(t, 400, "missing-field", "messages is required.");
        else if (!json_is_array(messages))
                *ret_replied = reply_error(t, 422, "wrong-type", "messages must be a list of texts.");
        else if (json_array_size(messages) > LOG_LINES_MAX)
                *ret_replied = reply_error(t, 422, "too-many-lines", "At most %d messages fit into one batch.",
                                           LOG_LINES_MAX);
        else {
                json_array_foreach (messages, index, message)
                        if (!json_is_string(message)) {
                                *ret_replied = reply_error(t, 422, "wrong-type", "messages must be a list of texts.");
                                return -EINVAL;
                        }
                return 0;
        }
        return -EINVAL;
}

int logs_take(struct task *t)
{
        struct logs_state *s = t->state;
        int replied = 0;
        const char *hostname = web_hostname_field(t, "log_stream", &replied);
        if (!hostname)
                return replied;
        const json_t *body = request_json(t), *messages = json_object_get(body, "messages");
        if (check_messages(t, messages, &replied) < 0)
                return replied;
        const json_t *batch = json_object_get(body, "batch_id");
        if (batch && !json_is_null(batch) &&
            (!json_is_string(batch) || json_string_length(batch) == 0 || json_string_length(batch) > BATCH_ID_MAX ||
             strlen(json_string_value(batch)) != json_string_length(batch)))
                return reply_error(t, 422, "wrong-type", "batch_id must be a text of at most %d bytes.", BATCH_ID_MAX);
        snprintf(s->hostname, sizeof s->hostname, "%s", hostname);
        failpoint("logs.before-write");
        return batch_await(t, web_of(t)->logs, s->hostname, logs_item(s->hostname, messages, json_string_value(batch)),
                           &s->answer, logs_taken);
}

/* --- out ----------------------------------------------------------------------------------------------------------- */

static int give_some(struct task *t)
{
        struct logs_state *s = t->state;
        json_t *answer = json_pack("{s:s, s:s%, s:I}", "hostname", s->hostname, "logs", buf_str(&s->text.text),
                                   s->text.text.len, "last", (json_int_t)s->text.last);
        return reply_json(t, 200, answer);
}

/* The JSON escapes of a text, without the quotes. */
static void put_escaped(struct task *t, struct logs_state *s)
{
        _cleanup_json_ json_t *text = json_stringn(buf_str(&s->text.text), s->text.text.len);
        buf_truncate(&s->escaped, 0);
        json_write(text, &s->escaped);
        stream_put(t, s->escaped.data + 1, s->escaped.len - 2);
}

static int give_piece(struct task *t);

static int give_next(struct task *t)
{
        struct logs_state *s = t->state;
        return db_await(t, logs_after(s->hostname, s->text.last, PIECE_LINES, &s->text), give_piece);
}

static int give_piece(struct task *t)
{
        struct logs_state *s = t->state;
        if (!s->begun) {
                s->begun = true;
                stream_begin(t, 200, "application/json");
                stream_puts(t, "{\"hostname\":\"");
                stream_puts(t, s->hostname);
                stream_puts(t, "\",\"logs\":\"");
        }
        if (s->text.text.len == 0) {
                char last[64];
                snprintf(last, sizeof last, "\",\"last\":%lld}", (long long)s->text.last);
                stream_puts(t, last);
                return stream_end(t);
        }
        put_escaped(t, s);
        buf_truncate(&s->text.text, 0);
        return stream_await(t, 65536, give_next);
}

static int give_known(struct task *t)
{
        struct logs_state *s = t->state;
        if (!s->brief.found)
                return web_unknown_vm(t);
        if (!s->brief.has_logs && strcmp(s->brief.status, "initializing") == 0 && s->after < 0)
                return reply_error(t, 503, "no-log-yet", "VM is installing CloudWatch agent.");
        if (s->tail >= 0)
                return db_await(t, logs_tail(s->hostname, s->tail, &s->text), give_some);
        if (s->after >= 0)
                return db_await(t, logs_after(s->hostname, s->after, TAIL_MAX, &s->text), give_some);
        return give_next(t);
}

static int read_position(struct task *t, const char *name, int64_t max, int64_t *ret)
{
        const char *text = request_query(t, name);
        *ret = -1;
        return text && parse_int(text, 0, max, ret) < 0 ? -EINVAL : 0;
}

int logs_give(struct task *t)
{
        struct logs_state *s = t->state;
        if (!hostname_valid(request_argument(t, "hostname")))
                return web_unknown_vm(t);
        snprintf(s->hostname, sizeof s->hostname, "%s", request_argument(t, "hostname"));
        if (read_position(t, "tail", TAIL_MAX, &s->tail) < 0)
                return reply_error(t, 422, "bad-number", "tail must be a whole number from 0 to %d.", TAIL_MAX);
        if (read_position(t, "after", INT64_MAX, &s->after) < 0)
                return reply_error(t, 422, "bad-number", "after must be the number of a line.");
        if (s->after > 0)
                s->text.last = s->after;
        return db_await(t, vm_brief(s->hostname, &s->brief), give_known);
}

/* --- the page ------------------------------------------------------------------------------------------------------ */

static int page_answer(struct task *t)
{
        struct logs_state *s = t->state;
        json_t *model = json_pack("{s:s, s:s, s:s%, s:I}", "hostname", s->hostname, "status", s->brief.status, "logs",
                                  buf_str(&s->text.text), s->text.text.len, "last", (json_int_t)s->text.last);
        return reply_view(t, 200, "instance-logs", model);
}

static int page_known(struct task *t)
{
        struct logs_state *s = t->state;
        if (!s->brief.found)
                return web_unknown_vm(t);
        return db_await(t, logs_tail(s->hostname, 2000, &s->text), page_answer);
}

int logs_page(struct task *t)
{
        struct logs_state *s = t->state;
        if (!hostname_valid(request_argument(t, "hostname")))
                return web_unknown_vm(t);
        snprintf(s->hostname, sizeof s->hostname, "%s", request_argument(t, "hostname"));
        return db_await(t, vm_brief(s->hostname, &s->brief), page_known);
}

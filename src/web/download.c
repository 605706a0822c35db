/*
 * Downloads: a collection's archive passed on from its runner's pipe. /api/scp-client starts to collect, or joins who
 * does, and gives the archive while it is being made: its status is known with the first file, or with the last VM that
 * has none. What is kept is given with its length, and from any byte on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "web/collections.h"

#define READ_BYTES (128 << 10)
#define PENDING_MAX ((size_t)256 << 10)
#define HEAD_BYTES_MAX 4096
#define BUSY_TRIES 100
#define BUSY_PAUSE_MS 100

void download_state_free(void *state)
{
        struct download_state *s = state;
        archive_pipe_close(&s->pipe);
        selection_clear(&s->selection);
        json_decref(s->row.value);
        json_decref(s->counts.value);
        json_decref(s->made.operation);
        json_decref(s->arguments);
        json_decref(s->operation.value);
        free(s->selection_text);
        free(s->arguments_text);
        buf_deinit(&s->head);
}

static bool is_head(struct task *t)
{
        return strcmp(request_method(t), "HEAD") == 0;
}

static int broken(struct task *t)
{
        return stream_begun(t)
                       ? reply_close(t)
                       : reply_error(t, 503, "unavailable",
                                     "The archive cannot be made at this moment. The operation's page says why.");
}

/* --- passing on ---------------------------------------------------------------------------------------------------- */

static int pump_read(struct task *t);

static int pump_wait(struct task *t)
{
        struct download_state *s = t->state;
        return archive_await(t, &s->pipe, pump_read);
}

/* A ZIP ends with the mark of its directory's end: what was cut off by a runner's death has none. */
static bool is_whole(const struct download_state *s)
{
        return s->length >= 0 ? s->left == 0 : s->tail_len == sizeof s->tail && memcmp(s->tail, "PK\5\6", 4) == 0;
}

static void keep_tail(struct download_state *s, const char *data, size_t len)
{
        size_t room = sizeof s->tail, take = MIN(len, room);
        if (s->tail_len + take > room) {
                size_t drop = s->tail_len + take - room;
                memmove(s->tail, s->tail + drop, s->tail_len - drop);
                s->tail_len -= drop;
        }
        memcpy(s->tail + s->tail_len, data + len - take, take);
        s->tail_len += take;
}

static int pump_put(struct task *t, const char *data, size_t len)
{
        struct download_state *s = t->state;
        if (s->length >= 0) {
                len = (size_t)MIN((int64_t)len, s->left);
                s->left -= (int64_t)len;
        }
        keep_tail(s, data, len);
        stream_put(t, data, len);
        if (s->length >= 0 && s->left == 0)
                return stream_end(t);
        return stream_await(t, PENDING_MAX, pump_wait);
}

static int pump_read(struct task *t)
{
        struct download_state *s = t->state;
        static char block[READ_BYTES]; /* of this step alone */
        ssize_t n = read(s->pipe.fd, block, sizeof block);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return pump_wait(t);
        if (n > 0)
                return pump_put(t, block, (size_t)n);
        return is_whole(s) ? stream_end(t) : reply_close(t);
}

/* --- the head ------------------------------------------------------------------------------------------------------ */

static void name_file(struct task *t)
{
        struct download_state *s = t->state;
        const char *at = json_get_string(s->row.value, "collected_at");
        double when = clock_now();
        if (at && !s->follow)
                clock_parse_iso(at, &when);
        time_t seconds = (time_t)when;
        struct tm parts;
        char stamp[32], value[80];
        gmtime_r(&seconds, &parts);
        strftime(stamp, sizeof stamp, "%Y%m%d_%H%M%S", &parts);
        snprintf(value, sizeof value, "attachment; filename=\"lablink_data%s.zip\"", stamp);
        reply_header(t, "Content-Disposition", value);
}

static int begin(struct task *t, int64_t length)
{
        struct download_state *s = t->state;
        char range[96];
        s->length = length;
        if (length >= 0 && s->from >= length) {
                snprintf(range, sizeof range, "bytes */%lld", (long long)length);
                reply_header(t, "Content-Range", range);
                return reply_error(t, 416, "bad-range", "The archive has only %lld bytes.", (long long)length);
        }
        int64_t to = length >= 0 && s->to >= 0 ? MIN(s->to, length - 1) : length - 1;
        s->left = length >= 0 ? to - s->from + 1 : -1;
        name_file(t);
        if (length >= 0) {
                reply_header(t, "Accept-Ranges", "bytes");
                reply_header(t, "ETag", s->etag);
        }
        if (s->ranged && length >= 0) {
                snprintf(range, sizeof range, "bytes %lld-%lld/%lld", (long long)s->from, (long long)to,
                         (long long)length);
                reply_header(t, "Content-Range", range);
        }
        request_no_deadline(t);
        stream_begin_download(t, s->ranged && length >= 0 ? 206 : 200, "application/zip", s->left);
        if (is_head(t))
                return stream_end(t);
        size_t rest = s->head.len - s->head_len;
        return rest ? pump_put(t, s->head.data + s->head_len, rest) : pump_wait(t);
}

static int head_known(struct task *t)
{
        struct download_state *s = t->state;
        _cleanup_json_ json_t *head = json_read(s->head.data, s->head_len - 1, NULL);
        const json_t *length = json_object_get(head, "length");
        int64_t failed = json_integer_value(json_object_get(head, "failed"));
        if (json_is_true(json_object_get(head, "empty")))
                return reply_error(
                        t, 404, "no-files",
                        failed ? "No VM has such a file; %lld could not be asked. The operation's page says why."
                               : "Every VM was asked, and none has such a file.",
                        (long long)failed);
        if (!length)
                return broken(t);
        return begin(t, json_is_integer(length) ? (int64_t)json_integer_value(length) : -1);
}

static int head_read(struct task *t)
{
        struct download_state *s = t->state;
        buf_reserve(&s->head, HEAD_BYTES_MAX);
        ssize_t n = read(s->pipe.fd, s->head.data + s->head.len, HEAD_BYTES_MAX);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return archive_await(t, &s->pipe, head_read);
        if (n <= 0)
                return broken(t);
        s->head.len += (size_t)n;
        const char *newline = memchr(s->head.data, '\n', s->head.len);
        if (!newline)
                return s->head.len > HEAD_BYTES_MAX ? broken(t) : archive_await(t, &s->pipe, head_read);
        s->head_len = (size_t)(newline - s->head.data) + 1;
        return head_known(t);
}

static int pipe_known(struct task *t)
{
        struct download_state *s = t->state;
        if (s->pipe.failed == EBUSY)
                return reply_error(t, 503, "too-many-downloads",
                                   "Too many downloads run at this moment. Try again soon.");
        if (s->pipe.fd < 0)
                return broken(t);
        return archive_await(t, &s->pipe, head_read);
}

static int ask(struct task *t)
{
        struct download_state *s = t->state;
        request_no_deadline(t);
        return archive_ask(t, &s->pipe,
                           ((struct archive_order_message){.collection = s->collection,
                                                           .list = s->list,
                                                           .from = s->from,
                                                           .follow = s->follow,
                                                           .names = s->names}),
                           pipe_known);
}

static bool wants_names(struct task *t)
{
        bool yes = false;
        const char *names = request_query(t, "names");
        return names && (str_eq(names, "email") || (parse_bool(names, &yes) == 0 && yes));
}

/* --- while it is being made ---------------------------------------------------------------------------------------- */

static int follow_operation(struct task *t, const json_t *operation)
{
        struct download_state *s = t->state;
        s->list = (int64_t)json_integer_value(json_object_get(operation, "id"));
        s->follow = true;
        if (!is_head(t))
                return ask(t);
        name_file(t);
        stream_begin_download(t, 200, "application/zip", -1);
        return stream_end(t);
}

static int create(struct task *t);

static bool is_this_collecting(const struct download_state *s, const json_t *operation)
{
        const json_t *arguments = json_object_get(operation, "arguments");
        return str_eq(json_get_string(operation, "kind"), "collect") &&
               !json_is_true(json_object_get(arguments, "look")) &&
               json_integer_value(json_object_get(arguments, "collection")) == s->collection;
}

static int created(struct task *t)
{
        struct download_state *s = t->state;
        json_t *operation = s->made.operation;
        if (s->made.outcome == OPERATION_STARTED)
                web_kick(web_of(t), (int64_t)json_integer_value(json_object_get(operation, "id")));
        if (s->made.outcome == OPERATION_STARTED || is_this_collecting(s, operation))
                return follow_operation(t, operation);
        bool passes = json_is_true(json_object_get(json_object_get(operation, "arguments"), "look")) ||
                      str_eq(json_get_string(operation, "kind"), "discard");
        if (passes && s->tries++ < BUSY_TRIES)
                return sleep_await(t, BUSY_PAUSE_MS, create);
        return web_busy(t, operation);
}

static int create(struct task *t)
{
        struct download_state *s = t->state;
        free(STEAL(s->arguments_text));
        return db_await(t,
                        operation_create("collect", s->arguments, &s->arguments_text, NULL,
                                         str_or(web_user(t), "admin"), &s->made),
                        created);
}

static int collection_known(struct task *t)
{
        struct download_state *s = t->state;
        s->collection = s->id.count;
        s->arguments = json_pack("{s:I}", "collection", (json_int_t)s->collection);
        return create(t);
}

static int counted(struct task *t)
{
        struct download_state *s = t->state;
        if (json_integer_value(json_object_get(s->counts.value, "total")) == 0)
                return reply_error(t, 404, "no-vms", "There is no client VM to collect files from.");
        if (is_head(t)) /* asks what would come, and starts nothing */
                return follow_operation(t, NULL);
        return db_await(t, collection_take(s->selection_text, &s->id), collection_known);
}

int download_collecting(struct task *t)
{
        struct download_state *s = t->state;
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_json_ json_t *wishes = selection_query(t);
        if (selection_read(wishes, web_of(t)->config, &s->selection, &error) < 0)
                return reply_error(t, 422, "bad-selection", "%s.", error_text(&error));
        s->selection_text = selection_text(&s->selection);
        s->names = wants_names(t);
        s->to = -1;
        return db_await(t, vm_counts(&s->counts), counted);
}

/* --- what is kept -------------------------------------------------------------------------------------------------- */

/* One range, and only of the archive that the client has the beginning of. Others are answered whole (RFC 9110, 14.2). */
static void read_range(struct task *t)
{
        struct download_state *s = t->state;
        const char *range = request_header(t, "Range"), *same = request_header(t, "If-Range");
        long long from = -1, to = -1;
        int end = 0;
        if (!range || strncmp(range, "bytes=", 6) != 0 || (same && !str_eq(same, s->etag)))
                return;
        if (sscanf(range + 6, "%lld-%n", &from, &end) != 1 || end == 0 || from < 0 || range[6] < '0' || range[6] > '9')
                return;
        const char *rest = range + 6 + end;
        if (*rest && parse_int(rest, from, INT64_MAX, &s->to) < 0) {
                s->to = -1;
                return;
        }
        (void)to;
        s->from = from;
        s->ranged = true;
}

static int kept_operation(struct task *t)
{
        struct download_state *s = t->state;
        if (s->operation.value && is_this_collecting(s, s->operation.value))
                return follow_operation(t, s->operation.value);
        return reply_error(t, 404, "no-files", "Nothing has been collected for it yet.");
}

static int kept_known(struct task *t)
{
        struct download_state *s = t->state;
        if (!s->row.value)
                return unknown_collection(t);
        s->list = json_integer_value(json_object_get(s->row.value, "list"));
        if (s->list == 0)
                return db_await(t, operation_collecting(&s->operation), kept_operation);
        snprintf(s->etag, sizeof s->etag, "\"%lld-%lld%s\"", (long long)s->collection, (long long)s->list,
                 s->names ? "-names" : "");
        read_range(t);
        return ask(t);
}

int download_kept(struct task *t)
{
        struct download_state *s = t->state;
        s->to = -1;
        s->names = wants_names(t);
        if (parse_int(request_argument(t, "id"), 1, INT64_MAX, &s->collection) < 0)
                return unknown_collection(t);
        return db_await(t, collection_get(s->collection, &s->row), kept_known);
}

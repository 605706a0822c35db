/*
 * Long answers. A task puts bytes into a buffer; libmicrohttpd asks for them when the socket takes more, and is
 * suspended while there are none, because a reader that returns nothing is called again at once. What a slow client
 * leaves in the buffer is limited: it is cut off, and comes again.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/internal.h"

#define BLOCK_BYTES 2048
#define BLOCK_BYTES_LARGE 65536 /* of a download */
#define COMPACT_BYTES 65536

static size_t pending(const struct stream *stream)
{
        return stream->data.len - stream->taken;
}

void stream_free(struct stream *stream)
{
        if (!stream)
                return;
        list_remove(&stream->settle);
        buf_deinit(&stream->data);
        free(stream);
}

/* --- out ---------------------------------------------------------------------------------------------------------- */

static void drop_taken(struct stream *stream)
{
        if (stream->taken == stream->data.len) {
                stream->taken = 0;
                if (stream->data.cap > COMPACT_BYTES)
                        buf_deinit(&stream->data);
                else
                        buf_truncate(&stream->data, 0);
        } else if (stream->taken > COMPACT_BYTES && stream->taken > pending(stream)) {
                buf_consume(&stream->data, stream->taken);
                stream->taken = 0;
        }
}

void stream_settle(struct stream *stream)
{
        if (stream->wait.task && pending(stream) < stream->below)
                task_wake(&stream->wait);
}

static ssize_t read_nothing(struct request *req)
{
        if (req->stream->ended)
                return MHD_CONTENT_READER_END_OF_STREAM;
        if (req->task_over)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        req->suspended = true;
        req->suspended_ms = req->server->now_ms;
        MHD_suspend_connection(req->mhd);
        return 0;
}

static ssize_t on_read(void *cls, uint64_t position _unused_, char *out, size_t max)
{
        struct request *req = cls;
        struct stream *stream = req->stream;
        size_t len = MIN(max, pending(stream));
        if (req->cut)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (len == 0)
                return read_nothing(req);
        memcpy(out, stream->data.data + stream->taken, len);
        stream->taken += len;
        req->bytes += len;
        drop_taken(stream);
        stream_settle(stream);
        return (ssize_t)len;
}

/* --- in ----------------------------------------------------------------------------------------------------------- */

/* libmicrohttpd would send the end of a chunked body to HEAD too; and there the task ends with the head of the answer.
 */
static struct MHD_Response *stream_response(struct request *req, int64_t length)
{
        uint64_t size = length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)length;
        size_t block = req->stream->download ? BLOCK_BYTES_LARGE : BLOCK_BYTES;
        struct MHD_Response *response = strcmp(req->method, "HEAD") == 0 && length < 0
                                                ? MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT)
                                                : MHD_create_response_from_callback(size, block, on_read, req, NULL);
        if (!response)
                abort();
        return response;
}

static void begin(struct task *t, unsigned status, const char *content_type, bool download, int64_t length)
{
        struct request *req = request_of(t);
        if (req->stream || t->finished)
                return;
        req->stream = xcalloc(1, sizeof *req->stream);
        req->stream->download = download;
        req->stream->events = strncmp(content_type, "text/event-stream", 17) == 0;
        req->deadline_ms = INT64_MAX;
        reply_header(t, "X-Accel-Buffering", "no");
        struct MHD_Response *response = stream_response(req, length);
        answer_headers(req, response, content_type);
        answer_ready(req, response, status);
}

void stream_begin(struct task *t, unsigned status, const char *content_type)
{
        begin(t, status, content_type, false, -1);
}

void stream_begin_download(struct task *t, unsigned status, const char *content_type, int64_t length)
{
        begin(t, status, content_type, true, length);
}

bool stream_begun(const struct task *t)
{
        return request_of(t)->stream != NULL;
}

static bool lags(struct request *req)
{
        struct stream *stream = req->stream;
        if (stream->lag_turn != req->server->turn) {
                stream->lag_turn = req->server->turn;
                stream->lag = pending(stream);
        }
        return stream->lag > STREAM_LAG_MAX || pending(stream) > STREAM_PENDING_MAX;
}

void stream_put(struct task *t, const void *data, size_t len)
{
        struct request *req = request_of(t);
        struct stream *stream = req->stream;
        if (!stream || stream->ended || req->cut || len == 0)
                return;
        if (lags(req)) {
                log_info("%s %s: a reader that is too slow was cut off", req->method, req->target);
                request_cut(req);
                return;
        }
        buf_add(&stream->data, data, len);
        server_resume(req);
}

void stream_puts(struct task *t, const char *text)
{
        stream_put(t, text, strlen(text));
}

static void add_field(struct buf *out, const char *name, const char *value, size_t len)
{
        buf_adds(out, name);
        buf_adds(out, ": ");
        buf_add(out, value, len);
        buf_addc(out, '\n');
}

/* A line break of any kind in the data begins another data line; none may be in a name or an id. */
void stream_event(struct task *t, const char *name, const char *id, const char *data)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (name)
                add_field(&out, "event", name, strcspn(name, "\r\n"));
        if (id)
                add_field(&out, "id", id, strcspn(id, "\r\n"));
        for (const char *at = data;;) {
                size_t len = strcspn(at, "\r\n");
                add_field(&out, "data", at, len);
                at += len;
                if (*at == '\0')
                        break;
                at += at[0] == '\r' && at[1] == '\n' ? 2 : 1;
        }
        buf_addc(&out, '\n');
        stream_put(t, out.data, out.len);
}

void stream_template(struct task *t, const char *template_name, json_t *model)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        page_render(request_of(t), template_name, model, &out);
        stream_put(t, buf_str(&out), out.len);
}

size_t stream_pending(const struct task *t)
{
        const struct stream *stream = request_of(t)->stream;
        return stream ? pending(stream) : 0;
}

/* --- waiting and ending ------------------------------------------------------------------------------------------- */

static void cancel_wait(struct wait *wait)
{
        list_remove(&container_of(wait, struct stream, wait)->settle);
}

int stream_await_named(struct task *t, size_t below, task_step next, const char *name)
{
        struct request *req = request_of(t);
        struct stream *stream = req->stream;
        if (!stream)
                return error_set(&t->error, -EINVAL, "%s waits for a stream that has not begun", name);
        stream->below = MAX(below, (size_t)1);
        stream->wait.cancel = cancel_wait;
        if (!list_linked(&stream->settle))
                list_append(&req->server->settling, &stream->settle);
        return task_await_named(t, &stream->wait, next, name);
}

void stream_finish(struct request *req, const void *data, size_t len)
{
        stream_put(&req->task, data, len);
        req->stream->ended = true;
        server_resume(req);
}

int stream_end(struct task *t)
{
        struct request *req = request_of(t);
        if (req->stream && !t->finished)
                stream_finish(req, "", 0);
        task_finish(t);
        return 0;
}

/*
 * The archive of a collection, on standard output, for whoever downloads it: the allocator passes it on and never sees a
 * file. A line of JSON goes before:
 *
 *   {"length": N}       so many bytes follow (N without `from`: the whole archive's length); null: not known yet
 *   {"empty": true}     every VM was asked and none has a file; nothing follows
 *   {"error": "..."}    nothing follows
 *
 * An archive that breaks off has no end: its reader sees that it is not whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "harvest/zip.h"
#include "runner/runner.h"

#define BUFFER_BYTES ((size_t)256 << 10)
#define LOOK_MS 50
#define LIST_WAIT_MS 90000 /* until the operation has begun its list */
#define ABANDONED_MS 3000  /* its runner is gone, and the list has no end */

struct output {
        struct runner *runner;
        const struct archive_order *order;
        struct buf buf;
        int64_t at, length; /* of the archive; length -1: not known */
        bool head;          /* is written */
        int64_t idle_ms;    /* since when no runner holds the lock; 0: one does */
};

static int flush(struct output *out)
{
        int r = fd_write_all(STDOUT_FILENO, buf_str(&out->buf), out->buf.len);
        buf_truncate(&out->buf, 0);
        return r;
}

/* While there is nothing to write, only this tells that nobody waits for it any more. */
static bool reader_has_left(void)
{
        struct pollfd out = {.fd = STDOUT_FILENO};
        return poll(&out, 1, 0) > 0 && out.revents & POLLERR;
}

static int put_head(struct output *out, json_t *line)
{
        _cleanup_free_ char *text = json_text(line);
        json_decref(line);
        out->head = true;
        buf_addf(&out->buf, "%s\n", text);
        return flush(out);
}

static int on_first(void *userdata)
{
        struct output *out = userdata;
        return put_head(out, json_pack("{s:o}", "length",
                                       out->length < 0 ? json_null() : json_integer((json_int_t)out->length)));
}

static int on_put(void *userdata, const void *data, size_t len)
{
        struct output *out = userdata;
        int64_t skip = MIN(MAX(out->order->from - out->at, (int64_t)0), (int64_t)len);
        out->at += (int64_t)len;
        buf_add(&out->buf, (const char *)data + skip, len - (size_t)skip);
        return out->buf.len < BUFFER_BYTES ? 0 : flush(out);
}

static int on_count(void *userdata, const void *data _unused_, size_t len)
{
        struct output *out = userdata;
        out->at += (int64_t)len;
        return 0;
}

/* Shared: a runner that comes for the lock at this very moment tries again. */
static bool is_made(struct output *out)
{
        _cleanup_free_ char *path = path_join(out->runner->state_dir, "files.lock");
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

/* The end of what is there: goes on as long as somebody makes more. */
static bool on_follow(void *userdata)
{
        struct output *out = userdata;
        if (flush(out) < 0 || reader_has_left())
                return false;
        if (is_made(out))
                out->idle_ms = 0;
        else if (!out->idle_ms)
                out->idle_ms = clock_ms();
        if (out->idle_ms && clock_ms() - out->idle_ms > ABANDONED_MS)
                return false;
        clock_sleep_ms(LOOK_MS);
        return true;
}

static int await_list(const struct store *store, int64_t list, struct error *error)
{
        _cleanup_free_ char *path = store_list_path(store, list);
        int64_t deadline = clock_ms() + LIST_WAIT_MS;
        while (access(path, F_OK) < 0) {
                if (reader_has_left())
                        return error_set(error, -EPIPE, "the archive's reader has gone");
                if (clock_ms() > deadline)
                        return error_set(error, -ENOENT, "collecting did not begin");
                clock_sleep_ms(LOOK_MS);
        }
        return 0;
}

static int measure(struct output *out, struct archive_plan plan, struct error *error)
{
        struct archive_facts facts;
        plan.measure = true;
        plan.put = on_count;
        plan.first = NULL;
        int r = archive_play(&plan, &facts, error);
        out->length = out->at;
        out->at = 0;
        return r;
}

static int play(struct output *out, const struct store *store, struct error *error)
{
        struct archive_facts facts;
        struct archive_plan plan = {.store = store,
                                    .list = out->order->list,
                                    .names = out->order->names,
                                    .follow = out->order->follow ? on_follow : NULL,
                                    .put = on_put,
                                    .first = on_first,
                                    .userdata = out};
        int r = store_lock_shared(store); /* nothing of it goes meanwhile */
        if (r < 0)
                return error_errno(error, -r, "cannot lock collection %lld", (long long)out->order->collection);
        r = out->order->follow ? await_list(store, out->order->list, error) : measure(out, plan, error);
        if (r == 0)
                r = archive_play(&plan, &facts, error);
        if (r == 0 && !facts.whole)
                r = error_set(error, -EIO, "collecting was interrupted");
        if (r == 0 && facts.files == 0)
                return put_head(out, json_pack("{s:b, s:I}", "empty", 1, "failed", (json_int_t)facts.failed));
        return r;
}

static int open_patiently(struct runner *runner, const struct archive_order *order, struct store *ret,
                          struct error *error)
{
        int64_t deadline = clock_ms() + (order->follow ? LIST_WAIT_MS : 0);
        for (;;) {
                int r = store_open(runner->state_dir, order->collection, false, ret, error);
                if (r != -ENOENT || clock_ms() >= deadline || reader_has_left())
                        return r;
                error_clear(error);
                clock_sleep_ms(LOOK_MS);
        }
}

int run_archive(struct runner *runner, const struct archive_order *order)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct store store = {.objects = -1, .top = -1};
        struct output out = {.runner = runner, .order = order, .length = -1};
        int r = open_patiently(runner, order, &store, &error);
        if (r == 0)
                r = play(&out, &store, &error);
        if (r < 0 && !out.head)
                put_head(&out, json_pack("{s:s}", "error", error_text(&error)));
        else if (flush(&out) < 0 && r == 0)
                r = -EPIPE;
        if (r < 0 && r != -EPIPE && error.code != -EPIPE)
                log_warning("the archive of collection %lld: %s", (long long)order->collection, error_text(&error));
        store_close(&store);
        buf_deinit(&out.buf);
        return r < 0 ? 1 : 0;
}

/*
 * A socket with a queue. The one idea: what to poll for is derived in one function (settle) from how full the queue is,
 * whether the owner has paused it and whether it is closing, after every move. An end is told once, from the loop; the
 * memory goes when libuv has let go of both handles.
 */
#include "http/websocket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"

#define READ_BYTES 65536
#define CLOSE_MS 5000
#define STALL_MS_DEFAULT 60000
#define OWN_QUEUE_MAX 65536 /* of pongs to a peer that only pings */
#define PINGS_MISSED_MAX 2

struct ws {
        struct list link; /* of the set */
        struct ws_options options;
        struct ws_parser parser;
        uv_poll_t poll;
        uv_timer_t timer;
        struct buf early;
        struct buf out;
        size_t sent;          /* of `out` */
        int64_t moved_ms;     /* the queue last got shorter, or began */
        int64_t close_at_ms;  /* 0: not closing */
        int64_t next_ping_ms; /* 0: none */
        int64_t wake_at_ms;   /* for which the timer is set; -1: it has rung */
        int events;           /* that are polled for */
        unsigned pings_missed;
        uint8_t handles; /* of libuv that are open */
        bool paused, inside, dead;
        bool again; /* there may be bytes that the poll does not show */
        bool close_sent, close_seen;
        bool failed, shut; /* the peer broke the rules: our word goes out, and what still comes is thrown away */
};

static void settle(struct ws *ws);

/* --- the end ------------------------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
        struct ws *ws = handle->data;
        if (--ws->handles > 0)
                return;
        if (ws->options.transport)
                ws->options.transport->free(ws->options.transport_context);
        else
                close(ws->options.fd);
        buf_deinit(&ws->early);
        buf_deinit(&ws->out);
        free(ws);
}

static void bury(struct ws *ws)
{
        if (ws->dead)
                return;
        ws->dead = true;
        ws->options.handler = NULL;
        if (ws->options.set)
                ws->options.set->n--;
        list_remove(&ws->link);
        uv_poll_stop(&ws->poll);
        uv_close((uv_handle_t *)&ws->poll, on_handle_closed);
        uv_close((uv_handle_t *)&ws->timer, on_handle_closed);
}

/* It ended by itself. */
static void tell_end(struct ws *ws, unsigned code, const char *reason)
{
        const struct ws_handler *handler = ws->options.handler;
        ws->options.handler = NULL;
        if (handler)
                handler->closed(ws, code, reason);
}

static void lose(struct ws *ws)
{
        if (ws->dead)
                return;
        tell_end(ws, WS_CODE_ABNORMAL, "");
        bury(ws);
}

/* --- writing ------------------------------------------------------------------------------------------------------- */

static ssize_t write_some(struct ws *ws, struct iovec *parts, int n)
{
        if (ws->options.transport) {
                int i = n > 1 && parts[0].iov_len == 0 ? 1 : 0;
                return ws->options.transport->write(ws->options.transport_context, parts[i].iov_base, parts[i].iov_len);
        }
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
        ssize_t r;
        do {
                r = sendmsg(ws->options.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : r;
}

static void flush(struct ws *ws)
{
        while (ws->sent < ws->out.len) {
                struct iovec part = {ws->out.data + ws->sent, ws->out.len - ws->sent};
                ssize_t r = write_some(ws, &part, 1);
                if (r == -EAGAIN || r == -EWOULDBLOCK)
                        return;
                if (r <= 0) {
                        lose(ws);
                        return;
                }
                ws->sent += (size_t)r;
                ws->moved_ms = clock_ms();
        }
        buf_deinit(&ws->out); /* an idle connection holds no buffer */
        ws->sent = 0;
}

static void enqueue(struct ws *ws, const void *data, size_t len)
{
        if (ws->out.len == ws->sent)
                ws->moved_ms = clock_ms();
        if (ws->sent > 0 && ws->sent * 2 >= ws->out.len) {
                buf_consume(&ws->out, ws->sent);
                ws->sent = 0;
        }
        buf_add(&ws->out, data, len);
}

/* Header and payload go out together where the socket takes them; what it does not take is copied. */
static void put(struct ws *ws, const uint8_t *header, size_t header_len, const void *data, size_t len)
{
        ssize_t written = 0;
        if (ws->dead)
                return;
        if (ws_idle(ws) && !ws->options.transport) {
                struct iovec parts[2] = {{(void *)header, header_len}, {(void *)data, len}};
                written = write_some(ws, parts, 2);
                if (written < 0)
                        written = 0; /* an error is met again by flush, from the loop */
        }
        size_t skip = (size_t)written;
        if (skip < header_len)
                enqueue(ws, header + skip, header_len - skip);
        skip = skip > header_len ? skip - header_len : 0;
        if (skip < len)
                enqueue(ws, (const uint8_t *)data + skip, len - skip);
}

static void send_frame(struct ws *ws, enum ws_opcode opcode, const void *data, size_t len)
{
        uint8_t header[WS_HEADER_MAX];
        if (!ws->close_sent)
                put(ws, header, ws_header(header, opcode, len, ws->options.side == WS_CLIENT), data, len);
}

void ws_send(struct ws *ws, enum ws_opcode opcode, const void *data, size_t len)
{
        if (ws->options.side == WS_RAW)
                put(ws, NULL, 0, data, len);
        else
                send_frame(ws, opcode, data, len);
        settle(ws);
}

static void send_close(struct ws *ws, unsigned code, const char *reason, size_t len)
{
        uint8_t payload[WS_CONTROL_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
        len = MIN(len, (size_t)WS_REASON_MAX);
        if (len)
                memcpy(payload + 2, reason, len);
        if (ws->options.side != WS_RAW && !ws->close_sent)
                send_frame(ws, WS_CLOSE, payload, code == WS_CODE_NONE ? 0 : 2 + len);
        ws->close_sent = true;
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

static void closed_by_peer(struct ws *ws, const struct ws_event *event)
{
        char reason[WS_REASON_MAX + 1] = "";
        if (event->len)
                memcpy(reason, event->data, event->len);
        reason[event->len] = '\0';
        ws->close_seen = true;
        send_close(ws, event->code, NULL, 0);
        tell_end(ws, event->code, reason);
        if (!ws->close_at_ms)
                ws->close_at_ms = clock_ms() + CLOSE_MS;
}

static void fail(struct ws *ws, unsigned code)
{
        ws->failed = true;
        send_close(ws, code, NULL, 0);
        tell_end(ws, code, "");
        if (!ws->close_at_ms)
                ws->close_at_ms = clock_ms() + CLOSE_MS;
}

static void take_event(struct ws *ws, const struct ws_event *event)
{
        switch (event->kind) {
        case WS_EVENT_DATA:
                if (ws->options.handler)
                        ws->options.handler->data(ws, event->data, event->len, event->text, event->end);
                break;
        case WS_EVENT_PING:
                if (ws->out.len - ws->sent < OWN_QUEUE_MAX)
                        send_frame(ws, WS_PONG, event->data, event->len);
                break;
        case WS_EVENT_CLOSE:
                closed_by_peer(ws, event);
                break;
        case WS_EVENT_PONG:
        case WS_EVENT_NONE:
                break;
        }
}

static void take_bytes(struct ws *ws, uint8_t *data, size_t len)
{
        ws->pings_missed = 0;
        if (ws->options.side == WS_RAW) {
                if (ws->options.handler)
                        ws->options.handler->data(ws, data, len, false, true);
                return;
        }
        while (len > 0 && !ws->dead && !ws->close_seen && !ws->failed) {
                struct ws_event event;
                ssize_t taken = ws_parse(&ws->parser, data, len, &event);
                if (taken < 0) {
                        fail(ws, (unsigned)-taken);
                        return;
                }
                take_event(ws, &event);
                data += taken;
                len -= (size_t)taken;
        }
}

static ssize_t read_some(struct ws *ws, void *data, size_t len)
{
        if (ws->options.transport)
                return ws->options.transport->read(ws->options.transport_context, data, len);
        ssize_t r;
        do {
                r = recv(ws->options.fd, data, len, MSG_DONTWAIT);
        } while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : r;
}

static bool wants_bytes(const struct ws *ws)
{
        return !ws->dead && (!ws->paused || !ws->options.handler) && ws->out.len - ws->sent < OWN_QUEUE_MAX;
}

static void read_once(struct ws *ws)
{
        uint8_t data[READ_BYTES];
        if (!wants_bytes(ws))
                return;
        ws->again = false;
        ssize_t r = read_some(ws, data, sizeof data);
        if (r == -EAGAIN || r == -EWOULDBLOCK)
                return;
        if (r <= 0) {
                lose(ws);
                return;
        }
        ws->again = ws->options.transport != NULL; /* TLS may hold more than the socket shows */
        take_bytes(ws, data, (size_t)r);
}

/* --- the loop ------------------------------------------------------------------------------------------------------ */

/* After the peer's close frame and ours the connection is over; before, a raw one when its queue is empty. */
static bool is_over(const struct ws *ws)
{
        return ws->close_sent && ws_idle(ws) && (ws->close_seen || ws->options.side == WS_RAW) && !ws->options.handler;
}

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);

static int64_t next_deadline(const struct ws *ws)
{
        int64_t at = ws->next_ping_ms ? ws->next_ping_ms : INT64_MAX;
        if (ws->close_at_ms)
                at = ws->close_at_ms;
        if (!ws_idle(ws))
                at = MIN(at, ws->moved_ms + ws->options.stall_ms);
        return ws->again && wants_bytes(ws) ? 0 : at;
}

/* Each start of a poll costs two system calls, even when it changes nothing. */
static void poll_for(struct ws *ws, int events)
{
        if (events == ws->events)
                return;
        ws->events = events;
        if (events)
                uv_poll_start(&ws->poll, events, on_poll);
        else
                uv_poll_stop(&ws->poll);
}

static void wake_at(struct ws *ws, int64_t at)
{
        if (at == ws->wake_at_ms)
                return;
        ws->wake_at_ms = at;
        if (at == INT64_MAX) {
                uv_timer_stop(&ws->timer);
                return;
        }
        int64_t now = clock_ms();
        uv_update_time(&ws->options.loop->uv);
        uv_timer_start(&ws->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
}

static void settle(struct ws *ws)
{
        if (ws->dead || ws->inside)
                return;
        if (is_over(ws)) {
                bury(ws);
                return;
        }
        if (ws->failed && ws_idle(ws) && !ws->shut) {
                /* closing with bytes unread would reset the connection, and our word be lost */
                ws->shut = true;
                shutdown(ws->options.fd, SHUT_WR);
        }
        poll_for(ws, (wants_bytes(ws) ? UV_READABLE : 0) | (ws_idle(ws) ? 0 : UV_WRITABLE));
        wake_at(ws, next_deadline(ws));
}

static void work(struct ws *ws, bool readable)
{
        bool busy = !ws_idle(ws);
        ws->inside = true;
        if (busy)
                flush(ws);
        if (!ws->dead && busy && ws_idle(ws) && ws->options.handler && ws->options.handler->idle)
                ws->options.handler->idle(ws);
        if (readable && !ws->dead)
                read_once(ws);
        ws->inside = false;
        settle(ws);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
        struct ws *ws = poll->data;
        if (status < 0) {
                lose(ws);
                return;
        }
        work(ws, events & (UV_READABLE | UV_DISCONNECT));
}

static void ping(struct ws *ws)
{
        if (ws->pings_missed++ >= PINGS_MISSED_MAX) {
                lose(ws);
                return;
        }
        send_frame(ws, WS_PING, NULL, 0);
        ws->next_ping_ms = clock_ms() + ws->options.ping_ms;
}

static void take_early(struct ws *ws)
{
        struct buf early = ws->early;
        ws->early = BUF_NULL;
        if (early.len && ws->options.handler)
                take_bytes(ws, (uint8_t *)early.data, early.len);
        buf_deinit(&early);
}

static void on_timer(uv_timer_t *timer)
{
        struct ws *ws = timer->data;
        int64_t now = clock_ms();
        ws->wake_at_ms = -1;
        bool stalled = !ws_idle(ws) && now >= ws->moved_ms + ws->options.stall_ms;
        if (stalled || (ws->close_at_ms && now >= ws->close_at_ms)) {
                lose(ws);
                return;
        }
        ws->inside = true;
        if (ws->early.len && wants_bytes(ws))
                take_early(ws);
        if (!ws->dead && !ws->close_at_ms && ws->next_ping_ms && now >= ws->next_ping_ms)
                ping(ws);
        ws->inside = false;
        if (!ws->dead)
                work(ws, ws->again);
}

/* --- the owner's ---------------------------------------------------------------------------------------------------- */

struct ws *ws_new(const struct ws_options *options, const void *early, size_t early_len)
{
        struct ws *ws = xcalloc(1, sizeof *ws);
        uv_loop_t *uv = &options->loop->uv;
        ws->options = *options;
        if (options->set) {
                if (!options->set->all.next)
                        list_init(&options->set->all);
                list_append(&options->set->all, &ws->link);
                options->set->n++;
        }
        ws->parser = (struct ws_parser){.masked = options->side == WS_SERVER, .message_max = options->message_max};
        if (!ws->options.stall_ms)
                ws->options.stall_ms = STALL_MS_DEFAULT;
        if (options->ping_ms)
                ws->next_ping_ms = clock_ms() + options->ping_ms;
        if (uv_poll_init(uv, &ws->poll, options->fd) < 0 || uv_timer_init(uv, &ws->timer) < 0)
                abort();
        ws->handles = 2;
        ws->poll.data = ws->timer.data = ws;
        if (early_len)
                buf_add(&ws->early, early, early_len);
        ws->again = true; /* the first turn takes what is early, and what may lie in the socket */
        uv_update_time(uv);
        uv_timer_start(&ws->timer, on_timer, 0, 0);
        return ws;
}

void *ws_userdata(const struct ws *ws)
{
        return ws->options.userdata;
}

void ws_handle(struct ws *ws, const struct ws_handler *handler, void *userdata)
{
        ws->options.handler = handler;
        ws->options.userdata = userdata;
}

void ws_pause(struct ws *ws, bool paused)
{
        if (ws->paused == paused)
                return;
        ws->paused = paused;
        settle(ws);
}

size_t ws_queued(const struct ws *ws)
{
        return ws->out.len - ws->sent;
}

bool ws_idle(const struct ws *ws)
{
        return ws->out.len == ws->sent;
}

void ws_close(struct ws *ws, unsigned code, const char *reason)
{
        ws->options.handler = NULL;
        if (ws->dead)
                return;
        send_close(ws, code, reason, reason ? strlen(reason) : 0);
        ws->close_at_ms = clock_ms() + CLOSE_MS;
        settle(ws);
}

void ws_drop(struct ws *ws)
{
        bury(ws);
}

void ws_set_drop(struct ws_set *set)
{
        while (set->all.next && !list_empty(&set->all))
                bury(list_entry(set->all.next, struct ws, link));
}

/*
 * What the files of this room share, and the way of one request through them.
 *
 * libmicrohttpd calls on_uri (connection.c) with the raw target: a struct request is born. The first call of the
 * access handler routes it (router.c), further calls collect its body, the last one parses the body (body.c) and queues
 * the task. The task's steps run when the loop drains its queue, never inside libmicrohttpd. They leave an answer in
 * request.response (reply.c, stream.c), and the next call of the handler hands it to libmicrohttpd: without suspending
 * when the first step answered at once, else after a resume. on_completed ends it. The memory goes when both the task
 * and libmicrohttpd have let go.
 */
#pragma once

#include <microhttpd.h>

#include "base/buf.h"
#include "base/list.h"
#include "http/form.h"
#include "http/http.h"
#include "http/template.h"

#define BODY_MAX_DEFAULT ((size_t)1 << 20)
#define BODY_DRAIN_MAX ((size_t)1 << 20)    /* what is read and thrown away to be able to answer 413 */
#define STREAM_LAG_MAX ((size_t)1 << 20)    /* a reader that lags more than this is cut off */
#define STREAM_PENDING_MAX ((size_t)16 << 20)
#define DEADLINE_MS_DEFAULT 60000
#define RECEIVE_MS_MAX 60000                /* for the whole of a request's head and body */
#define IDLE_MS_MAX 75000                   /* above the 60 s of a load balancer, so that it closes first */
#define STALL_S_MAX 120                     /* libmicrohttpd's own: no byte moved */
#define HANGUP_WATCH_AFTER_MS 200           /* short waits (a query) are not worth two system calls */
#define TICK_MS 250

struct listener {
        struct list link;
        struct http_server *server;
        struct MHD_Daemon *daemon;
        enum http_listener_kind kind;
        uv_poll_t *poll;                /* of the daemon's epoll descriptor; frees itself on close */
        bool wants_run;
        unsigned connections;
};

struct connection {
        struct list idle;               /* server.idle while no request has fully begun */
        struct listener *listener;
        struct MHD_Connection *mhd;
        int fd;
        uid_t uid;
        int64_t idle_since;
};

struct pattern;

struct router {
        const struct http_route *routes;
        struct pattern *patterns;       /* one a route */
        size_t n;
};

/* Segments of a raw path, decoded. */
#define SEGMENTS_MAX 16
struct segments {
        struct buf text;                /* NUL-terminated one after the other */
        size_t offset[SEGMENTS_MAX];
        unsigned n;
};

struct http_server {
        struct loop *loop;
        struct http_options options;
        struct router router;
        struct MHD_Response **assets;   /* two an asset: as it is, and decompressed (made when first asked for) */
        struct list listeners;
        struct list active;             /* struct request.link: every live request is here ... */
        struct list sleeping;           /* ... or here, while it waits without a deadline */
        struct list idle;               /* struct connection.idle, the oldest first */
        struct list resumes;            /* struct request.resume: to be resumed at the end of this turn */
        struct list settling;           /* struct request.settle: asked for a wait without deadline in this turn */
        struct turn_hook hook;
        uv_timer_t *tick;
        bool ticking;
        unsigned ticks;
        int hangup_fd;                  /* an epoll of its own over suspended sockets, EPOLLRDHUP */
        uv_poll_t *hangup_poll;
        unsigned connections, connections_max;
        bool draining;
        int64_t drain_until;
        void (*drained)(void *userdata);
        void *drained_userdata;
};

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_RUNNING, PHASE_REPLYING };

struct stream {
        struct buf data;
        size_t taken;                   /* bytes of `data` that the socket has got */
        size_t lag;                     /* pending when this turn began */
        bool events, ended;
        struct wait wait;               /* stream_await */
        size_t below;
};

struct request {
        struct task task;
        struct list link, resume, settle;
        struct http_server *server;
        struct connection *connection;
        struct MHD_Connection *mhd;
        const struct http_route *route;
        char *target;                   /* the path; `query` follows behind its NUL */
        const char *query;              /* raw, or NULL */
        char method[16];
        struct segments segments;
        struct buf arguments;           /* decoded query: name NUL value NUL ... */
        bool query_parsed;

        size_t body_max, body_seen;
        struct buf body;
        json_t *json;
        struct form *form;
        unsigned early_status;          /* what is wrong with the body, told after the rights were checked */
        const char *early_code;
        char *early_text;

        void *principal;
        char *address;

        struct buf headers;             /* of the reply: name NUL value NUL ... */
        struct MHD_Response *response;
        unsigned status;
        size_t bytes;
        struct stream *stream;

        int64_t started_ms, deadline_ms, suspended_ms;
        const struct wait *long_wait;   /* the wait that has no deadline, and the step behind it */
        task_step long_next;
        uint8_t phase;
        bool head, suspended, watched, cut, task_over, mhd_over, closing;
};

static inline struct request *request_of(const struct task *t)
{
        return container_of(t, struct request, task);
}

/* --- uri.c, router.c ----------------------------------------------------------------------------------------------- */

/* Splits and decodes a raw path. -EINVAL when a segment is hostile. */
int segments_split(const char *path, struct segments *segments);
static inline const char *segment(const struct segments *segments, unsigned i)
{
        return segments->text.data + segments->offset[i];
}
/* Decodes a raw query into name NUL value NUL ... -EINVAL when it is not well formed. */
int query_parse(const char *query, struct buf *out);

int router_init(struct router *router, const struct http_route *routes, struct error *error);
void router_deinit(struct router *router);
/* The route; or NULL, with the methods that the path knows in `allow` (empty: unknown path). */
const struct http_route *router_find(const struct router *router, const char *method, const struct segments *segments,
                                     struct buf *allow);
const char *router_argument(const struct router *router, const struct http_route *route,
                            const struct segments *segments, const char *name);
/* What an unknown path is answered with: as the first route that begins alike. */
enum http_default router_default(const struct router *router, const struct segments *segments);

/* --- request.c, body.c ---------------------------------------------------------------------------------------------- */

extern const struct task_class request_class;

struct request *request_new(struct connection *connection, struct MHD_Connection *mhd, const char *uri);
/* The head is there: checks framing, routes. May leave an answer that ends the connection. */
void request_head(struct request *req, const char *method, const char *version);
/* A piece of the body. False: too much, hang up. */
bool request_body(struct request *req, const char *data, size_t len);
/* The body is complete: parses it and queues the task, or leaves an answer. */
void request_begin(struct request *req);
/* Ends it without an answer, wherever it is. */
void request_cut(struct request *req);
/* Ends it with 503. */
void request_expire(struct request *req);
void request_release(struct request *req);
void body_parse(struct request *req);
void body_refuse(struct request *req, unsigned status, const char *code, const char *format, ...) _printf_(4, 5);
/* The client's address behind trusted proxies; owned by the request. */
const char *address_of(struct request *req);
bool header_has_token(const char *header, const char *token);

/* --- reply.c, asset.c ----------------------------------------------------------------------------------------------- */

void answer_error(struct request *req, unsigned status, const char *code, const char *sentence);
void answer_body(struct request *req, unsigned status, const char *content_type, struct buf *body); /* takes the body */
void answer_headers(struct request *req, struct MHD_Response *response, const char *content_type);
/* The asset's answer, when the path is one's. */
bool asset_answer(struct request *req);
void assets_free(struct http_server *server);

/* --- stream.c ------------------------------------------------------------------------------------------------------- */

void stream_free(struct stream *stream);
/* Ends the stream with the connection still open, from within an answer. */
void stream_close(struct request *req);

/* --- server.c ------------------------------------------------------------------------------------------------------- */

void server_resume(struct request *req);       /* at the end of this turn */
void server_flush(struct http_server *server); /* the end of a turn: resumes, and runs the daemons that have work */
void server_suspended(struct request *req);    /* libmicrohttpd has been told to suspend it */
void server_settle(struct request *req);
void server_tick_on(struct http_server *server);

/* --- connection.c --------------------------------------------------------------------------------------------------- */

struct MHD_Daemon *daemon_start(struct listener *listener, int fd);
void hangup_watch(struct request *req);
void hangup_unwatch(struct request *req);

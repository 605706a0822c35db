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
#define BODY_DRAIN_MAX ((size_t)1 << 20) /* what is read and thrown away to be able to answer 413 */
#define STREAM_LAG_MAX ((size_t)1 << 20) /* a reader that lags more than this is cut off */
#define STREAM_PENDING_MAX ((size_t)16 << 20)
#define BODIES_MAX ((size_t)64 << 20) /* of all requests together, for as long as the requests live */
#define BODY_SMALL ((size_t)16384)    /* is taken whatever others send */
#define JSON_VALUES_MAX 32768         /* of one body */
#define DEADLINE_MS_DEFAULT 60000
#define RECEIVE_MS_MAX 60000      /* for the whole of a request's head and body */
#define REPLY_MS_MAX 600000       /* to take a whole answer that is no stream */
#define IDLE_MS_MAX 75000         /* above the 60 s of a load balancer, so that it closes first */
#define STALL_S_MAX 120           /* libmicrohttpd's own: no byte moved */
#define HANGUP_WATCH_AFTER_MS 200 /* short waits (a query) are not worth two system calls */
#define TICK_MS 250

struct listener {
        struct list link;
        struct http_server *server;
        struct MHD_Daemon *daemon;
        enum http_listener_kind kind;
        uv_poll_t *poll; /* of the daemon's epoll descriptor; frees itself on close */
        bool wants_run;
};

struct connection {
        struct list idle; /* server.idle, then server.quiet, while no request has fully begun */
        struct listener *listener;
        struct MHD_Connection *mhd;
        struct request *req; /* the present one, or NULL */
        int fd;
        bool watched; /* by hangup_fd */
        uid_t uid;
        char *peer; /* its address as text, once somebody has asked for it */
        int64_t idle_since;
};

struct pattern;

struct router {
        const struct http_route *routes;
        struct pattern *patterns; /* one a route */
        size_t n;
};

/* Segments of a raw path, decoded. */
#define SEGMENTS_MAX 16
struct segments {
        struct buf text; /* NUL-terminated one after the other */
        size_t offset[SEGMENTS_MAX];
        unsigned n;
};

struct http_server {
        struct loop *loop;
        struct http_options options;
        struct router router;
        struct buf *inflated; /* of each compressed asset, made when first asked for */
        struct list listeners;
        struct list active;   /* struct request.link: every live request is here ... */
        struct list sleeping; /* ... or here, while it waits without a deadline and its socket is watched */
        struct list idle;     /* struct connection.idle, the oldest first ... */
        struct list quiet;    /* ... and those that have been so for a moment: their sockets are watched */
        struct list resumes;  /* struct request.resume: to be woken or cut at the end of this turn */
        struct list settling; /* struct stream.settle: began to wait in this turn */
        struct turn_hook hook;
        uint64_t turn;
        int64_t now_ms; /* when libmicrohttpd was last let run: its callbacks need no finer clock */
        uv_timer_t *tick;
        uv_idle_t *again; /* keeps the loop from sleeping while libmicrohttpd has more to do */
        bool ticking;
        unsigned ticks;
        int hangup_fd; /* an epoll of its own over suspended and quiet sockets, EPOLLRDHUP */
        uv_poll_t *hangup_poll;
        size_t body_bytes;
        unsigned connections, connections_max;
        bool draining;
        int64_t drain_until;
        void (*drained)(void *userdata);
        void *drained_userdata;
};

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_RUNNING, PHASE_REPLYING };

struct stream {
        struct buf data;
        size_t taken; /* bytes of `data` that the socket has got */
        size_t lag;   /* pending when turn `lag_turn` first put something */
        uint64_t lag_turn;
        bool events, download, ended;
        struct list settle;
        struct wait wait; /* stream_await */
        size_t below;
};

struct request {
        struct task task;
        struct list link, resume;
        struct http_server *server;
        struct connection *connection;
        struct MHD_Connection *mhd;
        const struct http_route *route;
        const struct http_asset *asset;
        char *target;      /* the path; the query follows behind its NUL */
        const char *query; /* raw, or NULL */
        bool bad_target;   /* a NUL byte was in it, or no version behind it */
        char method[16];
        struct segments segments;
        struct buf arguments; /* decoded query: name NUL value NUL ... */

        size_t body_max, body_seen, body_charge; /* the last: its share of server.body_bytes */
        struct buf body;
        json_t *json;
        struct form *form;
        unsigned early_status; /* what is wrong with the request; with a route, told after the rights */
        const char *early_code;
        char *early_text;

        void *principal;
        char *address;

        struct buf headers; /* of the reply: name NUL value NUL ... */
        struct MHD_Response *response;
        unsigned status;
        size_t bytes;
        struct stream *stream;
        struct http_upgrade upgrade; /* empty, or it has not been told yet */

        int64_t started_ms, deadline_ms, suspended_ms;
        uint8_t phase;
        bool no_deadline;
        bool suspended; /* by libmicrohttpd */
        bool cut;       /* the connection is to be closed */
        bool closing;   /* after the answer */
        bool task_over, mhd_over;
};

static inline struct request *request_of(const struct task *t)
{
        return container_of(t, struct request, task);
}

/* --- uri.c, router.c ---------------------------------------------------------------------------------------------- */

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

/* --- request.c, head.c, body.c ------------------------------------------------------------------------------------ */

struct request *request_new(struct connection *connection, struct MHD_Connection *mhd, const char *target);
/* The head is there: checks framing, routes. With `closing` set afterwards there is an answer already. */
void request_head(struct request *req, const char *method, const char *version);
/* A piece of the body. False: too much, hang up. */
bool request_body(struct request *req, const char *data, size_t len);
/* The body is complete: parses it and queues the task, or leaves an answer. */
void request_begin(struct request *req);
/* Ends it without an answer, wherever it is, at the end of this turn. */
void request_cut(struct request *req);
/* Its time is over: 503 when it runs, else cut. */
void request_expire(struct request *req);
/* libmicrohttpd has let go of it. */
void request_completed(struct request *req, bool whole);
void body_parse(struct request *req);
/* Remembers what is wrong with the request; the first word counts. */
void request_refuse(struct request *req, unsigned status, const char *code, const char *format, ...) _printf_(4, 5);
/* The client's address behind trusted proxies; owned by the request. */
const char *address_of(struct request *req);

/* --- accept.c ----------------------------------------------------------------------------------------------------- */

/* The weight, in thousandths, that an Accept-like header gives to exactly this name; 0 when it does not name it. */
unsigned accept_weight(const char *header, const char *name);

/* --- reply.c, asset.c --------------------------------------------------------------------------------------------- */

void answer_error(struct request *req, unsigned status, const char *code, const char *sentence);
void answer_body(struct request *req, unsigned status, const char *content_type, struct buf *body); /* takes the body */
void answer_headers(struct request *req, struct MHD_Response *response, const char *content_type);
/* The answer is there: libmicrohttpd will be given it. */
void answer_ready(struct request *req, struct MHD_Response *response, unsigned status);
const char *answer_header(const struct request *req, const char *name); /* one that was added, or NULL */
/* Renders with the globals of every page. Takes the reference. False: it was not well formed (logged). */
bool page_render(struct request *req, const char *template_name, json_t *model, struct buf *out);
const struct http_asset *asset_find(const struct http_server *server, const char *path);
void asset_answer(struct request *req);

/* --- stream.c ----------------------------------------------------------------------------------------------------- */

void stream_free(struct stream *stream);
/* From reply.c: the body is the stream's last. */
void stream_finish(struct request *req, const void *data, size_t len);
void stream_settle(struct stream *stream);

/* --- upgrade.c ---------------------------------------------------------------------------------------------------- */

void upgrade_lost(struct request *req); /* does nothing when it was told */

/* --- server.c ----------------------------------------------------------------------------------------------------- */

void server_resume(struct request *req); /* at the end of this turn */
void server_tick_on(struct http_server *server);
/* May one more connection, or WebSocket, come by this listener? */
bool server_has_room(const struct listener *listener);

/* --- connection.c ------------------------------------------------------------------------------------------------- */

struct MHD_Daemon *daemon_start(struct listener *listener, int fd, unsigned connections_max);
void connection_close(struct connection *connection); /* between two requests */
void hangup_watch(struct connection *connection);
void hangup_unwatch(struct connection *connection);
void hangup_read(struct http_server *server);

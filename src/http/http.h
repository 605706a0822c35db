/*
 * HTTP as a handler sees it: a route in a table, a request that is a task, and one reply.
 *
 * A request is routed on its raw path, checked (method, content type, size, rights) and its body parsed before the
 * route's first step runs. The step answers with one reply_*() or waits (db_await, watch_await, sleep_await ...), as
 * base/task.h says. Each HTML answer has a JSON twin: reply_view() renders a template over the very model that it would
 * print as JSON.
 */
#pragma once

#include <sys/types.h>

#include "base/json.h"
#include "base/task.h"

enum http_listener_kind {
        HTTP_TCP,          /* the internet, or a proxy before us */
        HTTP_ADMIN_SOCKET, /* unix socket of the command line: trusted by peer uid */
        HTTP_VM_SOCKET,    /* unix socket bound into local VMs: never trusted */
};

/* What a body may be; a request with another content type gets 415. */
enum http_body {
        HTTP_BODY_NONE = 0,
        HTTP_BODY_JSON = 1,
        HTTP_BODY_FORM = 2, /* urlencoded or multipart; fields only, files are refused */
        HTTP_BODY_ANY = HTTP_BODY_JSON | HTTP_BODY_FORM,
        HTTP_BODY_MENDED = 4, /* with JSON: characters that no JSON text may hold are replaced, not refused */
};

/* The representation that is specified for the route: used for "Accept: star/star" or none. */
enum http_default { HTTP_DEFAULT_JSON, HTTP_DEFAULT_HTML };

struct http_route {
        const char *method;     /* "GET" (answers HEAD too), "POST" ... */
        const char *pattern;    /* "/api/vm-logs/:hostname": a segment with ':' is an argument */
        const char *first_name; /* the step's name for logs: use ROUTE_STEP() */
        task_step first;
        unsigned body;   /* enum http_body, or-ed */
        size_t body_max; /* bytes; 0: 1 MB */
        enum http_default answer;
        int rights;                      /* meaning is the program's: its `authorize` hook reads it */
        size_t state_size;               /* of t->state, zeroed; 0: none */
        void (*state_free)(void *state); /* releases what the state owns, not the state; may be NULL */
        const char *summary;             /* one sentence for OpenAPI and docs */
};
#define ROUTE_STEP(step) .first = (step), .first_name = #step

struct http_asset {       /* a static file embedded in the program */
        const char *path; /* "/static/app.css" */
        const char *content_type;
        const unsigned char *data; /* as served: gzip when `gzip` */
        size_t len;
        bool gzip;
        const char *etag; /* quoted */
};

struct http_template {
        const char *name; /* "index" */
        const char *text; /* mustache */
};

struct http_options {
        const struct http_route *routes;       /* ends with a NULL pattern */
        const struct http_asset *assets;       /* ends with a NULL path */
        const struct http_template *templates; /* ends with a NULL name */
        /* Runs before a route's first step, with the body parsed. It is a step like any: when the request may go on it
         * returns http_proceed(t); otherwise it replies, or waits and decides later. NULL: everything may. */
        task_step authorize;
        /* Adds what every page shows (navigation, version) to a copy of the model before it is rendered; may be NULL.
         */
        void (*page_globals)(struct task *t, json_t *model);
        const char *const *trusted_proxies; /* addresses whose X-Forwarded-For is believed; NULL-terminated or NULL */
        int64_t deadline_ms;                /* for a request that is not streaming; 0: 60 s */
        bool access_log;
        unsigned connections_max; /* 0: from the file limit */
        const unsigned
                *websockets; /* how many descriptors live on as WebSockets; counted with the connections; may be NULL */
};

struct http_server;

/* The loop's tables are borrowed and must outlive the server. */
int http_server_new(struct loop *loop, const struct http_options *options, struct http_server **ret,
                    struct error *error);
/* Starts to accept on a listening socket, which the server owns from now on. */
int http_server_listen(struct http_server *server, int fd, enum http_listener_kind kind, struct error *error);
/* Stops accepting, ends waits of suspended requests without an answer, lets running ones finish, calls `done` once. */
void http_server_drain(struct http_server *server, int64_t grace_ms, void (*done)(void *userdata), void *userdata);
struct http_server *http_server_free(struct http_server *server);
unsigned http_server_connections(const struct http_server *server);
unsigned http_server_connections_max(const struct http_server *server); /* of the listener on TCP */

/* --- the request ------------------------------------------------------------------------------------------------- */

const struct http_route *request_route(struct task *t);
const char *request_method(struct task *t);
const char *request_path(struct task *t); /* raw, without query */
const char *request_argument(struct task *t,
                             const char *name);              /* decoded segment, never NULL for a name of the pattern */
const char *request_query(struct task *t, const char *name); /* decoded, or NULL */
const char *request_header(struct task *t, const char *name); /* or NULL */
const char *request_cookie(struct task *t, const char *name); /* or NULL */
const char *request_address(struct task *t); /* the client's, behind trusted proxies; "unix" for sockets */
enum http_listener_kind request_listener(struct task *t);
uid_t request_peer_uid(struct task *t);    /* (uid_t)-1 on TCP */
bool request_wants_json(struct task *t);   /* by Accept and the route's default */
bool request_wants_events(struct task *t); /* Accept: text/event-stream */
json_t *request_json(struct task *t);      /* the body when it was a JSON object, else NULL; borrowed */
/* A field of the form, or a string member of the JSON object; NULL when missing or another type. Borrowed. */
const char *request_field(struct task *t, const char *name);

/* Overwrites the body and what was parsed of it: request_field and request_json give nothing afterwards. */
void request_forget(struct task *t);

/* This request answers when it answers (a VM's wait, a stream): its deadline is lifted. */
void request_no_deadline(struct task *t);

/* What the authorize hook found out, kept with the request; owned by it (freed with free()). NULL at first. */
void request_set_principal(struct task *t, void *principal);
void *request_principal(struct task *t);
int http_proceed(struct task *t); /* from the authorize hook: go on with the route's first step */

/* --- the one reply ------------------------------------------------------------------------------------------------ */

/* Adds a header to the reply that will come. CR and LF in the value are refused by leaving the header out (logged). */
void reply_header(struct task *t, const char *name, const char *value);

int reply_json(struct task *t, unsigned status, json_t *body); /* takes the reference */
/* HTML from the template, or `model` as JSON when the client asked for it. Takes the reference. */
int reply_view(struct task *t, unsigned status, const char *template_name, json_t *model);
/* Always HTML. Takes the reference. */
int reply_page(struct task *t, unsigned status, const char *template_name, json_t *model);
/* {"error","code"}, or the page "error" with {status, error, code}. 429 and 503 get Retry-After: 5 unless one was set.
 */
int reply_error(struct task *t, unsigned status, const char *code, const char *format, ...) _printf_(4, 5);
int reply_redirect(struct task *t, const char *location);                                                /* 303 */
int reply_text(struct task *t, unsigned status, const char *content_type, const char *text, size_t len); /* copies */
int reply_close(struct task *t); /* cut the connection without an answer */

/* --- a WebSocket --------------------------------------------------------------------------------------------------- */

/* Is this a handshake of RFC 6455? False: replied already, *ret_replied is what the step returns. */
bool request_websocket(struct task *t, int *ret_replied);
bool request_offers(struct task *t, const char *protocol); /* in Sec-WebSocket-Protocol */

/* Exactly one of the two is called, later. */
struct http_upgrade {
        /* The connection's descriptor, owned by the callee (http/websocket.h), and what came with the handshake. */
        void (*opened)(void *argument, int fd, const void *early, size_t early_len);
        void (*lost)(void *argument); /* the client left before it was answered */
        void *argument;
};
/* 101; `protocol` is the chosen subprotocol, or NULL. */
int reply_websocket(struct task *t, const char *protocol, const struct http_upgrade *upgrade);

/* --- a long answer ------------------------------------------------------------------------------------------------ */

/*
 * stream_begin() sends status and headers; the task goes on with its waits and puts more until it ends with
 * stream_end(), its reply. After stream_begin, reply_json and reply_error write their body into the stream and end it.
 * A reader that is slower than 1 MB of what was put is cut off.
 */
void stream_begin(struct task *t, unsigned status, const char *content_type);
/* The same for bytes that are many: `length` is told to the client when it is not -1, and so many must be put then. */
void stream_begin_download(struct task *t, unsigned status, const char *content_type, int64_t length);
bool stream_begun(const struct task *t);
void stream_put(struct task *t, const void *data, size_t len);
void stream_puts(struct task *t, const char *text);
/* "event: NAME\nid: ID\ndata: ...\n\n" with the data's lines split as the format wants it; name and id may be NULL. */
void stream_event(struct task *t, const char *name, const char *id, const char *data);
/* Renders a template into the stream (the head or the foot of a page). */
void stream_template(struct task *t, const char *template_name, json_t *model);
size_t stream_pending(const struct task *t); /* bytes not yet taken by the socket */
/* Waits until less than `below` bytes are pending. */
int stream_await_named(struct task *t, size_t below, task_step next, const char *name);
#define stream_await(t, below, next) stream_await_named((t), (below), (next), #next)
int stream_end(struct task *t);

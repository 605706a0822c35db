/*
 * A request from its first line to its last byte: it is born with the raw target, becomes a task when its body is
 * complete, and its memory goes when both the task and libmicrohttpd have let go of it.
 */
#include "http/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#define LOGGED_PATH_MAX 512
#define LOGGED_USUAL 127 /* bytes of a line, mostly */

/* --- the task ----------------------------------------------------------------------------------------------------- */

static void release(struct request *req)
{
        if (!req->task_over || !req->mhd_over)
                return;
        list_remove(&req->link);
        list_remove(&req->resume);
        req->server->body_bytes -= req->body_charge;
        buf_deinit(&req->segments.text);
        buf_deinit(&req->arguments);
        buf_deinit(&req->body);
        buf_deinit(&req->headers);
        json_decref(req->json);
        form_free(req->form);
        stream_free(req->stream);
        if (req->response)
                MHD_destroy_response(req->response);
        free(req->early_text);
        free(req->principal);
        free(req->address);
        free(req->target);
        free(req);
}

static void on_finished(struct task *t)
{
        struct request *req = request_of(t);
        if (t->state && req->route->state_free)
                req->route->state_free(t->state);
        free(STEAL(t->state));
        req->task_over = true;
        if (!req->response && !req->stream)
                req->cut = true;
        server_resume(req);
        release(req);
}

/* What failed is told to the log; the client learns only whether it is worth while to come again. */
static void on_fail(struct task *t, int code)
{
        struct request *req = request_of(t);
        static const int passing[] = {-ENOTCONN,   -ETIMEDOUT, -EAGAIN, -ECONNREFUSED,
                                      -ECONNRESET, -EPIPE,     -EBUSY,  -ENOSPC};
        bool passes = false;
        log_error("%s %s: %s: %s", req->method, req->target, t->step_name, error_text(&t->error));
        for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
                passes |= code == passing[i];
        if (passes)
                answer_error(req, 503, "unavailable", "The lab cannot answer at this moment. Please try again.");
        else
                answer_error(req, 500, "internal", "Something went wrong. The log of the allocator says what.");
        task_finish(t);
}

static const struct task_class request_class = {.name = "request", .fail = on_fail, .finished = on_finished};

/* --- its life ----------------------------------------------------------------------------------------------------- */

/* The absolute form of a target (RFC 9112, 3.2.2) means the path behind its host. */
static const char *path_of(const char *target)
{
        const char *after = str_starts(target, "http://")    ? target + 7
                            : str_starts(target, "https://") ? target + 8
                                                             : NULL;
        if (!after)
                return target;
        const char *slash = strpbrk(after, "/?");
        return slash && *slash == '/' ? slash : "/";
}

struct request *request_new(struct connection *connection, struct MHD_Connection *mhd, const char *target)
{
        struct request *req = xcalloc(1, sizeof *req);
        struct http_server *server = connection->listener->server;
        task_init(&req->task, server->loop, &request_class, NULL);
        req->server = server;
        req->connection = connection;
        req->mhd = mhd;
        req->target = xstrdup(path_of(target));
        char *question = strchr(req->target, '?');
        if (question) {
                *question = '\0';
                req->query = question + 1;
        }
        req->task_over = true;
        req->started_ms = server->now_ms;
        req->deadline_ms = req->started_ms + RECEIVE_MS_MAX;
        list_append(&server->active, &req->link);
        return req;
}

static int proceed(struct task *t)
{
        return http_proceed(t);
}

void request_begin(struct request *req)
{
        const struct http_options *options = &req->server->options;
        req->deadline_ms = req->server->now_ms + options->deadline_ms;
        if (req->asset) {
                asset_answer(req);
                return;
        }
        if (!req->route) {
                answer_error(req, req->early_status, req->early_code, req->early_text);
                return;
        }
        body_parse(req);
        if (req->route->state_size)
                req->task.state = xcalloc(1, req->route->state_size);
        req->task_over = false;
        if (options->authorize)
                task_start_named(&req->task, options->authorize, "authorize");
        else
                task_start(&req->task, proceed);
}

int http_proceed(struct task *t)
{
        struct request *req = request_of(t);
        if (req->early_status) {
                answer_error(req, req->early_status, req->early_code, req->early_text);
                task_finish(t);
                return 0;
        }
        t->step_name = req->route->first_name;
        return req->route->first(t);
}

void request_cut(struct request *req)
{
        req->cut = true;
        server_resume(req);
}

void request_expire(struct request *req)
{
        req->deadline_ms = INT64_MAX;
        if (req->phase != PHASE_RUNNING || req->task_over || req->response || req->stream) {
                request_cut(req);
                return;
        }
        log_warning("%s %s: no answer in time, at %s", req->method, req->target, req->task.step_name);
        answer_error(req, 503, "deadline", "The lab did not answer in time. Please try again.");
        task_kill(&req->task);
}

/* By hand: printf() takes as long as all the rest of a small request. */
static void log_access(struct request *req, bool whole)
{
        _cleanup_buf_ struct buf line = BUF_NULL;
        buf_reserve(&line, LOGGED_USUAL);
        buf_adds(&line, address_of(req));
        buf_adds(&line, " \"");
        buf_adds(&line, req->method);
        buf_addc(&line, ' ');
        buf_add(&line, req->target, strnlen(req->target, LOGGED_PATH_MAX));
        buf_adds(&line, "\" ");
        buf_addi(&line, req->status);
        buf_addc(&line, ' ');
        buf_addi(&line, (int64_t)req->bytes);
        buf_addc(&line, ' ');
        buf_addi(&line, req->server->now_ms - req->started_ms);
        buf_adds(&line, whole ? " ms" : " ms cut");
        log_hold(LOG_LEVEL_INFO, buf_str(&line));
}

void request_completed(struct request *req, bool whole)
{
        if (req->server->options.access_log)
                log_access(req, whole);
        hangup_unwatch(req->connection);
        list_remove(&req->resume);
        list_remove(&req->link);
        req->mhd_over = true;
        upgrade_lost(req);
        if (!req->task_over)
                task_kill(&req->task); /* releases it */
        else
                release(req);
}

/* --- what a handler asks ------------------------------------------------------------------------------------------ */

const struct http_route *request_route(struct task *t)
{
        return request_of(t)->route;
}

const char *request_method(struct task *t)
{
        return request_of(t)->method;
}

const char *request_path(struct task *t)
{
        return request_of(t)->target;
}

const char *request_argument(struct task *t, const char *name)
{
        struct request *req = request_of(t);
        return router_argument(&req->server->router, req->route, &req->segments, name);
}

const char *request_query(struct task *t, const char *name)
{
        const struct buf *pairs = &request_of(t)->arguments;
        for (size_t at = 0; at < pairs->len;) {
                const char *key = pairs->data + at, *value = key + strlen(key) + 1;
                if (str_eq(key, name))
                        return value;
                at = (size_t)(value - pairs->data) + strlen(value) + 1;
        }
        return NULL;
}

const char *request_header(struct task *t, const char *name)
{
        return MHD_lookup_connection_value(request_of(t)->mhd, MHD_HEADER_KIND, name);
}

const char *request_cookie(struct task *t, const char *name)
{
        return MHD_lookup_connection_value(request_of(t)->mhd, MHD_COOKIE_KIND, name);
}

enum http_listener_kind request_listener(struct task *t)
{
        return request_of(t)->connection->listener->kind;
}

uid_t request_peer_uid(struct task *t)
{
        return request_of(t)->connection->uid;
}

bool request_wants_json(struct task *t)
{
        struct request *req = request_of(t);
        const char *accept = request_header(t, "Accept");
        unsigned json = accept_weight(accept, "application/json");
        unsigned html = MAX(accept_weight(accept, "text/html"), accept_weight(accept, "application/xhtml+xml"));
        if (json || html)
                return json >= html;
        enum http_default otherwise = req->route ? req->route->answer
                                                 : router_default(&req->server->router, &req->segments);
        return otherwise == HTTP_DEFAULT_JSON;
}

bool request_wants_events(struct task *t)
{
        return accept_weight(request_header(t, "Accept"), "text/event-stream") > 0;
}

static void wipe_json(json_t *object)
{
        const char *key;
        json_t *value;
        json_object_foreach (object, key, value) {
                char *text = (char *)json_string_value(value);
                if (text)
                        explicit_bzero(text, json_string_length(value));
        }
        json_decref(object);
}

void request_forget(struct task *t)
{
        struct request *req = request_of(t);
        form_wipe(req->form);
        req->form = form_free(req->form);
        wipe_json(STEAL(req->json));
}

json_t *request_json(struct task *t)
{
        return request_of(t)->json;
}

const char *request_field(struct task *t, const char *name)
{
        struct request *req = request_of(t);
        if (req->form)
                return form_get(req->form, name);
        const json_t *member = json_object_get(req->json, name);
        const char *text = json_string_value(member);
        return text && strlen(text) == json_string_length(member) ? text : NULL;
}

void request_no_deadline(struct task *t)
{
        struct request *req = request_of(t);
        req->no_deadline = true;
        req->deadline_ms = INT64_MAX;
}

void request_set_principal(struct task *t, void *principal)
{
        struct request *req = request_of(t);
        if (req->principal != principal)
                free(req->principal);
        req->principal = principal;
}

void *request_principal(struct task *t)
{
        return request_of(t)->principal;
}

const char *request_address(struct task *t)
{
        return address_of(request_of(t));
}

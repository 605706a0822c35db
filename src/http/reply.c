/*
 * The one reply. An answer is made here and left in the request; connection.c hands it to libmicrohttpd. What every
 * answer says about itself, so that a page can run nothing that we did not serve, is one table.
 */
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/text.h"
#include "http/internal.h"

#define RETRY_AFTER_S "5"

/* A header that the handler gave wins over its row. */
static const struct {
        const char *name, *value;
} standing[] = {
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
         "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
};

const char *answer_header(const struct request *req, const char *name)
{
        for (size_t at = 0; at < req->headers.len;) {
                const char *key = req->headers.data + at, *value = key + strlen(key) + 1;
                if (strcasecmp(key, name) == 0)
                        return value;
                at = (size_t)(value - req->headers.data) + strlen(value) + 1;
        }
        return NULL;
}

void reply_header(struct task *t, const char *name, const char *value)
{
        struct buf *headers = &request_of(t)->headers;
        if (strpbrk(name, "\r\n:") || strpbrk(value, "\r\n")) {
                log_warning("header %s was left out: its value holds a line break", name);
                return;
        }
        buf_add(headers, name, strlen(name) + 1);
        buf_add(headers, value, strlen(value) + 1);
}

void answer_headers(struct request *req, struct MHD_Response *response, const char *content_type)
{
        for (size_t at = 0; at < req->headers.len;) {
                const char *name = req->headers.data + at, *value = name + strlen(name) + 1;
                MHD_add_response_header(response, name, value);
                at = (size_t)(value - req->headers.data) + strlen(value) + 1;
        }
        for (size_t i = 0; i < ARRAY_SIZE(standing); i++)
                if (!answer_header(req, standing[i].name))
                        MHD_add_response_header(response, standing[i].name, standing[i].value);
        if (content_type)
                MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
        if (req->closing || req->server->draining)
                MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

void answer_ready(struct request *req, struct MHD_Response *response, unsigned status)
{
        req->response = response;
        req->status = status;
        server_resume(req);
}

void answer_body(struct request *req, unsigned status, const char *content_type, struct buf *body)
{
        size_t len = body->len;
        char *data = buf_steal(body);
        if (req->stream) {
                stream_finish(req, data, len);
                free(data);
                return;
        }
        struct MHD_Response *response = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
        if (!response)
                abort();
        answer_headers(req, response, content_type);
        req->bytes = len;
        answer_ready(req, response, status);
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

bool page_render(struct request *req, const char *template_name, json_t *model, struct buf *out)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        const struct http_options *options = &req->server->options;
        json_t *copy = model ? json_copy(model) : json_object();
        if (options->page_globals)
                options->page_globals(&req->task, copy);
        int r = template_render(options->templates, template_name, copy, out, &error);
        if (r < 0)
                log_error("%s %s: %s", req->method, req->target, error_text(&error));
        json_decref(copy);
        json_decref(model);
        return r == 0;
}

static void error_page(struct request *req, unsigned status, const char *code, const char *sentence)
{
        struct buf out = BUF_NULL;
        json_t *model = json_pack("{s:i, s:s, s:s}", "status", (int)status, "error", sentence, "code", code);
        if (req->server->options.templates && page_render(req, "error", model, &out)) {
                answer_body(req, status, "text/html; charset=utf-8", &out);
                return;
        }
        if (!req->server->options.templates)
                json_decref(model);
        buf_truncate(&out, 0);
        buf_addf(&out, "%s\n", sentence);
        answer_body(req, status, "text/plain; charset=utf-8", &out);
}

static void error_json(struct request *req, unsigned status, const char *code, const char *sentence)
{
        struct buf out = BUF_NULL;
        _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "error", sentence, "code", code);
        json_write(body, &out);
        answer_body(req, status, "application/json", &out);
}

/* In a stream of events an error is an event; elsewhere it is the body. */
static void error_event(struct request *req, const char *code, const char *sentence)
{
        _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "error", sentence, "code", code);
        _cleanup_free_ char *text = json_text(body);
        stream_event(&req->task, "error", NULL, text);
        stream_finish(req, "", 0);
}

void answer_error(struct request *req, unsigned status, const char *code, const char *sentence)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(sentence, strlen(sentence), &clean);
        if (req->stream && req->stream->events) {
                error_event(req, code, buf_str(&clean));
                return;
        }
        if ((status == 429 || status == 503) && !answer_header(req, "Retry-After"))
                reply_header(&req->task, "Retry-After", RETRY_AFTER_S);
        if (!answer_header(req, "Vary"))
                reply_header(&req->task, "Vary", "Accept");
        if (request_wants_json(&req->task))
                error_json(req, status, code, buf_str(&clean));
        else
                error_page(req, status, code, buf_str(&clean));
}

/* --- what a handler says ------------------------------------------------------------------------------------------ */

static bool is_answered(struct task *t)
{
        if (!t->finished)
                return false;
        log_error("%s answered twice", t->step_name);
        return true;
}

static int finish(struct task *t)
{
        task_finish(t);
        return 0;
}

int reply_json(struct task *t, unsigned status, json_t *body)
{
        struct buf out = BUF_NULL;
        if (!is_answered(t)) {
                json_write(body, &out);
                answer_body(request_of(t), status, "application/json", &out);
        }
        json_decref(body);
        return finish(t);
}

int reply_page(struct task *t, unsigned status, const char *template_name, json_t *model)
{
        struct request *req = request_of(t);
        struct buf out = BUF_NULL;
        if (is_answered(t)) {
                json_decref(model);
        } else if (page_render(req, template_name, model, &out)) {
                answer_body(req, status, "text/html; charset=utf-8", &out);
        } else {
                buf_deinit(&out);
                answer_error(req, 500, "internal", "This page could not be made. The log of the allocator says why.");
        }
        return finish(t);
}

int reply_view(struct task *t, unsigned status, const char *template_name, json_t *model)
{
        if (!answer_header(request_of(t), "Vary"))
                reply_header(t, "Vary", "Accept");
        return request_wants_json(t) ? reply_json(t, status, model) : reply_page(t, status, template_name, model);
}

int reply_error(struct task *t, unsigned status, const char *code, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sentence = xvasprintf(format, args);
        va_end(args);
        if (!is_answered(t))
                answer_error(request_of(t), status, code, sentence);
        return finish(t);
}

int reply_redirect(struct task *t, const char *location)
{
        struct buf none = BUF_NULL;
        if (!is_answered(t)) {
                reply_header(t, "Location", location);
                answer_body(request_of(t), 303, NULL, &none);
        }
        return finish(t);
}

int reply_text(struct task *t, unsigned status, const char *content_type, const char *text, size_t len)
{
        struct buf out = BUF_NULL;
        if (!is_answered(t)) {
                buf_add(&out, text, len);
                answer_body(request_of(t), status, content_type, &out);
        }
        return finish(t);
}

int reply_close(struct task *t)
{
        request_cut(request_of(t));
        return finish(t);
}

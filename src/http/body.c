/*
 * Bodies. What is too much is read and thrown away for a while, because an answer in the middle of an upload would be
 * lost; then the connection is closed. What is wrong with a body is told only after the rights were checked.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/internal.h"

#define FORM_USUAL 12288 /* bytes of a form with AWS credentials, at most */

static void drop_body(struct request *req)
{
        req->server->body_bytes -= req->body_charge;
        req->body_charge = 0;
        buf_deinit(&req->body);
}

static void keep(struct request *req, const char *data, size_t len)
{
        struct http_server *server = req->server;
        if (req->early_status)
                return;
        if (server->body_bytes + len > BODIES_MAX && req->body.len + len > BODY_SMALL) {
                request_refuse(req, 503, "busy", "Too much is being sent at this moment. Please try again.");
                drop_body(req);
                return;
        }
        if (!req->body.cap && req->route->body == HTTP_BODY_ANY)
                buf_reserve(&req->body, FORM_USUAL); /* at once: growing would leave copies behind */
        buf_add(&req->body, data, len);
        server->body_bytes += req->body.cap - req->body_charge;
        req->body_charge = req->body.cap;
}

bool request_body(struct request *req, const char *data, size_t len)
{
        req->body_seen += len;
        if (req->body_seen > req->body_max + BODY_DRAIN_MAX)
                return false;
        if (req->body_seen > req->body_max && req->route) {
                request_refuse(req, 413, "too-large", "The body is larger than %zu bytes.", req->body_max);
                drop_body(req);
        }
        if (req->route && req->route->body != HTTP_BODY_NONE)
                keep(req, data, len);
        return true;
}

static bool is_type(const char *content_type, const char *wanted)
{
        size_t len = strcspn(content_type, "; \t");
        return len == strlen(wanted) && strncasecmp(content_type, wanted, len) == 0;
}

static json_t *read_mended(struct request *req, struct error *error)
{
        _cleanup_buf_ struct buf mended = BUF_NULL;
        if (json_mend(buf_str(&req->body), req->body.len, req->body_max, &mended) < 0)
                return NULL;
        error_clear(error);
        return json_read_max(buf_str(&mended), mended.len, JSON_VALUES_MAX, error);
}

static void parse_json(struct request *req)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        json_t *value = json_read_max(buf_str(&req->body), req->body.len, JSON_VALUES_MAX, &error);
        if (!value && (req->route->body & HTTP_BODY_MENDED))
                value = read_mended(req, &error);
        if (value && json_is_object(value)) {
                req->json = value;
                return;
        }
        if (value)
                request_refuse(req, 400, "bad-json", "The body must be a JSON object.");
        else
                request_refuse(req, 400, "bad-json", "The body is %s.", error_text(&error));
        json_decref(value);
}

static void parse_form(struct request *req, const char *content_type)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = form_parse(content_type, buf_str(&req->body), req->body.len, &req->form, &error);
        if (r == -ENOTSUP)
                request_refuse(req, 415, "content-type", "This address does not take a body of this content type.");
        else if (r < 0)
                request_refuse(req, 400, "bad-form", "%s", error_text(&error));
}

/* A body without a content type is taken for JSON where JSON is taken: scripts forget the header. */
void body_parse(struct request *req)
{
        unsigned taken = req->route->body;
        const char *type = request_header(&req->task, "Content-Type");
        if (req->early_status || taken == HTTP_BODY_NONE || (req->body_seen == 0 && !type))
                return;
        if (!type || !*type)
                type = "application/json";
        bool json = is_type(type, "application/json");
        if (json && (taken & HTTP_BODY_JSON) && req->body.len == 0 && (taken & HTTP_BODY_FORM))
                return;
        if (json && (taken & HTTP_BODY_JSON))
                parse_json(req);
        else if (!json && (taken & HTTP_BODY_FORM))
                parse_form(req, type);
        else
                request_refuse(req, 415, "content-type", "This address takes %s, not %.100s.",
                               taken == HTTP_BODY_FORM ? "a form" : "JSON", type);
        if (req->route->body == HTTP_BODY_ANY && req->body.len)
                explicit_bzero(req->body.data, req->body.len); /* a form may hold a password or a key */
        buf_deinit(&req->body); /* what was made of it is charged until the request ends */
}

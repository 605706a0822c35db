/*
 * The head of a request: is it framed so that nobody can disagree about where it ends, and whom is it for. A request
 * that two programs could cut differently is answered with 400 and its connection closed (RFC 9112, 6.1 and 11.2).
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/internal.h"

struct framing {
        unsigned lengths, encodings, hosts;
        uint64_t length;
        bool bad;
};

static bool is_token(const char *text)
{
        if (!*text)
                return false;
        for (; *text; text++)
                if (!((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z') && !(*text >= '0' && *text <= '9') &&
                    !strchr("!#$%&'*+-.^_`|~", *text))
                        return false;
        return true;
}

static bool has_controls(const char *text)
{
        for (; *text; text++)
                if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
                        return true;
        return false;
}

static enum MHD_Result look_at_header(void *cls, enum MHD_ValueKind kind _unused_, const char *name, const char *value)
{
        struct framing *framing = cls;
        value = str_or(value, "");
        framing->bad |= !is_token(name) || has_controls(value);
        if (strcasecmp(name, "Content-Length") == 0) {
                int64_t length = 0;
                framing->lengths++;
                framing->bad |= value[0] == '+' || parse_int(value, 0, INT64_MAX, &length) < 0;
                framing->length = (uint64_t)length;
        } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
                framing->encodings++;
                framing->bad |= strcasecmp(value, "chunked") != 0;
        } else if (strcasecmp(name, "Host") == 0) {
                framing->hosts++;
        }
        return MHD_YES;
}

static bool is_well_framed(struct request *req, const char *version, uint64_t *ret_length)
{
        struct framing framing = {0};
        MHD_get_connection_values(req->mhd, MHD_HEADER_KIND, look_at_header, &framing);
        *ret_length = framing.length;
        if (framing.bad || framing.lengths > 1 || framing.encodings > 1 || framing.hosts > 1)
                return false;
        if (framing.encodings > 0 && (framing.lengths > 0 || str_eq(version, "HTTP/1.0")))
                return false;
        return true;
}

void request_refuse(struct request *req, unsigned status, const char *code, const char *format, ...)
{
        if (req->early_status)
                return;
        va_list args;
        va_start(args, format);
        req->early_text = xvasprintf(format, args);
        va_end(args);
        req->early_status = status;
        req->early_code = code;
}

static void refuse_and_close(struct request *req, unsigned status, const char *code, const char *sentence)
{
        req->closing = true;
        req->route = NULL;
        answer_error(req, status, code, sentence);
}

static void no_route(struct request *req, struct buf *allow)
{
        if (allow->len == 0) {
                request_refuse(req, 404, "not-found", "Nothing is found at this address.");
                return;
        }
        reply_header(&req->task, "Allow", buf_str(allow));
        request_refuse(req, 405, "method-not-allowed", "This address takes %s only.", buf_str(allow));
}

static void find_asset(struct request *req, const struct http_asset *asset)
{
        _cleanup_buf_ struct buf allow = BUF_NULL;
        if (str_eq(req->method, "GET") || str_eq(req->method, "HEAD")) {
                req->asset = asset;
                return;
        }
        buf_adds(&allow, "GET, HEAD");
        no_route(req, &allow);
}

static void find_route(struct request *req)
{
        _cleanup_buf_ struct buf allow = BUF_NULL;
        if (segments_split(req->target, &req->segments) < 0) {
                req->segments.n = 0;
                request_refuse(req, 400, "bad-path", "The address is not well formed.");
                return;
        }
        const struct http_asset *asset = asset_find(req->server, req->target);
        if (asset) {
                find_asset(req, asset);
                return;
        }
        const struct http_route *route = router_find(&req->server->router, req->method, &req->segments, &allow);
        if (!route) {
                no_route(req, &allow);
                return;
        }
        if (req->query && query_parse(req->query, &req->arguments) < 0) {
                request_refuse(req, 400, "bad-query",
                               "The part of the address behind its question mark is not well formed.");
                return;
        }
        req->route = route;
        req->body_max = route->body_max ? route->body_max : BODY_MAX_DEFAULT;
}

void request_head(struct request *req, const char *method, const char *version)
{
        uint64_t length = 0;
        strncpy(req->method, method, sizeof req->method - 1);
        if (req->bad_target || !is_well_framed(req, version, &length)) {
                refuse_and_close(req, 400, "bad-framing", "The request is not framed well.");
                return;
        }
        find_route(req);
        if (length > req->body_max + BODY_DRAIN_MAX)
                refuse_and_close(req, 413, "too-large", "The body is too large.");
}

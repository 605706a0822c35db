/*
 * Static files, embedded compressed. They are answered without a task; a browser asks again with the entity tag each
 * time, so that a new version of the program never meets an old script. A client that does not take gzip gets the file
 * inflated once and kept.
 */
#include <string.h>
#include <zlib.h>

#include "base/log.h"
#include "base/text.h"
#include "http/internal.h"

const struct http_asset *asset_find(const struct http_server *server, const char *path)
{
        for (const struct http_asset *asset = server->options.assets; asset && asset->path; asset++)
                if (str_eq(asset->path, path))
                        return asset;
        return NULL;
}

static void inflate_into(const struct http_asset *asset, struct buf *out)
{
        z_stream stream = {.next_in = (z_const Bytef *)asset->data, .avail_in = (uInt)asset->len};
        int r = inflateInit2(&stream, 16 + MAX_WBITS);
        while (r == Z_OK) {
                buf_reserve(out, asset->len + 4096);
                stream.next_out = (Bytef *)out->data + out->len;
                stream.avail_out = (uInt)(out->cap - out->len - 1);
                r = inflate(&stream, Z_NO_FLUSH);
                out->len = (size_t)((char *)stream.next_out - out->data);
                out->data[out->len] = '\0';
        }
        inflateEnd(&stream);
        if (r != Z_STREAM_END)
                log_error("asset %s is not well compressed", asset->path);
}

static const struct buf *inflated(struct http_server *server, const struct http_asset *asset)
{
        size_t n = 0;
        while (server->options.assets[n].path)
                n++;
        if (!server->inflated)
                server->inflated = xcalloc(n, sizeof *server->inflated);
        struct buf *out = &server->inflated[asset - server->options.assets];
        if (out->len == 0)
                inflate_into(asset, out);
        return out;
}

/* RFC 9110, 13.1.2: compared weakly, so the tag fits both forms of the file. */
static bool is_known(const char *if_none_match, const char *etag)
{
        return if_none_match && (strstr(if_none_match, etag) || str_eq(if_none_match, "*"));
}

void asset_answer(struct request *req)
{
        const struct http_asset *asset = req->asset;
        struct task *t = &req->task;
        const char *encodings = request_header(t, "Accept-Encoding");
        bool as_stored = !asset->gzip || accept_weight(encodings, "gzip") > 0;
        const void *data = asset->data;
        size_t len = asset->len;
        if (!as_stored) {
                const struct buf *plain = inflated(req->server, asset);
                data = buf_str(plain);
                len = plain->len;
        }
        _cleanup_free_ char *etag = xasprintf("%s%s", as_stored ? "" : "W/", asset->etag);
        reply_header(t, "ETag", etag);
        /* Asked for by the tag of its contents it never changes: kept without asking again. */
        const char *tag = request_query(t, "v");
        bool by_tag = tag && strlen(tag) == strlen(asset->etag) - 2 && strncmp(asset->etag + 1, tag, strlen(tag)) == 0;
        reply_header(t, "Cache-Control", by_tag ? "public, max-age=31536000, immutable" : "no-cache");
        if (asset->gzip)
                reply_header(t, "Vary", "Accept-Encoding");
        bool known = is_known(request_header(t, "If-None-Match"), asset->etag);
        if (asset->gzip && as_stored && !known)
                reply_header(t, "Content-Encoding", "gzip");
        struct MHD_Response *response = MHD_create_response_from_buffer(
                known ? 0 : len, known ? (void *)"" : (void *)data, MHD_RESPMEM_PERSISTENT);
        if (!response)
                abort();
        answer_headers(req, response, known ? NULL : asset->content_type);
        req->bytes = known ? 0 : len;
        answer_ready(req, response, known ? 304 : 200);
}

/*
 * Talking to the allocator: over the unix socket in its state directory, which it trusts by our user id, or with --url
 * and the administrator's password from elsewhere. Every failure has a sentence, and cli->hint what to do about it.
 */
#pragma once

#include "cli/cli.h"

/* Calls and returns the answer's JSON, owned by the caller (NULL when `ret` is). `body` NULL: none. A call that changes
 * something carries a key of its own, so it is sent again when the connection broke before the answer came.
 * -ENOTCONN: no allocator; -EPROTO: what answers is none; otherwise the allocator's own refusal: -ENOENT (404),
 * -EACCES (401, 403), -EAGAIN (503, 429), -EIO. */
int api_get(struct cli *cli, const char *path, json_t **ret, struct error *error);
int api_get_any(struct cli *cli, const char *path, json_t **ret, struct error *error); /* also a refusal's JSON */
int api_post(struct cli *cli, const char *path, const json_t *body, json_t **ret, struct error *error);

struct api_stream {
        void (*event)(void *userdata, const char *event, const char *id, const char *data);
        bool (*tick)(void *userdata); /* about once a second and between events; false ends the stream */
        void *userdata;
};

/* Follows a stream of events to its end. 0 when it ended or `tick` ended it. */
int api_follow(struct cli *cli, const char *path, const struct api_stream *stream, struct error *error);

struct api_download {
        int fd;           /* gets the bytes, from `from` on or from its beginning */
        int64_t from;     /* so many are there already ... */
        const char *etag; /* ... of what was called so; NULL: unknown */
        bool (*tick)(void *userdata, int64_t done, int64_t total); /* total 0: not told; false ends it */
        void *userdata;
        char *ret_etag, *ret_name; /* as told, or NULL; owned by the caller */
        int64_t ret_done, ret_total;
        bool ret_ended; /* by tick */
};

/* Downloads a file. What is there is kept when the answer goes on with it, else written anew. */
int api_download(struct cli *cli, const char *path, struct api_download *download, struct error *error);

/* The socket's path or the URL, for sentences. NULL and an error when there is none to tell. Borrowed. */
const char *api_where(struct cli *cli, struct error *error);
bool api_is_local(const struct cli *cli); /* by the unix socket */
struct api *api_free(struct api *api);

/* A name that is safe to be a path segment: as hostnames are. -EINVAL with a sentence otherwise. */
int api_check_name(const char *name, struct error *error);
/* The number of an operation. */
int api_check_id(const char *text, int64_t *ret, struct error *error);

/*
 * One curl handle a command. A unix socket is spoken to without any proxy; a URL with TLS verified, without redirects,
 * and with the password only in a header. Waiting is bounded: 60 s for an answer, 60 s of silence in a stream (the
 * allocator speaks each 20 s).
 */
#include "cli/api.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/token.h"
#include "cli/hints.h"
#include "cli/sse.h"
#include "cli/term.h"

#define ANSWER_MAX ((size_t)64 << 20)
#define ANSWER_SECONDS 60L
#define SILENCE_SECONDS 60L
#define ATTEMPTS 3

struct api {
        CURL *curl;
        char *base;   /* "http://localhost" or the URL without a slash at its end */
        char *socket; /* NULL: by URL */
        char *user, *password;
        struct progress waiting;
};

/* One request on its way. */
struct exchange {
        struct cli *cli;
        struct buf body;                 /* of an answer, or of a stream that was refused */
        const struct api_stream *stream; /* NULL: a plain call */
        struct api_download *download;   /* NULL: none */
        bool begun;                      /* its first byte has come */
        bool any;                        /* a refusal in JSON is an answer too */
        struct sse sse;
        struct error broken; /* why a callback ended it */
        bool ended;          /* by tick */
        char why[CURL_ERROR_SIZE];
};

/* --- who is spoken to -------------------------------------------------------------------------------------------- */

static int read_password(struct cli *cli, struct api *api, struct error *error)
{
        const char *path = cli->opt.password_file;
        api->user = xstrdup(str_or(cli->opt.user, "admin"));
        if (!path) {
                _cleanup_free_ char *question = xasprintf("password of %s at %s: ", api->user, api->base);
                api->password = term_ask_secret(question);
                return api->password ? 0
                                     : error_set(error, -EINVAL,
                                                 "--url needs --password-file FILE with the password of "
                                                 "the administrator (- reads it from standard input)");
        }
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        int r = str_eq(path, "-") ? fd_read_all(STDIN_FILENO, 4096, &text) : file_read(path, 4096, &text, error);
        if (r < 0)
                return str_eq(path, "-") ? error_errno(error, -r, "cannot read the password") : r;
        api->password = xstrndup(buf_str(&text), strcspn(buf_str(&text), "\r\n"));
        return *api->password ? 0 : error_set(error, -EIO, "%s holds no password in its first line", path);
}

static int check_url(const char *url, struct error *error)
{
        CURLU *parsed = curl_url();
        char *part = NULL;
        bool good = curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                    curl_url_get(parsed, CURLUPART_SCHEME, &part, 0) == CURLUE_OK &&
                    (str_eq(part, "http") || str_eq(part, "https"));
        curl_free(part);
        part = NULL;
        bool has_user = curl_url_get(parsed, CURLUPART_USER, &part, 0) == CURLUE_OK;
        curl_free(part);
        part = NULL;
        bool has_query = curl_url_get(parsed, CURLUPART_QUERY, &part, 0) == CURLUE_OK;
        curl_free(part);
        curl_url_cleanup(parsed);
        if (has_user)
                return error_set(error, -EINVAL, "--url holds a user or password: use --user and --password-file");
        if (!good || has_query)
                return error_set(error, -EINVAL, "--url takes http://HOST[:PORT] or https://HOST[:PORT], not %s", url);
        return 0;
}

static int open_url(struct cli *cli, struct api *api, struct error *error)
{
        int r = check_url(cli->opt.url, error);
        if (r < 0)
                return r;
        size_t n = strlen(cli->opt.url);
        while (n && cli->opt.url[n - 1] == '/')
                n--;
        api->base = xstrndup(cli->opt.url, n);
        return read_password(cli, api, error);
}

static int open_socket(struct cli *cli, struct api *api, struct error *error)
{
        _cleanup_free_ char *state = NULL;
        int r = cli_state_dir(cli, &state, error);
        if (r < 0)
                return r;
        api->socket = path_join(state, "run/admin.sock");
        api->base = xstrdup("http://localhost");
        return 0;
}

static int api_open(struct cli *cli, struct error *error)
{
        if (cli->api)
                return 0;
        struct api *api = xcalloc(1, sizeof(*api));
        int r = cli->opt.url ? open_url(cli, api, error) : open_socket(cli, api, error);
        if (r < 0) {
                api_free(api);
                return r;
        }
        token_init();
        curl_global_init(CURL_GLOBAL_DEFAULT);
        api->curl = curl_easy_init();
        cli->api = api;
        return 0;
}

struct api *api_free(struct api *api)
{
        if (!api)
                return NULL;
        if (api->curl)
                curl_easy_cleanup(api->curl);
        if (api->password)
                explicit_bzero(api->password, strlen(api->password));
        progress_deinit(&api->waiting);
        free(api->password);
        free(api->user);
        free(api->base);
        free(api->socket);
        free(api);
        return NULL;
}

const char *api_where(struct cli *cli, struct error *error)
{
        if (api_open(cli, error) < 0)
                return NULL;
        return cli->api->socket ? cli->api->socket : cli->api->base;
}

bool api_is_local(const struct cli *cli)
{
        return !cli->opt.url;
}

/* --- one exchange ------------------------------------------------------------------------------------------------ */

/* A download that the allocator does not go on with begins anew. */
static size_t take_download(struct exchange *x, long status, const char *bytes, size_t len)
{
        struct api_download *d = x->download;
        if (!x->begun && status == 200) {
                d->from = 0;
                if (ftruncate(d->fd, 0) < 0) {
                        error_errno(&x->broken, errno, "cannot write the download");
                        return 0;
                }
        }
        if (!x->begun)
                d->ret_done = d->from;
        if (!x->begun && lseek(d->fd, d->from, SEEK_SET) < 0) {
                error_errno(&x->broken, errno, "cannot write the download");
                return 0;
        }
        x->begun = true;
        int r = fd_write_all(d->fd, bytes, len);
        if (r < 0) {
                error_errno(&x->broken, -r, "cannot write the download");
                return 0;
        }
        d->ret_done += (int64_t)len;
        return len;
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *userdata)
{
        struct exchange *x = userdata;
        long status = 0;
        curl_easy_getinfo(x->cli->api->curl, CURLINFO_RESPONSE_CODE, &status);
        if (x->stream && status == 200)
                return sse_feed(&x->sse, bytes, size * n, &x->broken) < 0 ? 0 : size * n;
        if (x->download && (status == 200 || status == 206))
                return take_download(x, status, bytes, size * n);
        if (x->body.len + size * n > ANSWER_MAX) {
                error_set(&x->broken, -EFBIG, "the answer is larger than %zu bytes", ANSWER_MAX);
                return 0;
        }
        buf_add(&x->body, bytes, size * n);
        return size * n;
}

static int on_progress(void *userdata, curl_off_t dltotal, _unused_ curl_off_t dlnow, _unused_ curl_off_t ultotal,
                       _unused_ curl_off_t ulnow)
{
        struct exchange *x = userdata;
        struct api_download *d = x->download;
        if (d)
                x->ended |= !d->tick(d->userdata, d->ret_done, dltotal > 0 ? d->from + dltotal : 0);
        else if (!x->stream)
                progress_tick(&x->cli->api->waiting);
        else if (x->stream->tick && !x->stream->tick(x->stream->userdata))
                x->ended = true;
        return x->ended;
}

static void set_common(struct exchange *x, const char *url)
{
        struct api *api = x->cli->api;
        curl_easy_reset(api->curl);
        curl_easy_setopt(api->curl, CURLOPT_URL, url);
        curl_easy_setopt(api->curl, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(api->curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(api->curl, CURLOPT_PATH_AS_IS, 1L);
        curl_easy_setopt(api->curl, CURLOPT_USERAGENT, "lablink/" LABLINK_VERSION);
        curl_easy_setopt(api->curl, CURLOPT_CONNECTTIMEOUT, 10L);
        curl_easy_setopt(api->curl, CURLOPT_ERRORBUFFER, x->why);
        curl_easy_setopt(api->curl, CURLOPT_WRITEFUNCTION, on_bytes);
        curl_easy_setopt(api->curl, CURLOPT_WRITEDATA, x);
        curl_easy_setopt(api->curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(api->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(api->curl, CURLOPT_XFERINFODATA, x);
        if (api->socket) {
                curl_easy_setopt(api->curl, CURLOPT_UNIX_SOCKET_PATH, api->socket);
                curl_easy_setopt(api->curl, CURLOPT_PROXY, "");
        } else {
                curl_easy_setopt(api->curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
                curl_easy_setopt(api->curl, CURLOPT_USERNAME, api->user);
                curl_easy_setopt(api->curl, CURLOPT_PASSWORD, api->password);
        }
        if (x->stream || x->download) {
                curl_easy_setopt(api->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
                curl_easy_setopt(api->curl, CURLOPT_LOW_SPEED_TIME, SILENCE_SECONDS);
        } else {
                curl_easy_setopt(api->curl, CURLOPT_TIMEOUT, ANSWER_SECONDS);
        }
}

static bool cannot_reach(CURLcode code)
{
        static const CURLcode codes[] = {
                CURLE_COULDNT_CONNECT,
                CURLE_COULDNT_RESOLVE_HOST,
                CURLE_COULDNT_RESOLVE_PROXY,
                CURLE_OPERATION_TIMEDOUT,
                CURLE_GOT_NOTHING,
                CURLE_SEND_ERROR,
                CURLE_RECV_ERROR,
                CURLE_PARTIAL_FILE,
                CURLE_SSL_CONNECT_ERROR,
                CURLE_PROXY,
                CURLE_PEER_FAILED_VERIFICATION,
        };
        for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
                if (codes[i] == code)
                        return true;
        return false;
}

static int no_answer(struct exchange *x, CURLcode code, struct error *error)
{
        struct api *api = x->cli->api;
        long number = 0;
        curl_easy_getinfo(api->curl, CURLINFO_OS_ERRNO, &number);
        const char *where = api->socket ? api->socket : api->base;
        if (x->broken.code)
                return error_move(error, &x->broken);
        if (!cannot_reach(code))
                return error_set(error, -EPROTO, "%s: %s", where, *x->why ? x->why : curl_easy_strerror(code));
        if (api->socket && code == CURLE_COULDNT_CONNECT)
                return hint_no_socket(x->cli, api->socket, (int)number, error);
        hint_no_url(x->cli, code == CURLE_PEER_FAILED_VERIFICATION);
        return error_set(error, -ENOTCONN, "no allocator answers at %s: %s", where,
                         *x->why ? x->why : curl_easy_strerror(code));
}

static int refused(struct exchange *x, long status, struct error *error)
{
        struct api *api = x->cli->api;
        const char *where = api->socket ? api->socket : api->base;
        const char *elsewhere = NULL;
        curl_easy_getinfo(api->curl, CURLINFO_REDIRECT_URL, &elsewhere);
        if (elsewhere)
                return error_set(error, -EPROTO, "%s sends to %s: give that URL", where, elsewhere);
        _cleanup_json_ json_t *json = json_read(buf_str(&x->body), x->body.len, NULL);
        hint_refused(x->cli, status, json);
        const char *sentence = json_get_string(json, "error");
        int code = status == 404                    ? -ENOENT
                   : status == 401 || status == 403 ? -EACCES
                   : status == 429 || status == 503 ? -EAGAIN
                                                    : -EIO;
        if (sentence)
                return error_set(error, code, "%s", sentence);
        return error_set(error, json ? code : -EPROTO, "%s answers with HTTP %ld", where, status);
}

/* Sends once. *again: the connection broke in a way that may be tried once more. */
static int perform(struct exchange *x, struct curl_slist *headers, const char *body, bool *again, struct error *error)
{
        CURL *curl = x->cli->api->curl;
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        if (body)
                curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        CURLcode code = curl_easy_perform(curl);
        *again = code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR;
        if (x->ended)
                return 0;
        if (code != CURLE_OK)
                return no_answer(x, code, error);
        long status = 0;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        _cleanup_json_ json_t *json = x->any ? json_read(buf_str(&x->body), x->body.len, NULL) : NULL;
        return json || (status >= 200 && status < 300) ? 0 : refused(x, status, error);
}

static struct curl_slist *headers_for(const struct exchange *x, bool posting)
{
        struct curl_slist *list = curl_slist_append(NULL, "Expect:");
        list = curl_slist_append(list, x->stream ? "Accept: text/event-stream" : "Accept: application/json");
        if (posting) {
                char key[TOKEN_LENGTH + 1];
                token_random(key);
                _cleanup_free_ char *line = xasprintf("Idempotency-Key: %s", key);
                list = curl_slist_append(list, line);
                list = curl_slist_append(list, "Content-Type: application/json");
        }
        return list;
}

static void exchange_deinit(struct exchange *x)
{
        buf_deinit(&x->body);
        sse_deinit(&x->sse);
        error_clear(&x->broken);
}

static int call(struct cli *cli, const char *path, const json_t *body, bool any, json_t **ret, struct error *error)
{
        int r = api_open(cli, error);
        if (r < 0)
                return r;
        _cleanup_(exchange_deinit) struct exchange x = {.cli = cli, .any = any};
        _cleanup_free_ char *url = xasprintf("%s%s", cli->api->base, path);
        _cleanup_free_ char *text = body ? json_text(body) : NULL;
        struct curl_slist *headers = headers_for(&x, body != NULL);
        bool again = true;
        progress_init(&cli->api->waiting, cli->opt.quiet);
        progress_set(&cli->api->waiting, "waiting for the allocator");
        for (int attempt = 0; again && attempt < ATTEMPTS; attempt++) {
                if (attempt)
                        clock_sleep_ms(500);
                buf_truncate(&x.body, 0);
                set_common(&x, url);
                r = perform(&x, headers, text, &again, error);
        }
        progress_deinit(&cli->api->waiting);
        curl_slist_free_all(headers);
        if (r < 0)
                return r;
        error_clear(error); /* of attempts that were repeated */
        if (!ret)
                return 0;
        _cleanup_error_ struct error why = ERROR_NULL;
        *ret = json_read(buf_str(&x.body), x.body.len, &why);
        if (!*ret)
                return error_set(error, -EPROTO, "%s gave no JSON (%s): is it an allocator?", api_where(cli, NULL),
                                 error_text(&why));
        return 0;
}

int api_get(struct cli *cli, const char *path, json_t **ret, struct error *error)
{
        return call(cli, path, NULL, false, ret, error);
}

int api_get_any(struct cli *cli, const char *path, json_t **ret, struct error *error)
{
        return call(cli, path, NULL, true, ret, error);
}

int api_post(struct cli *cli, const char *path, const json_t *body, json_t **ret, struct error *error)
{
        return call(cli, path, body, false, ret, error);
}

static void on_event(void *userdata, const char *event, const char *id, const char *data)
{
        struct exchange *x = userdata;
        x->stream->event(x->stream->userdata, event, id, data);
}

int api_follow(struct cli *cli, const char *path, const struct api_stream *stream, struct error *error)
{
        int r = api_open(cli, error);
        if (r < 0)
                return r;
        _cleanup_(exchange_deinit) struct exchange x = {.cli = cli, .stream = stream};
        x.sse.take = on_event;
        x.sse.userdata = &x;
        _cleanup_free_ char *url = xasprintf("%s%s", cli->api->base, path);
        struct curl_slist *headers = headers_for(&x, false);
        bool again;
        set_common(&x, url);
        r = perform(&x, headers, NULL, &again, error);
        curl_slist_free_all(headers);
        return r;
}

/* "filename=" of Content-Disposition, when it is a plain name. */
static char *plain_name(const char *value, size_t len)
{
        _cleanup_free_ char *text = xstrndup(value, len);
        char *start = strstr(text, "filename=\"");
        if (!start)
                return NULL;
        start += strlen("filename=\"");
        start[strcspn(start, "\"\r\n")] = '\0';
        return *start && *start != '.' && !strchr(start, '/') ? xstrdup(start) : NULL;
}

static size_t on_header(char *line, size_t size, size_t n, void *userdata)
{
        static const char etag[] = "etag:", disposition[] = "content-disposition:";
        struct api_download *d = ((struct exchange *)userdata)->download;
        size_t len = size * n, value = strlen(etag);
        if (len > value && strncasecmp(line, etag, value) == 0) {
                free(d->ret_etag);
                d->ret_etag = str_trim(
                        xstrndup(line + value + (line[value] == ' '), len - value - (line[value] == ' ')));
        } else if (len > strlen(disposition) && strncasecmp(line, disposition, strlen(disposition)) == 0) {
                free(d->ret_name);
                d->ret_name = plain_name(line, len);
        }
        return len;
}

int api_download(struct cli *cli, const char *path, struct api_download *download, struct error *error)
{
        int r = api_open(cli, error);
        if (r < 0)
                return r;
        _cleanup_(exchange_deinit) struct exchange x = {.cli = cli, .download = download};
        _cleanup_free_ char *url = xasprintf("%s%s", cli->api->base, path);
        _cleanup_free_ char *range = xasprintf("Range: bytes=%lld-", (long long)download->from);
        _cleanup_free_ char *same = xasprintf("If-Range: %s", str_or(download->etag, ""));
        struct curl_slist *headers = headers_for(&x, false);
        if (download->from > 0 && download->etag) {
                headers = curl_slist_append(headers, range);
                headers = curl_slist_append(headers, same);
        }
        bool again;
        set_common(&x, url);
        curl_easy_setopt(cli->api->curl, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(cli->api->curl, CURLOPT_HEADERDATA, &x);
        r = perform(&x, headers, NULL, &again, error);
        download->ret_ended = x.ended;
        curl_slist_free_all(headers);
        return r;
}

int api_check_name(const char *name, struct error *error)
{
        bool good = isalnum((unsigned char)name[0]) && strlen(name) <= 255;
        for (const char *c = name; good && *c; c++)
                good = isalnum((unsigned char)*c) || strchr("._-", *c);
        if (!good)
                return error_set(error, -EINVAL, "%.80s is no VM's name: letters, digits, dots, underscores and dashes",
                                 name);
        return 0;
}

int api_check_id(const char *text, int64_t *ret, struct error *error)
{
        if (parse_int(text, 1, INT64_MAX, ret) < 0)
                return error_set(error, -EINVAL, "%.80s is no operation's number; `lablink operation list` shows them",
                                 text);
        return 0;
}

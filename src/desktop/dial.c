/* The thread's side blocks in slices, so that a dial that nobody waits for any more ends within one. */
#include "desktop/dial.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/text.h"

#define DIAL_MS 15000
#define SLICE_MS 100
#define HEAD_MAX 8192
#define UNSENT_MS_MAX 30000
#define PROTOCOL "lablink.tunnel.1"

struct dial {
        uv_work_t work;
        struct loop *loop;
        struct ws_options options;
        void (*done)(void *userdata, const struct dial_result *result);
        void *userdata;
        atomic_bool dropped;
        /* of the thread, until it is done */
        char *url, *socket, *ca_file, *hostname, *token, *boot;
        CURL *easy;
        struct buf head; /* the answer's, and what came behind it */
        size_t early;    /* where that begins */
        char key[32];
        int64_t until_ms;
        unsigned status;
        struct error error;
};

/* --- the thread ---------------------------------------------------------------------------------------------------- */

static int on_progress(void *userdata, curl_off_t a _unused_, curl_off_t b _unused_, curl_off_t c _unused_,
                       curl_off_t d _unused_)
{
        return atomic_load(&((struct dial *)userdata)->dropped);
}

static int connect_blocking(struct dial *d)
{
        curl_easy_setopt(d->easy, CURLOPT_URL, d->url);
        curl_easy_setopt(d->easy, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(d->easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(d->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(d->easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(d->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)DIAL_MS);
        curl_easy_setopt(d->easy, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(d->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(d->easy, CURLOPT_XFERINFODATA, d);
        curl_easy_setopt(d->easy, CURLOPT_SSL_ENABLE_ALPN, 0L); /* HTTP/1.1 it is */
        if (d->socket) {
                curl_easy_setopt(d->easy, CURLOPT_UNIX_SOCKET_PATH, d->socket);
                curl_easy_setopt(d->easy, CURLOPT_PROXY, "");
        } else {
                curl_easy_setopt(d->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
        }
        if (d->ca_file)
                curl_easy_setopt(d->easy, CURLOPT_CAINFO, d->ca_file);
        CURLcode code = curl_easy_perform(d->easy);
        return code == CURLE_OK ? 0 : error_set(&d->error, -EIO, "%s", curl_easy_strerror(code));
}

static curl_socket_t socket_of(CURL *easy)
{
        curl_socket_t fd = CURL_SOCKET_BAD;
        curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
        return fd;
}

/* Waits until the socket is ready, in slices. */
static int wait_for(struct dial *d, short events)
{
        struct pollfd poller = {.fd = socket_of(d->easy), .events = events};
        while (!atomic_load(&d->dropped) && clock_ms() < d->until_ms)
                if (poll(&poller, 1, SLICE_MS) > 0)
                        return 0;
        return error_set(&d->error, -ETIMEDOUT, "no answer to the handshake");
}

static int send_request(struct dial *d)
{
        uint8_t random[16];
        const char *host = strstr(d->url, "://") + 3;
        int host_len = (int)strcspn(host, "/");
        _cleanup_buf_wiped_ struct buf request = BUF_NULL;
        randombytes_buf(random, sizeof random);
        sodium_bin2base64(d->key, sizeof d->key, random, sizeof random, sodium_base64_VARIANT_ORIGINAL);
        buf_addf(&request,
                 "GET %s HTTP/1.1\r\nHost: %.*s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: " PROTOCOL "\r\n"
                 "X-Lablink-Hostname: %s\r\nX-Lablink-Boot: %s\r\nUser-Agent: lablink-client/" LABLINK_VERSION "\r\n",
                 host + host_len, host_len, host, d->key, d->hostname, d->boot);
        if (d->token)
                buf_addf(&request, "Authorization: Bearer %s\r\n", d->token);
        buf_adds(&request, "\r\n");
        int r = 0;
        for (size_t at = 0, n = 0; at < request.len && r == 0; at += n) {
                CURLcode code = curl_easy_send(d->easy, request.data + at, request.len - at, &n);
                if (code == CURLE_AGAIN)
                        r = wait_for(d, POLLOUT);
                else if (code != CURLE_OK)
                        r = error_set(&d->error, -EIO, "%s", curl_easy_strerror(code));
        }
        return r;
}

static int read_head(struct dial *d)
{
        char bytes[2048];
        for (;;) {
                const char *end = d->head.len ? memmem(d->head.data, d->head.len, "\r\n\r\n", 4) : NULL;
                size_t n = 0;
                if (end) {
                        d->early = (size_t)(end - d->head.data) + 4;
                        return 0;
                }
                if (d->head.len > HEAD_MAX)
                        return error_set(&d->error, -EPROTO, "the answer's head is too long");
                CURLcode code = curl_easy_recv(d->easy, bytes, sizeof bytes, &n);
                if (code == CURLE_AGAIN) {
                        int r = wait_for(d, POLLIN);
                        if (r < 0)
                                return r;
                } else if (code != CURLE_OK || n == 0) {
                        return error_set(&d->error, -EIO, "the connection ended in the handshake");
                } else {
                        buf_add(&d->head, bytes, n);
                }
        }
}

/* Does the head hold this line, its name in any case? */
static bool head_has(const struct dial *d, const char *name, const char *value)
{
        size_t name_len = strlen(name), value_len = strlen(value);
        const char *end = d->head.data + d->early;
        for (const char *line = d->head.data; line < end;) {
                const char *next = memchr(line, '\n', (size_t)(end - line));
                const char *at = line + name_len;
                if (!next)
                        return false;
                if ((size_t)(next - line) > name_len + 1 && strncasecmp(line, name, name_len) == 0 && *at == ':') {
                        at += 1 + strspn(at + 1, " \t");
                        if ((size_t)(next - at) >= value_len && strncasecmp(at, value, value_len) == 0 &&
                            at[value_len + strspn(at + value_len, " \t")] == '\r')
                                return true;
                }
                line = next + 1;
        }
        return false;
}

static int check_answer(struct dial *d)
{
        char accept[WS_ACCEPT_LENGTH + 1];
        if (d->head.len < 12 || !str_starts(d->head.data, "HTTP/1.1 "))
                return error_set(&d->error, -EPROTO, "the answer is no HTTP");
        d->status = (unsigned)atoi(d->head.data + 9);
        if (d->status != 101)
                return error_set(&d->error, -EPROTO, "HTTP %u", d->status);
        ws_accept(d->key, accept);
        if (!head_has(d, "Sec-WebSocket-Accept", accept) || !head_has(d, "Sec-WebSocket-Protocol", PROTOCOL))
                return error_set(&d->error, -EPROTO, "the answer is no handshake for us");
        return 0;
}

static void on_work(uv_work_t *work)
{
        struct dial *d = work->data;
        d->until_ms = clock_ms() + DIAL_MS;
        d->easy = curl_easy_init();
        if (!d->easy)
                abort();
        if (connect_blocking(d) == 0 && send_request(d) == 0 && read_head(d) == 0)
                check_answer(d);
}

/* --- the loop ------------------------------------------------------------------------------------------------------ */

static ssize_t curl_read(void *context, void *data, size_t len)
{
        size_t n = 0;
        CURLcode code = curl_easy_recv(context, data, len, &n);
        return code == CURLE_OK ? (ssize_t)n : code == CURLE_AGAIN ? -EAGAIN : -EIO;
}

static ssize_t curl_write(void *context, const void *data, size_t len)
{
        size_t n = 0;
        CURLcode code = curl_easy_send(context, data, len, &n);
        return code == CURLE_OK && n > 0 ? (ssize_t)n : code == CURLE_OK || code == CURLE_AGAIN ? -EAGAIN : -EIO;
}

static void curl_free_transport(void *context)
{
        curl_easy_cleanup(context);
}

static const struct ws_transport curl_transport = {.read = curl_read, .write = curl_write, .free = curl_free_transport};

static struct ws *open_ws(struct dial *d)
{
        const int on = 1, unsent = UNSENT_MS_MAX;
        d->options.fd = socket_of(d->easy);
        if (d->options.fd == CURL_SOCKET_BAD)
                return NULL;
        fcntl(d->options.fd, F_SETFL, fcntl(d->options.fd, F_GETFL) | O_NONBLOCK);
        setsockopt(d->options.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(d->options.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent, sizeof unsent);
        if (str_starts(d->url, "https:")) {
                d->options.transport = &curl_transport;
                d->options.transport_context = STEAL(d->easy);
        } else {
                d->options.fd = fcntl(d->options.fd, F_DUPFD_CLOEXEC, 3); /* libcurl closes its own */
                if (d->options.fd < 0)
                        return NULL;
        }
        return ws_new(&d->options, d->head.data + d->early, d->head.len - d->early);
}

static void dial_free(struct dial *d)
{
        if (d->easy)
                curl_easy_cleanup(d->easy);
        if (d->token)
                explicit_bzero(d->token, strlen(d->token));
        free(d->url);
        free(d->socket);
        free(d->ca_file);
        free(d->hostname);
        free(d->token);
        free(d->boot);
        buf_deinit(&d->head);
        error_clear(&d->error);
        free(d);
}

static void on_done(uv_work_t *work, int status)
{
        struct dial *d = work->data;
        struct dial_result result = {.status = d->status};
        if (atomic_load(&d->dropped)) {
                dial_free(d);
                return;
        }
        if (status == 0 && d->error.code == 0)
                result.ws = open_ws(d);
        result.why = result.ws ? "" : d->error.code ? error_text(&d->error) : "no connection was made";
        d->done(d->userdata, &result);
        dial_free(d);
}

struct dial *dial_start(struct loop *loop, const struct dial_target *target, const char *path,
                        const struct ws_options *options,
                        void (*done)(void *userdata, const struct dial_result *result), void *userdata)
{
        struct dial *d = xcalloc(1, sizeof *d);
        d->work.data = d;
        d->loop = loop;
        d->options = *options;
        d->options.loop = loop;
        d->options.side = WS_CLIENT;
        d->done = done;
        d->userdata = userdata;
        d->url = xasprintf("%s%s", target->socket ? "http://localhost" : target->url, path);
        d->socket = xstrdup(target->socket);
        d->ca_file = xstrdup(target->ca_file);
        d->hostname = xstrdup(target->hostname);
        d->token = xstrdup(target->token);
        d->boot = xstrdup(target->boot);
        uv_queue_work(&loop->uv, &d->work, on_work, on_done);
        return d;
}

void dial_drop(struct dial *dial)
{
        atomic_store(&dial->dropped, true);
        uv_cancel((uv_req_t *)&dial->work);
}

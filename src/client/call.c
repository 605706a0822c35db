/*
 * libcurl tells which sockets it waits for and when it wants to be called; libuv does both. All of libcurl's callbacks
 * only note things down: a finished call wakes its task, and calls are ended by tasks alone, never inside libcurl.
 */
#include "client/call.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "client/settings.h"

#define CONNECT_MS 10000
#define WATCHDOG_MS 1000

struct watched_socket {
        uv_poll_t poll;
        curl_socket_t fd;
        struct caller *caller;
};

static void release(struct call *call)
{
        list_remove(&call->silent);
        if (list_empty(&call->caller->silent))
                uv_timer_stop(&call->caller->watchdog);
        if (!call->easy)
                return;
        curl_multi_remove_handle(call->caller->multi, call->easy);
        curl_easy_cleanup(STEAL(call->easy));
}

static void finish(struct call *call, CURLcode code)
{
        curl_off_t retry_after = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after);
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->status);
        call->retry_after_ms = retry_after > 0 ? MIN((int64_t)retry_after, (int64_t)86400) * 1000 : -1;
        if (code != CURLE_OK) {
                call->status = 0;
                if (!call->error.code)
                        error_set(&call->error, -EIO, "%s", curl_easy_strerror(code));
        }
        release(call);
        task_wake(&call->wait);
}

static void collect(struct caller *caller)
{
        int left;
        for (CURLMsg *message; (message = curl_multi_info_read(caller->multi, &left));) {
                struct call *call = NULL;
                if (message->msg != CURLMSG_DONE)
                        continue;
                CURLcode code = message->data.result; /* the message is gone with its handle */
                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
                finish(call, code);
        }
}

static void on_curl_timer(uv_timer_t *timer)
{
        struct caller *caller = timer->data;
        int running;
        curl_multi_socket_action(caller->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        collect(caller);
}

static int set_curl_timer(CURLM *multi _unused_, long ms, void *userdata)
{
        struct caller *caller = userdata;
        if (ms < 0)
                return uv_timer_stop(&caller->timer);
        uv_update_time(&caller->loop->uv);
        return uv_timer_start(&caller->timer, on_curl_timer, (uint64_t)ms, 0);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
        struct watched_socket *socket = poll->data;
        struct caller *caller = socket->caller;
        int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
        int running;
        if (status < 0)
                flags = CURL_CSELECT_ERR;
        curl_multi_socket_action(caller->multi, socket->fd, flags, &running);
        collect(caller);
}

static void free_socket(uv_handle_t *handle)
{
        free(handle->data);
}

static struct watched_socket *watch_socket(struct caller *caller, curl_socket_t fd)
{
        struct watched_socket *socket = xcalloc(1, sizeof *socket);
        *socket = (struct watched_socket){.fd = fd, .caller = caller};
        if (uv_poll_init(&caller->loop->uv, &socket->poll, fd) < 0) {
                free(socket);
                return NULL;
        }
        socket->poll.data = socket;
        curl_multi_assign(caller->multi, fd, socket);
        return socket;
}

static int set_socket(CURL *easy _unused_, curl_socket_t fd, int what, void *userdata, void *assigned)
{
        struct caller *caller = userdata;
        struct watched_socket *socket = assigned;
        if (what == CURL_POLL_REMOVE) {
                if (socket) {
                        uv_poll_stop(&socket->poll);
                        uv_close((uv_handle_t *)&socket->poll, free_socket);
                        curl_multi_assign(caller->multi, fd, NULL);
                }
                return 0;
        }
        if (!socket)
                socket = watch_socket(caller, fd);
        if (!socket)
                return -1;
        int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
        return uv_poll_start(&socket->poll, events, on_socket);
}

static void on_watchdog(uv_timer_t *timer)
{
        struct caller *caller = timer->data;
        int64_t now = clock_ms();
        list_for_each (link, &caller->silent) {
                struct call *call = list_entry(link, struct call, silent);
                if (now - call->heard_ms < call->idle_ms || !(call->heard || caller->lively))
                        continue;
                error_set(&call->error, -ETIMEDOUT, "nothing was heard for %lld s", (long long)(call->idle_ms / 1000));
                finish(call, CURLE_OPERATION_TIMEDOUT);
        }
}

static void add_header(struct caller *caller, const char *header)
{
        struct curl_slist *grown = curl_slist_append(caller->headers, header);
        if (!grown)
                abort();
        caller->headers = grown;
}

void caller_init(struct caller *caller, struct loop *loop, const struct settings *settings)
{
        *caller = (struct caller){.loop = loop, .settings = settings, .multi = curl_multi_init()};
        if (!caller->multi)
                abort();
        list_init(&caller->silent);
        uv_timer_init(&loop->uv, &caller->timer);
        uv_timer_init(&loop->uv, &caller->watchdog);
        caller->timer.data = caller->watchdog.data = caller;
        curl_multi_setopt(caller->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
        curl_multi_setopt(caller->multi, CURLMOPT_SOCKETDATA, caller);
        curl_multi_setopt(caller->multi, CURLMOPT_TIMERFUNCTION, set_curl_timer);
        curl_multi_setopt(caller->multi, CURLMOPT_TIMERDATA, caller);
        curl_multi_setopt(caller->multi, CURLMOPT_MAXCONNECTS, 4L);
        add_header(caller, "Content-Type: application/json");
        add_header(caller, "Accept: application/json");
        add_header(caller, "Expect:");
        if (settings->token) {
                _cleanup_free_ char *header = xasprintf("Authorization: Bearer %s", settings->token);
                add_header(caller, header);
                explicit_bzero(header, strlen(header));
        }
}

void caller_deinit(struct caller *caller)
{
        uv_timer_stop(&caller->timer);
        uv_timer_stop(&caller->watchdog);
        if (caller->multi)
                curl_multi_cleanup(STEAL(caller->multi));
        curl_slist_free_all(STEAL(caller->headers));
}

static void heard(struct call *call)
{
        call->heard = true;
        call->heard_ms = clock_ms();
}

static size_t on_header(char *data _unused_, size_t size, size_t count, void *userdata)
{
        heard(userdata);
        return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
        struct call *call = userdata;
        size_t len = size * count, skip = 0;
        heard(call);
        while (call->body.len == 0 && skip < len && isspace((unsigned char)data[skip]))
                skip++;
        if (call->idle_ms && skip)
                call->caller->lively = true;
        if (len - skip > CALL_BODY_MAX - call->body.len) {
                error_set(&call->error, -EMSGSIZE, "the answer is larger than %d bytes", CALL_BODY_MAX);
                return 0;
        }
        buf_add(&call->body, data + skip, len - skip);
        return len;
}

static void set_target(struct call *call, const char *path)
{
        const struct settings *settings = call->caller->settings;
        _cleanup_free_ char *url = xasprintf("%s%s", settings->socket ? "http://localhost" : settings->url, path);
        curl_easy_setopt(call->easy, CURLOPT_URL, url);
        if (settings->socket) {
                curl_easy_setopt(call->easy, CURLOPT_UNIX_SOCKET_PATH, settings->socket);
                curl_easy_setopt(call->easy, CURLOPT_PROXY, "");
        }
        if (settings->ca_file)
                curl_easy_setopt(call->easy, CURLOPT_CAINFO, settings->ca_file);
}

static void set_limits(struct call *call, bool wait)
{
        curl_easy_setopt(call->easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(call->easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(call->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(call->easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(call->easy, CURLOPT_QUICK_EXIT, 1L);
        curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
        curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)(wait ? CALL_LONG_MS : CALL_TOTAL_MS));
        curl_easy_setopt(call->easy, CURLOPT_BUFFERSIZE, 8192L);
        curl_easy_setopt(call->easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
        curl_easy_setopt(call->easy, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(call->easy, CURLOPT_TCP_KEEPIDLE, 30L);
        curl_easy_setopt(call->easy, CURLOPT_TCP_KEEPINTVL, 15L);
}

static void set_request(struct call *call)
{
        curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
        curl_easy_setopt(call->easy, CURLOPT_USERAGENT, "lablink-client/" LABLINK_VERSION);
        curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->caller->headers);
        curl_easy_setopt(call->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, buf_str(&call->request));
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->request.len);
        curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
        curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
}

static void cancel(struct wait *wait)
{
        release(container_of(wait, struct call, wait));
}

int call_post_named(struct task *t, struct call *call, struct caller *caller, const char *path, json_t *json, bool wait,
                    task_step next, const char *name)
{
        call_deinit(call);
        *call = (struct call){.wait.cancel = cancel, .caller = caller, .retry_after_ms = -1, .heard_ms = clock_ms()};
        json_write(json, &call->request);
        json_decref(json);
        call->easy = curl_easy_init();
        if (!call->easy)
                abort();
        set_target(call, path);
        set_limits(call, wait);
        set_request(call);
        if (wait) {
                call->idle_ms = CALL_IDLE_MS;
                list_append(&caller->silent, &call->silent);
                uv_timer_start(&caller->watchdog, on_watchdog, WATCHDOG_MS, WATCHDOG_MS);
        }
        curl_multi_add_handle(caller->multi, call->easy);
        return task_await_named(t, &call->wait, next, name);
}

char *call_outcome(const struct call *call)
{
        if (!call->status)
                return xstrdup(error_text(&call->error));
        _cleanup_json_ json_t *answer = json_read(buf_str(&call->body), call->body.len, NULL);
        const char *sentence = json_get_string(answer, "error");
        if (!sentence || call_ok(call))
                return xasprintf("HTTP %ld", call->status);
        return xasprintf("HTTP %ld: %.*s", call->status, (int)utf8_cut(sentence, strlen(sentence), 200), sentence);
}

void call_deinit(struct call *call)
{
        if (call->caller && call->easy)
                release(call);
        buf_deinit(&call->request);
        buf_deinit(&call->body);
        error_clear(&call->error);
}

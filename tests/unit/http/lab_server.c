/* The server of the tests: its routes do one thing each, as their names say. */
#include "lab_server.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

struct state {
        struct server *server;
        int round;
};

static void state_free(void *given)
{
        struct state *state = given;
        if (state->server)
                state->server->freed++;
}

static struct server *server_of(struct task *t)
{
        struct server *server = t->loop->user;
        struct state *state = t->state;
        if (!state->server)
                server->runs++;
        state->server = server;
        return server;
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

static int hello(struct task *t)
{
        server_of(t);
        return reply_text(t, 200, "text/plain", "hello", 5);
}

static int echo(struct task *t)
{
        server_of(t);
        json_t *json = request_json(t);
        return reply_json(t, 200,
                          json_pack("{s:O?, s:s?, s:s?, s:s?, s:s, s:s}", "json", json, "field",
                                    request_field(t, "field"), "query", request_query(t, "q"), "cookie",
                                    request_cookie(t, "c"), "path", request_path(t), "address", request_address(t)));
}

static int argument(struct task *t)
{
        server_of(t);
        return reply_json(t, 200, json_pack("{s:s}", "name", request_argument(t, "name")));
}

static int view(struct task *t)
{
        server_of(t);
        reply_header(t, "X-Bad", "a\r\nSet-Cookie: evil=1");
        reply_header(t, "Set-Cookie", "a=1");
        reply_header(t, "Set-Cookie", "b=2");
        return reply_view(t, 200, "page", json_pack("{s:s}", "title", "<b>"));
}

static int later_answer(struct task *t)
{
        return reply_text(t, 200, "text/plain", "later", 5);
}

static int later(struct task *t)
{
        server_of(t);
        return sleep_await(t, 20, later_answer);
}

static void forget_sleeper(struct wait *wait)
{
        container_of(wait, struct server, wait)->sleeper = NULL;
}

static int wait_answer(struct task *t)
{
        return reply_text(t, 200, "text/plain", "awake", 5);
}

static int wait_for_test(struct task *t)
{
        struct server *server = server_of(t);
        server->sleeper = t;
        server->wait.cancel = forget_sleeper;
        return task_await(t, &server->wait, wait_answer);
}

static int wait_forever(struct task *t)
{
        request_no_deadline(t);
        return wait_for_test(t);
}

static int break_down(struct task *t)
{
        server_of(t);
        return error_set(&t->error, -ENOTCONN, "secret detail");
}

static int fail_otherwise(struct task *t)
{
        server_of(t);
        return error_set(&t->error, -EINVAL, "secret detail");
}

static int cut(struct task *t)
{
        server_of(t);
        return reply_close(t);
}

static int redirect(struct task *t)
{
        server_of(t);
        return reply_redirect(t, "/hello");
}

static int full_up(struct task *t)
{
        server_of(t);
        return reply_error(t, 503, "full", "No seat is <free>.");
}

static int events_more(struct task *t)
{
        struct state *state = t->state;
        if (++state->round == 3) {
                stream_event(t, "end", NULL, "");
                return stream_end(t);
        }
        stream_event(t, "line", "7", "one\ntwo\r\nthree");
        return sleep_await(t, 10, events_more);
}

static int events(struct task *t)
{
        server_of(t);
        stream_begin(t, 200, "text/event-stream");
        stream_puts(t, ": hello\n\n");
        return sleep_await(t, 10, events_more);
}

static int stream_awake(struct task *t)
{
        stream_puts(t, "awake");
        return stream_end(t);
}

static int stream_waits(struct task *t)
{
        struct server *server = server_of(t);
        stream_begin(t, 200, "text/plain");
        stream_puts(t, "waiting");
        server->sleeper = t;
        server->wait.cancel = forget_sleeper;
        return task_await(t, &server->wait, stream_awake);
}

static int stream_then_json(struct task *t)
{
        return reply_json(t, 200, json_pack("{s:b}", "done", 1));
}

static int slow_json(struct task *t)
{
        server_of(t);
        stream_begin(t, 200, "application/json");
        stream_puts(t, " ");
        return sleep_await(t, 10, stream_then_json);
}

static int stream_fails(struct task *t)
{
        server_of(t);
        stream_begin(t, 200, "application/json");
        stream_puts(t, " ");
        return sleep_await(t, 10, break_down);
}

#define BIG_PIECE 50000
#define BIG_PIECES 100

static int big_more(struct task *t)
{
        struct state *state = t->state;
        char piece[BIG_PIECE];
        memset(piece, 'a' + state->round % 26, sizeof piece);
        stream_put(t, piece, sizeof piece);
        if (++state->round == BIG_PIECES)
                return stream_end(t);
        return stream_await(t, 65536, big_more);
}

static int big(struct task *t)
{
        server_of(t);
        stream_begin(t, 200, "application/octet-stream");
        return big_more(t);
}

static int flood(struct task *t)
{
        struct server *server = server_of(t);
        char piece[BIG_PIECE];
        memset(piece, 'x', sizeof piece);
        if (!stream_begun(t))
                stream_begin(t, 200, "application/octet-stream");
        stream_put(t, piece, sizeof piece);
        server->put += BIG_PIECE;
        return sleep_await(t, 0, flood);
}

static const struct http_route routes[] = {
        {"GET", "/hello", ROUTE_STEP(hello), .answer = HTTP_DEFAULT_HTML},
        {"GET", "/args/:name", ROUTE_STEP(argument)},
        {"GET", "/echo", ROUTE_STEP(echo)},
        {"POST", "/echo", ROUTE_STEP(echo), .body = HTTP_BODY_ANY},
        {"POST", "/json", ROUTE_STEP(echo), .body = HTTP_BODY_JSON, .body_max = 1000},
        {"DELETE", "/json", ROUTE_STEP(echo)},
        {"POST", "/secret", ROUTE_STEP(echo), .body = HTTP_BODY_JSON, .rights = 1},
        {"GET", "/view", ROUTE_STEP(view), .answer = HTTP_DEFAULT_HTML},
        {"GET", "/later", ROUTE_STEP(later)},
        {"GET", "/wait", ROUTE_STEP(wait_for_test)},
        {"GET", "/forever", ROUTE_STEP(wait_forever)},
        {"GET", "/fail", ROUTE_STEP(break_down)},
        {"GET", "/fail/otherwise", ROUTE_STEP(fail_otherwise)},
        {"GET", "/cut", ROUTE_STEP(cut)},
        {"GET", "/redirect", ROUTE_STEP(redirect)},
        {"GET", "/full", ROUTE_STEP(full_up), .answer = HTTP_DEFAULT_HTML},
        {"GET", "/events", ROUTE_STEP(events)},
        {"GET", "/slow/json", ROUTE_STEP(slow_json)},
        {"GET", "/stream/fails", ROUTE_STEP(stream_fails)},
        {"GET", "/stream/waits", ROUTE_STEP(stream_waits)},
        {"GET", "/big", ROUTE_STEP(big)},
        {"GET", "/flood", ROUTE_STEP(flood)},
        {0},
};

static const unsigned char css[] = {/* gzip -9 of "body { color: black }\n" */
                                    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x4b, 0xca, 0x4f, 0xa9,
                                    0x54, 0xa8, 0x56, 0x48, 0xce, 0xcf, 0xc9, 0x2f, 0xb2, 0x52, 0x48, 0xca, 0x49, 0x4c,
                                    0xce, 0x56, 0xa8, 0xe5, 0x02, 0x00, 0x63, 0x67, 0x90, 0xc6, 0x16, 0x00, 0x00, 0x00};
static const struct http_asset assets[] = {
        {"/static/app.css", "text/css; charset=utf-8", css, sizeof css, true, "\"tag-css\""},
        {"/static/a.txt", "text/plain; charset=utf-8", (const unsigned char *)"plain\n", 6, false, "\"tag-txt\""},
        {0},
};

static const struct http_template templates[] = {
        {"page", "<h1>{{title}}</h1>{{version}}"},
        {"error", "<p>{{status}} {{error}}</p>"},
        {0},
};

static int authorize(struct task *t)
{
        server_of(t);
        if (request_route(t)->rights && !request_header(t, "Authorization"))
                return reply_error(t, 401, "log-in", "Please log in.");
        return http_proceed(t);
}

static void page_globals(struct task *t _unused_, json_t *model)
{
        json_object_set_new(model, "version", json_string("v1"));
}

/* --- the server --------------------------------------------------------------------------------------------------- */

static struct http_route *with_states(void)
{
        struct http_route *copy = xmemdup(routes, sizeof routes);
        for (size_t i = 0; copy[i].pattern; i++) {
                copy[i].state_size = sizeof(struct state);
                copy[i].state_free = state_free;
        }
        return copy;
}

static struct http_route *live_routes;

void server_start(struct server *server, void (*change)(struct http_options *options))
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof address;
        _cleanup_error_ struct error error = ERROR_NULL;
        *server = (struct server){0};
        live_routes = with_states();
        struct http_options options = {.routes = live_routes,
                                       .assets = assets,
                                       .templates = templates,
                                       .authorize = authorize,
                                       .page_globals = page_globals,
                                       .deadline_ms = 60000,
                                       .access_log = true};
        if (change)
                change(&options);
        loop_init(&server->loop);
        uv_timer_init(&server->loop.uv, &server->timer);
        server->loop.user = server;
        assert_int_equal(http_server_new(&server->loop, &options, &server->http, &error), 0);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(listen(fd, 128), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
        server->port = ntohs(address.sin_port);
        assert_int_equal(http_server_listen(server->http, fd, HTTP_TCP, &error), 0);
}

void server_stop(struct server *server)
{
        http_server_free(server->http);
        assert_int_equal(server->runs, server->freed);
        loop_deinit(&server->loop);
        free(live_routes);
}

static void on_timer(uv_timer_t *timer _unused_)
{
}

void server_turn(struct server *server)
{
        uv_timer_start(&server->timer, on_timer, 10, 0);
        uv_run(&server->loop.uv, UV_RUN_ONCE);
}

void server_wait_sleeper(struct server *server)
{
        int64_t until = clock_ms() + PATIENCE_MS;
        while (!server->sleeper && clock_ms() < until)
                server_turn(server);
        assert_non_null(server->sleeper);
}

void server_wake(struct server *server)
{
        server->sleeper = NULL;
        task_wake(&server->wait);
}

/* --- the client --------------------------------------------------------------------------------------------------- */

int client_open(struct server *server)
{
        struct sockaddr_in address = {
                .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(server->port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        server_turn(server);
        return fd;
}

void client_send(int fd, const char *text)
{
        size_t len = strlen(text);
        assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

void client_send_bytes(struct server *server, int fd, const void *data, size_t len)
{
        const char *at = data;
        int64_t until = clock_ms() + PATIENCE_MS;
        while (len > 0 && clock_ms() < until) {
                ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
                if (n < 0 && errno != EAGAIN)
                        return; /* the server has closed: the answer says why */
                if (n > 0) {
                        at += n;
                        len -= (size_t)n;
                }
                server_turn(server);
        }
        assert_int_equal(len, 0);
}

/* False: the connection has ended. */
static bool read_some(struct server *server, int fd, struct buf *in)
{
        char piece[65536];
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n > 0)
                buf_add(in, piece, (size_t)n);
        if (n == 0 || (n < 0 && errno != EAGAIN))
                return false;
        server_turn(server);
        return true;
}

void client_expect(struct server *server, int fd, struct buf *in, const char *text)
{
        int64_t until = clock_ms() + PATIENCE_MS;
        bool open = true;
        while (!strstr(buf_str(in), text) && clock_ms() < until && open)
                open = read_some(server, fd, in);
        if (!strstr(buf_str(in), text))
                fail_msg("\"%s\" did not come; there is: %s", text, buf_str(in));
}

void client_expect_close(struct server *server, int fd, struct buf *in)
{
        int64_t until = clock_ms() + PATIENCE_MS;
        while (read_some(server, fd, in))
                if (clock_ms() > until)
                        fail_msg("the connection was not closed; there is: %s", buf_str(in));
        close(fd);
}

char *client_ask(struct server *server, const char *request_line, const char *headers, const char *body)
{
        struct buf in = BUF_NULL;
        _cleanup_free_ char *request = NULL;
        int fd = client_open(server);
        if (body)
                request = xasprintf("%s HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
                                    request_line, headers, strlen(body), body);
        else
                request = xasprintf("%s HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n%s\r\n", request_line, headers);
        client_send_bytes(server, fd, request, strlen(request));
        client_expect_close(server, fd, &in);
        return buf_steal(&in);
}

unsigned answer_status(const char *answer)
{
        return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (unsigned)atoi(answer + 9) : 0;
}

const char *answer_body_of(const char *answer)
{
        const char *blank = strstr(answer, "\r\n\r\n");
        return blank ? blank + 4 : "";
}

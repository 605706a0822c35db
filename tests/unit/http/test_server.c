/* What a client sees on its socket: answers, kept connections, and the end of the ones that do not deserve better. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/log.h"
#include "lab_server.h"

static struct server server;

static int set_up(void **state _unused_)
{
        server_start(&server, NULL);
        return 0;
}

static int tear_down(void **state _unused_)
{
        server_stop(&server);
        return 0;
}

static void expect_answer(const char *request_line, const char *headers, const char *body, unsigned status,
                          const char *text)
{
        _cleanup_free_ char *answer = client_ask(&server, request_line, headers, body);
        if (answer_status(answer) != status || !strstr(answer, text))
                fail_msg("%s: wanted %u with %s, got: %s", request_line, status, text, answer);
}

#define JSON_WANTED "Accept: application/json\r\n"

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void every_answer_carries_the_security_headers(void **state _unused_)
{
        static const char *const requests[] = {"GET /hello", "GET /nothing", "GET /static/a.txt", "GET /fail",
                                               "GET /events"};
        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                _cleanup_free_ char *answer = client_ask(&server, requests[i], "", NULL);
                assert_non_null(strstr(answer, "Content-Security-Policy: default-src 'none'; script-src 'self'"));
                assert_non_null(strstr(answer, "X-Content-Type-Options: nosniff"));
                assert_non_null(strstr(answer, "Referrer-Policy: same-origin"));
                assert_non_null(strstr(answer, "Cache-Control: no-"));
        }
}

static void routes_are_found_on_the_raw_path(void **state _unused_)
{
        expect_answer("GET /args/a%20b%C3%A9", "", NULL, 200, "{\"name\":\"a b\xc3\xa9\"}");
        expect_answer("GET /args/a%2fb", JSON_WANTED, NULL, 400, "bad-path");
        expect_answer("GET /args/a%00b", JSON_WANTED, NULL, 400, "bad-path");
        expect_answer("GET /args/..", JSON_WANTED, NULL, 400, "bad-path");
        expect_answer("GET /args/%2e%2e", JSON_WANTED, NULL, 400, "bad-path");
        expect_answer("GET /args/%ff", JSON_WANTED, NULL, 400, "bad-path");
        expect_answer("GET /args/", "", NULL, 404, "Nothing is found");
        expect_answer("GET //hello", "", NULL, 404, "Nothing is found");
        expect_answer("GET http://lab/hello", "", NULL, 200, "hello");
        expect_answer("GET /hel%6co", "", NULL, 200, "hello");
}

static void wrong_methods_are_told_the_right_ones(void **state _unused_)
{
        expect_answer("PUT /json", "Accept: application/json\r\n", NULL, 405, "Allow: POST, DELETE");
        expect_answer("POST /hello", "", "", 405, "Allow: GET, HEAD");
        expect_answer("POST /static/a.txt", "", "", 405, "Allow: GET, HEAD");
        expect_answer("VERYLONGMETHODNAMEINDEED /hello", "", NULL, 405, "Allow: GET, HEAD");
}

static void errors_come_as_they_were_asked_for(void **state _unused_)
{
        expect_answer("GET /full", "", NULL, 503, "<p>503 No seat is &lt;free&gt;.</p>");
        expect_answer("GET /full", "", NULL, 503, "Retry-After: 5");
        expect_answer("GET /full", "Accept: application/json\r\n", NULL, 503,
                      "{\"error\":\"No seat is <free>.\",\"code\":\"full\"}");
        expect_answer("GET /full", "Accept: text/html, application/json;q=0.9\r\n", NULL, 503, "<p>503");
        expect_answer("GET /fail", "", NULL, 503, "\"code\":\"unavailable\"");
        expect_answer("GET /fail/otherwise", "", NULL, 500, "\"code\":\"internal\"");
        _cleanup_free_ char *answer = client_ask(&server, "GET /fail", "", NULL);
        assert_null(strstr(answer, "secret"));
}

static void a_page_has_a_json_twin(void **state _unused_)
{
        expect_answer("GET /view", "", NULL, 200, "<h1>&lt;b&gt;</h1>v1");
        expect_answer("GET /view", "Accept: */*\r\n", NULL, 200, "text/html; charset=utf-8");
        expect_answer("GET /view", "Accept: application/json\r\n", NULL, 200, "{\"title\":\"<b>\"}");
        _cleanup_free_ char *answer = client_ask(&server, "GET /view", "", NULL);
        assert_non_null(strstr(answer, "Set-Cookie: a=1"));
        assert_non_null(strstr(answer, "Set-Cookie: b=2"));
        assert_non_null(strstr(answer, "Vary: Accept"));
        assert_null(strstr(answer, "evil"));
}

static void a_redirect_names_its_target(void **state _unused_)
{
        expect_answer("GET /redirect", "", NULL, 303, "Location: /hello");
}

static void head_is_get_without_a_body(void **state _unused_)
{
        static const char *const requests[] = {"HEAD /hello", "HEAD /static/a.txt", "HEAD /big"};
        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                _cleanup_free_ char *answer = client_ask(&server, requests[i], "", NULL);
                assert_int_equal(answer_status(answer), 200);
                assert_string_equal(answer_body_of(answer), "");
        }
        expect_answer("HEAD /hello", "", NULL, 200, "Content-Length: 5");
}

static void query_and_cookies_are_read(void **state _unused_)
{
        expect_answer("GET /echo?a=1&q=x+y%26z&q=2", "Cookie: b=1; c=two\r\n", NULL, 200,
                      "\"query\":\"x y&z\",\"cookie\":\"two\"");
        expect_answer("GET /echo?q=%zz", JSON_WANTED, NULL, 400, "bad-query");
        expect_answer("GET /echo?q=1", "", NULL, 200, "\"path\":\"/echo\"");
}

static void assets_are_compressed_known_and_plain(void **state _unused_)
{
        expect_answer("GET /static/app.css", "", NULL, 200, "\r\n\r\nbody { color: black }\n");
        expect_answer("GET /static/app.css", "Accept-Encoding: gzip;q=0\r\n", NULL, 200,
                      "\r\n\r\nbody { color: black }\n");
        expect_answer("GET /static/app.css", "Accept-Encoding: br, gzip\r\n", NULL, 200, "Content-Encoding: gzip");
        expect_answer("GET /static/app.css", "Accept-Encoding: gzip\r\n", NULL, 200, "ETag: \"tag-css\"");
        expect_answer("GET /static/app.css", "If-None-Match: W/\"tag-css\"\r\n", NULL, 304, "ETag: W/\"tag-css\"");
        expect_answer("GET /static/a.txt", "If-None-Match: \"other\", \"tag-txt\"\r\n", NULL, 304, "tag-txt");
        expect_answer("GET /static/a.txt", "If-None-Match: \"other\"\r\n", NULL, 200, "\r\n\r\nplain\n");
        expect_answer("GET /static/none.txt", "", NULL, 404, "404");
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

#define JSON_TYPE "Content-Type: application/json\r\n"
#define FORM_TYPE "Content-Type: application/x-www-form-urlencoded\r\n"

static void bodies_are_parsed_by_their_type(void **state _unused_)
{
        expect_answer("POST /echo", JSON_TYPE, "{\"field\": \"x\", \"more\": [1]}", 200, "\"field\":\"x\"");
        expect_answer("POST /echo", FORM_TYPE, "field=a+b&field=c", 200, "\"field\":\"a b\"");
        expect_answer("POST /echo", "Content-Type: multipart/form-data; boundary=B\r\n",
                      "--B\r\nContent-Disposition: form-data; name=\"field\"\r\n\r\nin parts\r\n--B--\r\n", 200,
                      "\"field\":\"in parts\"");
        expect_answer("POST /json", "Content-Type: application/json; charset=utf-8\r\n", "{\"field\": \"x\"}", 200,
                      "\"field\":\"x\"");
        expect_answer("POST /json", "", "{\"field\": \"x\"}", 200, "\"field\":\"x\"");
        expect_answer("POST /echo", JSON_TYPE, "{\"field\": \"a\\u0000b\"}", 200, "\"field\":null");
        expect_answer("POST /echo", "", "", 200, "\"json\":null");
}

static void bad_bodies_are_refused(void **state _unused_)
{
        expect_answer("POST /json", JSON_TYPE, "{\"field\": ", 400, "bad-json");
        expect_answer("POST /json", JSON_TYPE, "", 400, "bad-json");
        expect_answer("POST /json", JSON_TYPE, "[1]", 400, "must be a JSON object");
        expect_answer("POST /json", JSON_TYPE, "{\"a\": 1, \"a\": 2}", 400, "bad-json");
        expect_answer("POST /json", JSON_TYPE, "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", 400, "nested deeper");
        expect_answer("POST /json", JSON_TYPE, "{\"a\": 1} x", 400, "bad-json");
        expect_answer("POST /json", FORM_TYPE, "field=x", 415, "content-type");
        expect_answer("POST /echo", "Content-Type: text/plain\r\n", "field=x", 415, "content-type");
        expect_answer("POST /echo", FORM_TYPE, "field=%f", 400, "bad-form");
        expect_answer("POST /echo", FORM_TYPE, "field=%00", 400, "bad-form");
        expect_answer("POST /echo", "Content-Type: multipart/form-data; boundary=B\r\n",
                      "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n1\r\n--B--\r\n", 400,
                      "Files");
}

static void rights_come_before_what_is_wrong_with_a_body(void **state _unused_)
{
        expect_answer("POST /secret", JSON_TYPE, "{", 401, "log-in");
        expect_answer("POST /secret", JSON_TYPE "Authorization: yes\r\n", "{", 400, "bad-json");
        expect_answer("GET /secret", "", NULL, 405, "Allow: POST");
}

/* A piece of `size` bytes as a body. */
static void send_large(const char *headers, size_t size, unsigned status)
{
        _cleanup_buf_ struct buf request = BUF_NULL, in = BUF_NULL;
        int fd = client_open(&server);
        buf_addf(&request, "POST /json HTTP/1.1\r\nHost: lab\r\n" JSON_TYPE "%s\r\n", headers);
        for (size_t i = 0; i < size; i++)
                buf_addc(&request, 'x');
        client_send_bytes(&server, fd, request.data, request.len);
        if (status) {
                client_expect(&server, fd, &in, "\r\n\r\n");
                assert_int_equal(answer_status(in.data), status);
                close(fd);
        } else {
                client_expect_close(&server, fd, &in);
        }
}

/* Each {} of a list would cost a hundred times its text. */
static void a_body_of_many_values_is_not_built(void **state _unused_)
{
        _cleanup_buf_ struct buf body = BUF_NULL;
        buf_adds(&body, "{\"a\":[{}");
        for (int i = 0; i < 50000; i++)
                buf_adds(&body, ",{}");
        buf_adds(&body, "]}");
        expect_answer("POST /echo", JSON_WANTED, buf_str(&body), 400, "JSON of more than 32768 values");
}

/* Uploads that never end take what all requests may have together; who sends little is served nevertheless. */
static void large_uploads_do_not_keep_small_ones_out(void **state _unused_)
{
        enum { UPLOADS = 66, SENT = 1 << 20 };
        _cleanup_buf_ struct buf in = BUF_NULL;
        char *zeros = xcalloc(1, SENT);
        int fds[UPLOADS];
        for (int i = 0; i < UPLOADS; i++) {
                fds[i] = client_open(&server);
                client_send(fds[i], "POST /echo HTTP/1.1\r\nHost: lab\r\nContent-Length: 1048576\r\n\r\n");
                client_send_bytes(&server, fds[i], zeros, SENT - 1);
        }
        client_send_bytes(&server, fds[UPLOADS - 1], zeros, 1);
        client_expect(&server, fds[UPLOADS - 1], &in, "503 ");
        expect_answer("POST /echo", JSON_WANTED, "{\"a\":1}", 200, "");
        for (int i = 0; i < UPLOADS; i++)
                close(fds[i]);
        free(zeros);
}

static void too_large_bodies_get_413_or_no_answer(void **state _unused_)
{
        send_large("Content-Length: 1001\r\n", 1001, 413);
        send_large("Content-Length: 500000\r\n", 500000, 413);
        send_large("Content-Length: 90000000\r\nExpect: 100-continue\r\n", 0, 413);
        _cleanup_buf_ struct buf chunks = BUF_NULL, in = BUF_NULL;
        int fd = client_open(&server);
        buf_adds(&chunks, "POST /json HTTP/1.1\r\nHost: lab\r\n" JSON_TYPE "Transfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 300; i++)
                buf_addf(&chunks, "2000\r\n%08192d\r\n", i);
        client_send_bytes(&server, fd, chunks.data, chunks.len);
        client_expect_close(&server, fd, &in);
}

static void a_chunked_body_is_read(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = client_open(&server);
        client_send(fd, "POST /json HTTP/1.1\r\nHost: lab\r\n" JSON_TYPE "Transfer-Encoding: chunked\r\n\r\n"
                        "a\r\n{\"field\": \r\n4\r\n\"x\"}\r\n0\r\n\r\n");
        client_expect(&server, fd, &in, "\"field\":\"x\"");
        close(fd);
}

static void continue_is_said_to_who_waits_for_it(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = client_open(&server);
        client_send(fd, "POST /json HTTP/1.1\r\nHost: lab\r\n" JSON_TYPE
                        "Content-Length: 14\r\nExpect: 100-continue\r\n\r\n");
        client_expect(&server, fd, &in, "100 Continue\r\n\r\n");
        client_send(fd, "{\"field\": \"x\"}");
        client_expect(&server, fd, &in, "\"field\":\"x\"");
        close(fd);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void a_connection_is_kept(void **state _unused_)
{
        int fd = client_open(&server);
        for (int i = 0; i < 3; i++) {
                _cleanup_buf_ struct buf in = BUF_NULL;
                client_send(fd, "GET /hello HTTP/1.1\r\nHost: lab\r\n\r\n");
                client_expect(&server, fd, &in, "\r\n\r\nhello");
        }
        for (int i = 0; i < 3; i++) {
                _cleanup_buf_ struct buf in = BUF_NULL;
                client_send(fd, "GET /later HTTP/1.1\r\nHost: lab\r\n\r\n");
                client_expect(&server, fd, &in, "\r\n\r\nlater");
        }
        _cleanup_buf_ struct buf refused = BUF_NULL, in = BUF_NULL;
        client_send(fd, "POST /nothing HTTP/1.1\r\nHost: lab\r\nContent-Length: 4\r\n\r\nbody");
        client_expect(&server, fd, &refused, "404");
        client_send(fd, "GET /hello HTTP/1.1\r\nHost: lab\r\n\r\n");
        client_expect(&server, fd, &in, "\r\n\r\nhello");
        assert_int_equal(http_server_connections(server.http), 1);
        close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = client_open(&server);
        client_send(fd, "GET /args/1 HTTP/1.1\r\nHost: lab\r\n\r\nGET /later HTTP/1.1\r\nHost: lab\r\n\r\n"
                        "POST /json HTTP/1.1\r\nHost: lab\r\n" JSON_TYPE "Content-Length: 13\r\n\r\n{\"field\":\"3\"}"
                        "GET /slow/json HTTP/1.1\r\nHost: lab\r\n\r\nGET /args/5 HTTP/1.1\r\nHost: lab\r\n\r\n");
        client_expect(&server, fd, &in, "{\"name\":\"5\"}");
        const char *one = strstr(in.data, "{\"name\":\"1\"}"), *two = strstr(in.data, "later");
        const char *three = strstr(in.data, "\"field\":\"3\""), *four = strstr(in.data, "{\"done\":true}");
        assert_true(one && two && three && four && one < two && two < three && three < four);
        close(fd);
}

static void a_request_in_pieces_is_put_together(void **state _unused_)
{
        static const char request[] = "POST /json HTTP/1.1\r\nHost: lab\r\n" JSON_TYPE
                                      "Content-Length: 13\r\n\r\n{\"field\":\"3\"}";
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = client_open(&server);
        for (size_t i = 0; i + 1 < sizeof request; i++) {
                assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
                server_turn(&server);
        }
        client_expect(&server, fd, &in, "\"field\":\"3\"");
        close(fd);
}

/* Each is cut by one reader in two requests and by another in one: nobody may be served behind it. */
static void ambiguous_framing_ends_the_connection(void **state _unused_)
{
        static const char *const heads[] = {
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                "Content-Length: 4\r\nContent-Length: 5\r\n",
                "Content-Length: 4\r\nContent-Length: 4\r\n",
                "Content-Length: +4\r\n",
                "Content-Length: 4 4\r\n",
                "Content-Length: -1\r\n",
                "Content-Length : 4\r\n",
                "Transfer-Encoding: xchunked\r\n",
                "Transfer-Encoding: gzip, chunked\r\n",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "Host: other\r\n",
                "Bad Name: 1\r\n",
                "X: a\x01b\r\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
                _cleanup_buf_ struct buf in = BUF_NULL;
                int fd = client_open(&server);
                _cleanup_free_ char *request = xasprintf("POST /json HTTP/1.1\r\nHost: lab\r\n" JSON_TYPE
                                                         "%s\r\n0\r\n\r\n"
                                                         "GET /args/smuggled HTTP/1.1\r\nHost: lab\r\n\r\n",
                                                         heads[i]);
                client_send(fd, request);
                client_expect_close(&server, fd, &in);
                if (strstr(buf_str(&in), "smuggled") || (in.len > 0 && answer_status(in.data) != 400))
                        fail_msg("%s: %s", heads[i], in.data);
        }
}

static void broken_requests_leave_the_server_well(void **state _unused_)
{
        static const char *const requests[] = {
                "\r\n\r\n",
                "GET\r\n\r\n",
                "GET /hello\r\n\r\n",
                "GET /hello HTTP/9.9\r\nHost: lab\r\n\r\n",
                "GET /hello HTTP/1.1\r\n\r\n",
                "\x16\x03\x01\x02\x01\r\n\r\n",
                "GET * HTTP/1.1\r\nHost: lab\r\n\r\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                int fd = client_open(&server);
                client_send(fd, requests[i]);
                for (int turn = 0; turn < 3; turn++)
                        server_turn(&server);
                close(fd);
        }
        _cleanup_buf_ struct buf head = BUF_NULL, in = BUF_NULL;
        int fd = client_open(&server);
        buf_adds(&head, "GET /hello HTTP/1.1\r\nHost: lab\r\nX: ");
        for (int i = 0; i < 100000; i++)
                buf_addc(&head, 'x');
        buf_adds(&head, "\r\n\r\n");
        client_send_bytes(&server, fd, head.data, head.len);
        client_expect_close(&server, fd, &in);
        expect_answer("GET /hello", "", NULL, 200, "hello");
}

static void a_closed_request_gets_no_answer(void **state _unused_)
{
        _cleanup_free_ char *answer = client_ask(&server, "GET /cut", "", NULL);
        assert_string_equal(answer, "");
}

static void many_connections_at_once(void **state _unused_)
{
        int fds[100];
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                fds[i] = client_open(&server);
                client_send(fds[i], i % 2 ? "GET /later HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"
                                          : "GET /events HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
        }
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                _cleanup_buf_ struct buf in = BUF_NULL;
                client_expect_close(&server, fds[i], &in);
                assert_int_equal(answer_status(buf_str(&in)), 200);
        }
        assert_int_equal(server.runs, ARRAY_SIZE(fds));
}

static void with_forty(struct http_options *options)
{
        options->connections_max = 40;
}

/* 40 less 6 for the command line and 11 for VMs' socket: a flood over TCP leaves these their descriptors. */
static void a_flood_takes_its_own_share_only(void **state _unused_)
{
        int fds[40];
        server_start(&server, with_forty);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = client_open(&server);
        while (http_server_connections(server.http) < 23)
                server_turn(&server);
        for (int i = 0; i < 20; i++)
                server_turn(&server);
        assert_int_equal(http_server_connections(server.http), 23);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                close(fds[i]);
        server_stop(&server);
}

/* --- unix sockets and proxies ------------------------------------------------------------------------------------- */

static int whoami_uid = -2;

static int whoami(struct task *t)
{
        whoami_uid = (int)request_peer_uid(t);
        return reply_json(t, 200,
                          json_pack("{s:i, s:s}", "listener", (int)request_listener(t), "address", request_address(t)));
}

static const struct http_route whoami_routes[] = {{"GET", "/", ROUTE_STEP(whoami)}, {0}};

static void with_whoami(struct http_options *options)
{
        static const char *const proxies[] = {"127.0.0.1", "10.0.0.2", NULL};
        options->routes = whoami_routes;
        options->authorize = NULL;
        options->trusted_proxies = proxies;
}

/* A client of the administrator's socket, which listens from now on. */
static int admin_client(void)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t len = sizeof address;
        _cleanup_error_ struct error error = ERROR_NULL;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)),
                         0); /* a name of the kernel's choice */
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
        listen(fd, 8);
        assert_int_equal(http_server_listen(server.http, fd, HTTP_ADMIN_SOCKET, &error), 0);
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(client, (struct sockaddr *)&address, len), 0);
        return client;
}

static void a_unix_socket_knows_its_peer(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        server_start(&server, with_whoami);
        int client = admin_client();
        client_send(client, "GET / HTTP/1.1\r\nHost: lab\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
        client_expect(&server, client, &in, "{\"listener\":1,\"address\":\"unix\"}");
        assert_int_equal(whoami_uid, getuid());
        close(client);
        server_stop(&server);
}

static unsigned websockets;

static void with_websockets(struct http_options *options)
{
        with_whoami(options);
        with_forty(options);
        options->websockets = &websockets;
}

/* Sockets that became WebSockets are no connections any more, and take the administrator's share all the same. */
static void websockets_leave_the_administrator_a_share(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL, none = BUF_NULL;
        websockets = 34;
        server_start(&server, with_websockets);
        int refused = client_open(&server);
        client_expect_close(&server, refused, &none);
        assert_int_equal(none.len, 0);
        int client = admin_client();
        client_send(client, "GET / HTTP/1.1\r\nHost: lab\r\n\r\n");
        client_expect(&server, client, &in, "{\"listener\":1,\"address\":\"unix\"}");
        close(client);
        server_stop(&server);
}

static void a_trusted_proxy_is_believed(void **state _unused_)
{
        server_start(&server, with_whoami);
        expect_answer("GET /", "", NULL, 200, "\"address\":\"127.0.0.1\"");
        expect_answer("GET /", "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n", NULL, 200, "\"address\":\"2.2.2.2\"");
        expect_answer("GET /", "X-Forwarded-For: 1.1.1.1, 10.0.0.2\r\n", NULL, 200, "\"address\":\"1.1.1.1\"");
        expect_answer("GET /", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: ::ffff:3.3.3.3\r\n", NULL, 200,
                      "\"address\":\"3.3.3.3\"");
        expect_answer("GET /", "X-Forwarded-For: 1.1.1.1, nonsense\r\n", NULL, 200, "\"address\":\"127.0.0.1\"");
        assert_int_equal(whoami_uid, -1);
        server_stop(&server);
}

static int quiet(void **state _unused_)
{
        log_setup("test", LOG_LEVEL_ERROR + 1);
        return 0;
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                SERVED(every_answer_carries_the_security_headers),
                SERVED(routes_are_found_on_the_raw_path),
                SERVED(wrong_methods_are_told_the_right_ones),
                SERVED(errors_come_as_they_were_asked_for),
                SERVED(a_page_has_a_json_twin),
                SERVED(a_redirect_names_its_target),
                SERVED(head_is_get_without_a_body),
                SERVED(query_and_cookies_are_read),
                SERVED(assets_are_compressed_known_and_plain),
                SERVED(bodies_are_parsed_by_their_type),
                SERVED(bad_bodies_are_refused),
                SERVED(rights_come_before_what_is_wrong_with_a_body),
                SERVED(a_body_of_many_values_is_not_built),
                SERVED(large_uploads_do_not_keep_small_ones_out),
                SERVED(too_large_bodies_get_413_or_no_answer),
                SERVED(a_chunked_body_is_read),
                SERVED(continue_is_said_to_who_waits_for_it),
                SERVED(a_connection_is_kept),
                SERVED(pipelined_requests_are_answered_in_order),
                SERVED(a_request_in_pieces_is_put_together),
                SERVED(ambiguous_framing_ends_the_connection),
                SERVED(broken_requests_leave_the_server_well),
                SERVED(a_closed_request_gets_no_answer),
                SERVED(many_connections_at_once),
                cmocka_unit_test(a_flood_takes_its_own_share_only),
                cmocka_unit_test(a_unix_socket_knows_its_peer),
                cmocka_unit_test(websockets_leave_the_administrator_a_share),
                cmocka_unit_test(a_trusted_proxy_is_believed),
        };
        return cmocka_run_group_tests(tests, quiet, NULL);
}

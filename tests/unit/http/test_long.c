/*
 * Requests that take their time: streams, readers that are too slow, clients that leave, deadlines, and a server that
 * stops while all of that goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>

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

static int ask(const char *path)
{
        int fd = client_open(&server);
        _cleanup_free_ char *request = xasprintf("GET %s HTTP/1.1\r\nHost: lab\r\n\r\n", path);
        client_send(fd, request);
        return fd;
}

/* Turns the loop until `*counter` reaches `wanted`. */
static void turn_until(const unsigned *counter, unsigned wanted)
{
        int64_t until = clock_ms() + PATIENCE_MS;
        while (*counter < wanted && clock_ms() < until)
                server_turn(&server);
        assert_int_equal(*counter, wanted);
}

/* The data of a chunked body. */
static void unchunk(const char *body, struct buf *out)
{
        for (;;) {
                char *end;
                unsigned long len = strtoul(body, &end, 16);
                if (len == 0)
                        return;
                buf_add(out, end + 2, len);
                body = end + 2 + len + 2;
        }
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

static void events_come_one_by_one(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = ask("/events");
        client_expect(&server, fd, &in, ": hello\n\n");
        assert_null(strstr(in.data, "event:"));
        client_expect(&server, fd, &in, "event: line\nid: 7\ndata: one\ndata: two\ndata: three\n\n");
        client_expect(&server, fd, &in, "event: end\ndata: \n\n");
        client_expect(&server, fd, &in, "\r\n0\r\n\r\n");
        assert_non_null(strstr(in.data, "Content-Type: text/event-stream"));
        assert_non_null(strstr(in.data, "Transfer-Encoding: chunked"));
        close(fd);
}

static void a_stream_keeps_its_connection(void **state _unused_)
{
        _cleanup_buf_ struct buf first = BUF_NULL, second = BUF_NULL;
        int fd = ask("/slow/json");
        client_expect(&server, fd, &first, "{\"done\":true}\r\n0\r\n\r\n");
        client_send(fd, "GET /slow/json HTTP/1.1\r\nHost: lab\r\n\r\n");
        client_expect(&server, fd, &second, "{\"done\":true}\r\n0\r\n\r\n");
        close(fd);
}

static void an_old_client_gets_a_stream_until_the_end(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = client_open(&server);
        client_send(fd, "GET /slow/json HTTP/1.0\r\n\r\n");
        client_expect_close(&server, fd, &in);
        assert_string_equal(strstr(in.data, "\r\n\r\n") + 4, " {\"done\":true}");
}

static void a_failure_in_a_stream_is_its_last_word(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = ask("/stream/fails");
        client_expect(&server, fd, &in, "\"code\":\"unavailable\"}\r\n0\r\n\r\n");
        assert_int_equal(answer_status(in.data), 200);
        close(fd);
}

static void a_big_stream_arrives_whole(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL, body = BUF_NULL;
        int fd = ask("/big");
        client_expect(&server, fd, &in, "\r\n0\r\n\r\n");
        unchunk(answer_body_of(in.data), &body);
        assert_int_equal(body.len, 50000 * 100);
        for (size_t i = 0; i < body.len; i++)
                if (body.data[i] != (char)('a' + i / 50000 % 26))
                        fail_msg("byte %zu is wrong", i);
        close(fd);
}

static void a_waiting_stream_does_not_spin(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = ask("/stream/waits"), turns = 0;
        client_expect(&server, fd, &in, "waiting");
        server_wait_sleeper(&server);
        for (int i = 0; i < 5; i++)
                server_turn(&server);
        /* An idle loop makes a turn each 10 ms, woken by the timer of the test; a spinning one makes thousands. */
        int64_t until = clock_ms() + 200;
        for (; clock_ms() < until; turns++)
                server_turn(&server);
        if (turns >= 200)
                fail_msg("%d turns", turns);
        server_wake(&server);
        client_expect(&server, fd, &in, "awake");
        close(fd);
}

static void a_slow_reader_is_cut_off(void **state _unused_)
{
        int small = 4096;
        int fd = ask("/flood");
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        turn_until(&server.freed, 1);
        assert_true(server.put > 1 << 20);
        turn_until(&server.freed, 1);
        int64_t until = clock_ms() + PATIENCE_MS;
        while (http_server_connections(server.http) > 0 && clock_ms() < until)
                server_turn(&server);
        assert_int_equal(http_server_connections(server.http), 0);
        close(fd);
}

static void a_reader_that_leaves_ends_its_stream(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = ask("/stream/waits");
        client_expect(&server, fd, &in, "waiting");
        close(fd);
        turn_until(&server.freed, 1);
        assert_null(server.sleeper);
}

/* --- waits -------------------------------------------------------------------------------------------------------- */

static void a_woken_request_is_answered(void **state _unused_)
{
        for (int i = 0; i < 3; i++) {
                _cleanup_buf_ struct buf in = BUF_NULL;
                int fd = ask("/wait");
                server_wait_sleeper(&server);
                server_wake(&server);
                client_expect(&server, fd, &in, "\r\n\r\nawake");
                close(fd);
        }
}

static void a_client_that_leaves_a_wait_is_noticed(void **state _unused_)
{
        static const char *const paths[] = {"/wait", "/forever"};
        for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
                int fd = ask(paths[i]);
                server_wait_sleeper(&server);
                close(fd);
                turn_until(&server.freed, i + 1);
                assert_null(server.sleeper);
        }
}

static void expect_connections(unsigned n)
{
        int64_t until = clock_ms() + PATIENCE_MS;
        while (http_server_connections(server.http) != n && clock_ms() < until)
                server_turn(&server);
        assert_int_equal(http_server_connections(server.http), n);
}

/* Also while one that is older, and better in libmicrohttpd's memory, stays. */
static void a_reader_that_leaves_takes_its_connection_along(void **state _unused_)
{
        _cleanup_buf_ struct buf old_in = BUF_NULL, in = BUF_NULL;
        int old = ask("/hello");
        client_expect(&server, old, &old_in, "hello");
        int fd = ask("/stream/waits");
        client_expect(&server, fd, &in, "waiting");
        server_wait_sleeper(&server);
        assert_int_equal(http_server_connections(server.http), 2);
        close(fd);
        expect_connections(1);
        close(old);
        expect_connections(0);
}

/* Before, within and after a request; the last bytes and the end come together. */
static void a_client_that_leaves_without_a_request_is_noticed(void **state _unused_)
{
        static const char *const words[] = {"", "GET", "GET /hello HTTP/1.1\r\nHos",
                                            "POST /json HTTP/1.1\r\nHost: lab\r\n"
                                            "Content-Length: 100\r\n\r\n{",
                                            "GET /hello HTTP/1.1\r\nHost: lab\r\n\r\nGET /h"};
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                int fd = client_open(&server);
                client_send(fd, words[i]);
                close(fd);
                int later = client_open(&server); /* takes the turn in which the other is accepted */
                server_turn(&server);
                client_send(later, words[i]);
                close(later);
                for (int turns = 0; turns < 5; turns++)
                        server_turn(&server);
                expect_connections(0);
        }
}

static void a_long_wait_is_watched_and_still_woken(void **state _unused_)
{
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = ask("/forever");
        server_wait_sleeper(&server);
        int64_t until = clock_ms() + 700; /* two ticks: its socket is watched by then */
        while (clock_ms() < until)
                server_turn(&server);
        server_wake(&server);
        client_expect(&server, fd, &in, "\r\n\r\nawake");
        close(fd);
}

static void with_short_deadline(struct http_options *options)
{
        options->deadline_ms = 300;
}

static void a_late_request_gets_503(void **state _unused_)
{
        server_start(&server, with_short_deadline);
        _cleanup_buf_ struct buf in = BUF_NULL, after = BUF_NULL;
        int fd = ask("/wait");
        client_expect(&server, fd, &in, "\"code\":\"deadline\"");
        assert_int_equal(answer_status(in.data), 503);
        assert_non_null(strstr(in.data, "Retry-After: 5"));
        assert_null(server.sleeper);
        client_send(fd, "GET /hello HTTP/1.1\r\nHost: lab\r\n\r\n");
        client_expect(&server, fd, &after, "hello");
        close(fd);
        server_stop(&server);
}

static void a_request_without_deadline_outlives_it(void **state _unused_)
{
        server_start(&server, with_short_deadline);
        _cleanup_buf_ struct buf in = BUF_NULL;
        int fd = ask("/forever");
        server_wait_sleeper(&server);
        int64_t until = clock_ms() + 900;
        while (clock_ms() < until)
                server_turn(&server);
        assert_non_null(server.sleeper);
        server_wake(&server);
        client_expect(&server, fd, &in, "awake");
        close(fd);
        server_stop(&server);
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

static void on_drained(void *userdata)
{
        ((struct server *)userdata)->drained = true;
}

static void turn_until_drained(void)
{
        int64_t until = clock_ms() + PATIENCE_MS;
        while (!server.drained && clock_ms() < until)
                server_turn(&server);
        assert_true(server.drained);
}

static void draining_lets_answers_finish_and_ends_waits(void **state _unused_)
{
        _cleanup_buf_ struct buf short_in = BUF_NULL, long_in = BUF_NULL, idle_in = BUF_NULL;
        int idle = ask("/hello");
        client_expect(&server, idle, &idle_in, "hello");
        int forever = ask("/forever");
        server_wait_sleeper(&server);
        int later = ask("/later");
        turn_until(&server.runs, 3);
        http_server_drain(server.http, 10000, on_drained, &server);
        client_expect_close(&server, later, &short_in);
        assert_non_null(strstr(buf_str(&short_in), "later"));
        assert_non_null(strstr(buf_str(&short_in), "Connection: close"));
        client_expect_close(&server, forever, &long_in);
        assert_int_equal(long_in.len, 0);
        client_expect_close(&server, idle, &idle_in);
        turn_until_drained();
        assert_int_equal(http_server_connections(server.http), 0);
}

static void draining_without_connections_is_done_at_once(void **state _unused_)
{
        http_server_drain(server.http, 10000, on_drained, &server);
        turn_until_drained();
}

static void draining_ends_after_its_grace(void **state _unused_)
{
        int fd = ask("/wait");
        server_wait_sleeper(&server);
        http_server_drain(server.http, 100, on_drained, &server);
        turn_until_drained();
        close(fd);
}

/* tear_down frees the server while all this is open. */
static void a_server_is_freed_with_everything_open(void **state _unused_)
{
        static const char *const paths[] = {"/forever", "/events", "/hello", "/flood", "/later", "/big"};
        int fds[2 * ARRAY_SIZE(paths)];
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = ask(paths[i % ARRAY_SIZE(paths)]);
        for (int i = 0; i < 5; i++)
                server_turn(&server);
        int half = client_open(&server);
        client_send(half, "POST /json HTTP/1.1\r\nHost: lab\r\nContent-Length: 100\r\n\r\n{");
        server_turn(&server);
        server_stop(&server);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                close(fds[i]);
        close(half);
        server_start(&server, NULL);
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
                SERVED(events_come_one_by_one),
                SERVED(a_stream_keeps_its_connection),
                SERVED(an_old_client_gets_a_stream_until_the_end),
                SERVED(a_failure_in_a_stream_is_its_last_word),
                SERVED(a_big_stream_arrives_whole),
                SERVED(a_waiting_stream_does_not_spin),
                SERVED(a_slow_reader_is_cut_off),
                SERVED(a_reader_that_leaves_ends_its_stream),
                SERVED(a_woken_request_is_answered),
                SERVED(a_client_that_leaves_a_wait_is_noticed),
                SERVED(a_client_that_leaves_without_a_request_is_noticed),
                SERVED(a_reader_that_leaves_takes_its_connection_along),
                SERVED(a_long_wait_is_watched_and_still_woken),
                cmocka_unit_test(a_late_request_gets_503),
                cmocka_unit_test(a_request_without_deadline_outlives_it),
                SERVED(draining_lets_answers_finish_and_ends_waits),
                SERVED(draining_without_connections_is_done_at_once),
                SERVED(draining_ends_after_its_grace),
                SERVED(a_server_is_freed_with_everything_open),
        };
        return cmocka_run_group_tests(tests, quiet, NULL);
}

/*
 * WebSocket: the format, case by case as RFC 6455 (and the public list of Autobahn's cases) has them, each fed whole and
 * byte by byte; and the socket, over a pair of them, on a loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/websocket.h"

#define PATIENCE_MS 60000

/* --- the format ---------------------------------------------------------------------------------------------------- */

/* What came of some bytes, as a text: "T(hello)." is a whole text, "B(..)" a piece of a binary message, "P()" a ping, "O()"
 * a pong, "C1000(bye)" a close, "!1002" a failed connection. Pieces that belong together are joined. */
static char *outcome(const void *bytes, size_t len, size_t step, bool masked, uint64_t max)
{
        struct ws_parser parser = {.masked = masked, .message_max = max};
        struct buf out = BUF_NULL;
        bool open = false;
        uint8_t *copy = xmemdup(bytes, len);
        for (size_t at = 0; at < len;) {
                struct ws_event event;
                size_t piece = MIN(step, len - at);
                ssize_t taken = ws_parse(&parser, copy + at, piece, &event);
                if (taken < 0) {
                        buf_addf(&out, "!%zd", -taken);
                        break;
                }
                assert_in_range(taken, 1, piece);
                at += (size_t)taken;
                if (event.kind == WS_EVENT_DATA && !open)
                        buf_adds(&out, event.text ? "T(" : "B(");
                if (event.kind == WS_EVENT_PING || event.kind == WS_EVENT_PONG)
                        buf_adds(&out, event.kind == WS_EVENT_PING ? "P(" : "O(");
                if (event.kind == WS_EVENT_CLOSE)
                        buf_addf(&out, "C%u(", event.code);
                if (event.len)
                        buf_add(&out, event.data, event.len);
                if (event.kind == WS_EVENT_DATA)
                        open = !event.end;
                if (event.kind != WS_EVENT_NONE && (event.kind != WS_EVENT_DATA || event.end))
                        buf_addc(&out, ')');
        }
        free(copy);
        return out.data ? buf_steal(&out) : xstrdup("");
}

static void expect_from(const char *wanted, const void *bytes, size_t len, bool masked, uint64_t max)
{
        for (size_t step = 1; step <= len; step = step < 4 ? step + 1 : step * 2 + 1) {
                _cleanup_free_ char *got = outcome(bytes, len, step, masked, max);
                assert_string_equal(got, wanted);
        }
        _cleanup_free_ char *got = outcome(bytes, len, len, masked, max);
        assert_string_equal(got, wanted);
}

/* `bytes` is a string constant. */
#define expect(wanted, bytes) expect_from(wanted, bytes, sizeof(bytes) - 1, false, 0)
#define expect_masked(wanted, bytes) expect_from(wanted, bytes, sizeof(bytes) - 1, true, 0)

static void frames(void **state _unused_)
{
        expect("T(Hello)", "\x81\x05Hello");
        expect_masked("T(Hello)", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        expect("B(Hello)", "\x82\x05Hello");
        expect("T(Hello)", "\x01\x03Hel\x80\x02lo");
        expect("T()", "\x81\x00");
        expect("T()", "\x01\x00\x00\x00\x80\x00");
        expect("T(abc)", "\x01\x01"
                         "a\x00\x01"
                         "b\x80\x01"
                         "c");
        expect("T(Hello)B(x)", "\x81\x05Hello\x82\x01x");
        expect("P(Hello)", "\x89\x05Hello");
        expect("O()P()", "\x8a\x00\x89\x00");
        expect("T(HelP(ping)lo)", "\x01\x03Hel\x89\x04ping\x80\x02lo"); /* control between fragments */
}

static void lengths(void **state _unused_)
{
        static const size_t sizes[] = {0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 200000};
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                for (int masked = 0; masked <= 1; masked++) {
                        _cleanup_buf_ struct buf frame = BUF_NULL, wanted = BUF_NULL;
                        uint8_t header[WS_HEADER_MAX];
                        _cleanup_free_ char *payload = xmalloc(sizes[i] + 1);
                        memset(payload, 'x', sizes[i]);
                        buf_add(&frame, header, ws_header(header, WS_BINARY, sizes[i], masked));
                        buf_add(&frame, payload, sizes[i]);
                        buf_adds(&wanted, "B(");
                        buf_add(&wanted, payload, sizes[i]);
                        buf_adds(&wanted, ")");
                        expect_from(buf_str(&wanted), frame.data, frame.len, masked, 0);
                }
        }
        expect("!1002", "\x82\x7e\x00\x7d"); /* not the shortest form */
        expect("!1002", "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff");
        expect("!1002", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"); /* 2^63 */
        expect("!1002", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
        expect("B(x", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffx"); /* 2^63 - 1 passes through in pieces */
        expect_from("!1009", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10, false, 4096);
        expect_from("B(abc)",
                    "\x82\x03"
                    "abc",
                    5, false, 3);
        expect_from("!1009",
                    "\x82\x04"
                    "abcd",
                    6, false, 3);
        expect_from("B(ab!1009",
                    "\x02\x02"
                    "ab\x80\x02"
                    "cd",
                    8, false, 3); /* of all fragments together */
}

static void what_is_refused(void **state _unused_)
{
        expect("!1002", "\xc1\x05Hello"); /* RSV1, 2, 3 */
        expect("!1002", "\xa1\x05Hello");
        expect("!1002", "\x91\x05Hello");
        expect("T(a)!1002", "\x81\x01"
                            "a\xf9\x00");
        expect("!1002", "\x83\x00"); /* reserved opcodes */
        expect("!1002", "\x87\x00");
        expect("!1002", "\x8b\x00");
        expect("!1002", "\x8f\x00");
        expect("!1002", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"); /* masked by a server */
        expect_masked("!1002", "\x81\x05Hello");                         /* unmasked by a client */
        expect("!1002", "\x09\x00");                                     /* fragmented control */
        expect("!1002", "\x08\x02\x03\xe8");
        expect("!1002", "\x89\x7e\x00\x7e"); /* long control */
        expect("!1002", "\x89\x7f\x00\x00\x00\x00\x00\x00\x00\x7e");
        expect("!1002", "\x80\x01"
                        "a"); /* a continuation of nothing */
        expect("!1002", "\x00\x01"
                        "a");
        expect("T(a)!1002", "\x81\x01"
                            "a\x80\x01"
                            "b");
        expect("T(a!1002", "\x01\x01"
                           "a\x81\x01"
                           "b"); /* another message inside of one */
        expect("T(a!1002", "\x01\x01"
                           "a\x02\x01"
                           "b");
}

static void closing(void **state _unused_)
{
        static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999};
        static const unsigned bad[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
        char frame[4] = "\x88\x02", wanted[16];
        expect("C1005()", "\x88\x00");
        expect("C1000(bye)", "\x88\x05\x03\xe8"
                             "bye");
        expect("!1002", "\x88\x01\x03");
        expect("!1007", "\x88\x05\x03\xe8\xce\xba\xe1");
        expect("!1007", "\x88\x03\x03\xe8\xce");
        expect("C1000()", "\x88\x02\x03\xe8\x81\x05Hello"); /* nothing counts behind it */
        for (size_t i = 0; i < ARRAY_SIZE(good) + ARRAY_SIZE(bad); i++) {
                bool is_good = i < ARRAY_SIZE(good);
                unsigned code = is_good ? good[i] : bad[i - ARRAY_SIZE(good)];
                frame[2] = (char)(code >> 8);
                frame[3] = (char)code;
                snprintf(wanted, sizeof wanted, is_good ? "C%u()" : "!1002", code);
                assert_int_equal(ws_code_valid(code), is_good);
                expect_from(wanted, frame, 4, false, 0);
        }
}

static void texts(void **state _unused_)
{
        static const char *const good[] = {"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
                                           "\xed\x9f\xbf",
                                           "\xee\x80\x80",
                                           "\xef\xbf\xbf",
                                           "\xf0\x90\x80\x80",
                                           "\xf4\x8f\xbf\xbf",
                                           "\xc2\x80",
                                           "\xe0\xa0\x80"};
        static const char *const bad[] = {"\x80",
                                          "\xbf",
                                          "\xc0\xaf",
                                          "\xc1\xbf",
                                          "\xe0\x80\xaf",
                                          "\xe0\x9f\xbf",
                                          "\xed\xa0\x80",
                                          "\xed\xbf\xbf",
                                          "\xf0\x80\x80\xaf",
                                          "\xf0\x8f\xbf\xbf",
                                          "\xf4\x90\x80\x80",
                                          "\xf5\x80\x80\x80",
                                          "\xfe",
                                          "\xff",
                                          "\xc2",
                                          "\xe1\xbd",
                                          "\xf0\x90\x80",
                                          "\xce\xba\xed\xa0\x80"
                                          "edited"};
        for (size_t i = 0; i < ARRAY_SIZE(good) + ARRAY_SIZE(bad); i++) {
                bool is_good = i < ARRAY_SIZE(good);
                const char *text = is_good ? good[i] : bad[i - ARRAY_SIZE(good)];
                char frame[64] = "\x81", wanted[64];
                size_t len = strlen(text);
                frame[1] = (char)len;
                memcpy(frame + 2, text, len);
                snprintf(wanted, sizeof wanted, "T(%s)", text);
                for (size_t step = 1; step <= len + 2; step++) {
                        _cleanup_free_ char *got = outcome(frame, len + 2, step, false, 0);
                        if (is_good)
                                assert_string_equal(got, wanted);
                        else
                                assert_non_null(strstr(got, "!1007"));
                }
        }
        expect("T(\xc3\xa9)", "\x01\x01\xc3\x80\x01\xa9"); /* a character over two fragments */
        expect("T(\xc3!1007", "\x01\x01\xc3\x80\x00");     /* ... that never ends */
        expect("B(\xff\xfe)", "\x82\x02\xff\xfe");
}

static void accepting(void **state _unused_)
{
        char out[WS_ACCEPT_LENGTH + 1];
        ws_accept("dGhlIHNhbXBsZSBub25jZQ==", out); /* RFC 6455, 1.3 */
        assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/* --- the socket ---------------------------------------------------------------------------------------------------- */

struct side {
        struct ws *ws;
        struct buf got;
        size_t bytes;
        unsigned code, idles;
        bool closed, echo;
        char reason[WS_REASON_MAX + 1];
};

static struct loop loop;
static struct side a, b;
static struct ws_set living;

static void on_data(struct ws *ws, const uint8_t *data, size_t len, bool text, bool end _unused_)
{
        struct side *side = ws_userdata(ws);
        side->bytes += len;
        if (side->got.len < 4096)
                buf_add(&side->got, data, MIN(len, (size_t)4096));
        if (side->echo)
                ws_send(ws, text ? WS_TEXT : WS_BINARY, data, len);
}

static void on_idle(struct ws *ws)
{
        ((struct side *)ws_userdata(ws))->idles++;
}

static void on_closed(struct ws *ws, unsigned code, const char *reason)
{
        struct side *side = ws_userdata(ws);
        side->closed = true;
        side->code = code;
        snprintf(side->reason, sizeof side->reason, "%s", reason);
        side->ws = NULL;
}

static const struct ws_handler handler = {.data = on_data, .idle = on_idle, .closed = on_closed};

static struct ws *open_limited(int fd, enum ws_side kind, struct side *side, const char *early, int64_t ping_ms,
                               int64_t stall_ms)
{
        fcntl(fd, F_SETFL, O_NONBLOCK);
        struct ws_options options = {.loop = &loop,
                                     .fd = fd,
                                     .side = kind,
                                     .handler = &handler,
                                     .userdata = side,
                                     .set = &living,
                                     .ping_ms = ping_ms,
                                     .stall_ms = stall_ms};
        return side->ws = ws_new(&options, early, early ? strlen(early) : 0);
}

static struct ws *open_side(int fd, enum ws_side kind, struct side *side, const char *early)
{
        return open_limited(fd, kind, side, early, 0, 0);
}

static int set_up(void **state _unused_)
{
        int pair[2];
        a = b = (struct side){0};
        loop_init(&loop);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        open_side(pair[0], WS_SERVER, &a, NULL);
        open_side(pair[1], WS_CLIENT, &b, NULL);
        return 0;
}

static int tear_down(void **state _unused_)
{
        if (a.ws)
                ws_drop(a.ws);
        if (b.ws)
                ws_drop(b.ws);
        buf_deinit(&a.got);
        buf_deinit(&b.got);
        loop_deinit(&loop);
        assert_int_equal(living.n, 0);
        return 0;
}

static void on_beat(uv_timer_t *timer _unused_)
{
}

static void turn_until(bool (*done)(void))
{
        int64_t deadline = clock_ms() + PATIENCE_MS;
        uv_timer_t beat; /* lets the loop look at the deadline */
        uv_timer_init(&loop.uv, &beat);
        uv_timer_start(&beat, on_beat, 50, 50);
        while (!done()) {
                assert_true(clock_ms() < deadline);
                uv_run(&loop.uv, UV_RUN_ONCE);
        }
        uv_close((uv_handle_t *)&beat, NULL);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
}

static bool five_came_back(void)
{
        return b.bytes == 5;
}

static bool both_closed(void)
{
        return living.n == 0;
}

static bool a_has_much(void)
{
        return ws_queued(a.ws) > 100000;
}

static bool all_arrived(void)
{
        return b.bytes == 4000000 && a.idles > 0;
}

static void an_echo_and_a_close(void **state _unused_)
{
        a.echo = true;
        ws_send(b.ws, WS_TEXT, "hello", 5);
        turn_until(five_came_back);
        assert_string_equal(buf_str(&b.got), "hello");
        struct ws *ws = STEAL(b.ws);
        ws_close(ws, 4003, "{\"code\":\"seat-ended\"}");
        turn_until(both_closed);
        assert_int_equal(a.code, 4003);
        assert_string_equal(a.reason, "{\"code\":\"seat-ended\"}");
        assert_false(b.closed); /* who ends it hears no more */
}

static void a_slow_peer_is_waited_for(void **state _unused_)
{
        _cleanup_free_ char *much = xcalloc(1, 4000000);
        ws_pause(b.ws, true);
        ws_send(a.ws, WS_BINARY, much, 4000000);
        turn_until(a_has_much);
        assert_int_equal(b.bytes, 0);
        ws_pause(b.ws, false);
        turn_until(all_arrived);
        assert_true(ws_idle(a.ws));
}

static void what_is_queued_goes_out_before_the_close(void **state _unused_)
{
        _cleanup_free_ char *much = xcalloc(1, 4000000);
        ws_send(a.ws, WS_BINARY, much, 4000000);
        ws_close(STEAL(a.ws), WS_CODE_NORMAL, NULL);
        turn_until(both_closed);
        assert_int_equal(b.bytes, 4000000);
        assert_int_equal(b.code, WS_CODE_NORMAL);
}

static void a_lost_peer(void **state _unused_)
{
        ws_drop(STEAL(a.ws));
        turn_until(both_closed);
        assert_true(b.closed);
        assert_int_equal(b.code, WS_CODE_ABNORMAL);
}

static int raw[2];

static bool raw_answered(void)
{
        char bytes[64];
        ssize_t n = recv(raw[0], bytes, sizeof bytes, MSG_DONTWAIT | MSG_PEEK);
        return n >= 4 && living.n <= 3;
}

/* A peer that breaks the rules is told why before the connection ends. */
static void a_rule_breaker_is_told(void **state _unused_)
{
        struct side c = {0};
        uint8_t bytes[64];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, raw), 0);
        open_side(raw[1], WS_SERVER, &c, "\x81\x05Hello and more that nobody reads");
        turn_until(raw_answered);
        assert_true(c.closed);
        assert_int_equal(c.code, WS_CODE_PROTOCOL);
        assert_int_equal(recv(raw[0], bytes, sizeof bytes, 0), 4);
        assert_memory_equal(bytes, "\x88\x02\x03\xea", 4);
        assert_int_equal(recv(raw[0], bytes, sizeof bytes, 0), 0);
        close(raw[0]);
        buf_deinit(&c.got);
        ws_drop(STEAL(a.ws));
        ws_drop(STEAL(b.ws));
        turn_until(both_closed);
}

static bool two_live(void)
{
        return living.n == 2;
}

/* One that answers no ping, and one that takes nothing of what waits for it. */
static void a_peer_that_stands_still_is_given_up(void **state _unused_)
{
        _cleanup_free_ char *much = xcalloc(1, 4000000);
        for (int takes_nothing = 0; takes_nothing < 2; takes_nothing++) {
                struct side c = {0};
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, raw), 0);
                open_limited(raw[1], WS_SERVER, &c, NULL, takes_nothing ? 0 : 20, takes_nothing ? 20 : 0);
                if (takes_nothing)
                        ws_send(c.ws, WS_BINARY, much, 4000000);
                turn_until(two_live);
                assert_true(c.closed);
                assert_int_equal(c.code, WS_CODE_ABNORMAL);
                close(raw[0]);
        }
}

static bool pong_came(void)
{
        char bytes[64];
        return recv(raw[0], bytes, sizeof bytes, MSG_DONTWAIT | MSG_PEEK) >= 6;
}

/* What came with the handshake is read first. */
static void early_bytes_come_first(void **state _unused_)
{
        struct side c = {0};
        uint8_t bytes[64];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, raw), 0);
        assert_int_equal(send(raw[0], "\x00\x00\x00\x00yz", 6, 0), 6);
        open_side(raw[1], WS_SERVER, &c,
                  "\x89\x84\x01\x01\x01\x01"
                  "abcd\x81\x82");
        turn_until(pong_came);
        assert_int_equal(recv(raw[0], bytes, sizeof bytes, 0), 6);
        assert_memory_equal(bytes, "\x8a\x04`cbe", 6);
        ws_drop(c.ws);
        close(raw[0]);
        assert_string_equal(buf_str(&c.got), "yz");
        buf_deinit(&c.got);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(frames),
                cmocka_unit_test(lengths),
                cmocka_unit_test(what_is_refused),
                cmocka_unit_test(closing),
                cmocka_unit_test(texts),
                cmocka_unit_test(accepting),
                cmocka_unit_test_setup_teardown(an_echo_and_a_close, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_slow_peer_is_waited_for, set_up, tear_down),
                cmocka_unit_test_setup_teardown(what_is_queued_goes_out_before_the_close, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_lost_peer, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_rule_breaker_is_told, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_peer_that_stands_still_is_given_up, set_up, tear_down),
                cmocka_unit_test_setup_teardown(early_bytes_come_first, set_up, tear_down),
        };
        return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}

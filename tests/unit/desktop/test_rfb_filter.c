/* The filter of a watching viewer: each message of the list, whole and byte by byte, and what ends the connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "desktop/rfb_filter.h"

#define START "RFB 003.008\n\1\1"

/* -1: ended. */
static int feed(const char *data, size_t len, size_t step, struct buf *out)
{
        struct rfb_filter filter = {0};
        for (size_t at = 0; at < len; at += step)
                if (!rfb_filter_client(&filter, (const uint8_t *)data + at, MIN(step, len - at), out))
                        return -1;
        return 0;
}

static void expect_bytes(const char *data, size_t len, const char *wanted, size_t wanted_len)
{
        for (size_t step = 1; step <= len; step = step < 8 ? step + 1 : step * 3) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                assert_int_equal(feed(data, len, step, &out), 0);
                assert_int_equal(out.len, wanted_len);
                assert_memory_equal(out.data, wanted, wanted_len);
        }
}

#define passes(message) expect_bytes(START message, sizeof(START message) - 1, START message, sizeof(START message) - 1)
#define becomes(message, wanted) \
        expect_bytes(START message, sizeof(START message) - 1, START wanted, sizeof(START wanted) - 1)
#define dropped(message) becomes(message "\3\1\0\0\0\0\1\0\1\0", "\3\1\0\0\0\0\1\0\1\0")

static void expect_end(const char *data, size_t len)
{
        for (size_t step = 1; step <= len; step++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                assert_int_equal(feed(data, len, step, &out), -1);
        }
}

#define ends(message) expect_end(START message, sizeof(START message) - 1)

static void what_a_picture_needs(void **state _unused_)
{
        passes("\0\0\0\0ffffffffffffffff");
        passes("\2\0\0\3\0\0\0\7\0\0\0\5\xff\xff\xff\x21");
        passes("\2\0\0\0");
        passes("\3\0\0\0\0\0\1\0\1\0");
        passes("\x96\1\0\0\0\0\1\0\1\0");
        passes("\xf8\0\0\0\0\0\0\1\0");
        passes("\xf8\0\0\0\0\0\0\1\4abcd");
        becomes("\2\0\0\2\xff\xff\xfe\xc4\0\0\0\7", "\2\0\0\2\0\0\0\0\0\0\0\7"); /* longer pointer events */
}

static void what_a_watcher_may_not(void **state _unused_)
{
        dropped("\4\1\0\0\0\0\0a");
        dropped("\5\1\0\1\0\1");
        dropped("\6\0\0\0\0\0\0\5hello");
        dropped("\6\0\0\0\0\0\0\0");
        dropped("\6\0\0\0\xff\xff\xff\xfbhello");
        dropped("\xfa\0\1\2");
        dropped("\xfb\0\1\0\1\0\1\0ssssssssssssssss");
        dropped("\xfb\0\1\0\1\0\0\0");
        dropped("\xff\0qqqqqqqqqq");
        dropped("\4\1\0\0\0\0\0a\5\1\0\1\0\1\4\0\0\0\0\0\0a");
}

static void what_ends_it(void **state _unused_)
{
        ends("\1");
        ends("\7");
        ends("\xfe");
        ends("\xff\1qqqqqqqqqq");
        ends("\2\0\xff\xff");
        ends("\xf8\0\0\0\0\0\0\1\x41");
        expect_end("RFB 003.003\n", 12);
        expect_end("GET / HTTP/1", 12);
        expect_end("RFB 003.008\n\2", 13);
}

/* A watcher that wants to be alone is made to share. */
static void nobody_is_put_out(void **state _unused_)
{
        expect_bytes("RFB 003.007\n\1\0", 14, "RFB 003.007\n\1\1", 14);
}

/* A clipboard of 2 GB is thrown away as it comes. */
static void long_texts_cost_nothing(void **state _unused_)
{
        static const uint8_t piece[65536];
        struct rfb_filter filter = {0};
        struct buf out = BUF_NULL;
        assert_true(rfb_filter_client(&filter, (const uint8_t *)START "\6\0\0\0\x7f\xff\xff\xff", 22, &out));
        buf_deinit(&out);
        for (uint64_t left = 0x7fffffff; left > 0;) {
                size_t n = (size_t)MIN(left, (uint64_t)sizeof piece);
                assert_true(rfb_filter_client(&filter, piece, n, &out));
                left -= n;
        }
        assert_int_equal(out.cap, 0);
        assert_true(rfb_filter_client(&filter, (const uint8_t *)"\3\1\0\0\0\0\1\0\1\0", 10, &out));
        assert_int_equal(out.len, 10);
        buf_deinit(&out);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_a_picture_needs),
                cmocka_unit_test(what_a_watcher_may_not),
                cmocka_unit_test(what_ends_it),
                cmocka_unit_test(nobody_is_put_out),
                cmocka_unit_test(long_texts_cost_nothing),
        };
        return cmocka_run_group_tests_name("rfb filter", tests, NULL, NULL);
}

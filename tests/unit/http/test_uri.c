/* Nothing that was encoded becomes structure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "http/internal.h"

static void expect_decoded(const char *text, enum uri_part part, const char *wanted)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        int r = uri_decode(text, strlen(text), part, &out);
        if (wanted) {
                assert_int_equal(r, 0);
                assert_string_equal(buf_str(&out), wanted);
        } else if (r != -EINVAL) {
                fail_msg("%s was taken as %s", text, buf_str(&out));
        }
}

static void what_is_encoded_is_decoded(void **state _unused_)
{
        expect_decoded("", URI_SEGMENT, "");
        expect_decoded("a%20b", URI_SEGMENT, "a b");
        expect_decoded("a+b", URI_SEGMENT, "a+b");
        expect_decoded("a+b", URI_QUERY, "a b");
        expect_decoded("%c3%A9", URI_SEGMENT, "\xc3\xa9");
        expect_decoded("a%2fb", URI_QUERY, "a/b");
        expect_decoded("..", URI_QUERY, "..");
        expect_decoded("...", URI_SEGMENT, "...");
        expect_decoded("%252e", URI_SEGMENT, "%2e");
}

static void what_is_hostile_is_refused(void **state _unused_)
{
        static const char *const segments[] = {"%", "%4",     "%zz", "%00", "a%2Fb",     "..",
                                               ".", "%2e%2E", "%ff", "%c3", "%ed%a0%80", "%c0%af"};
        for (size_t i = 0; i < ARRAY_SIZE(segments); i++)
                expect_decoded(segments[i], URI_SEGMENT, NULL);
        expect_decoded("%00", URI_QUERY, NULL);
        expect_decoded("%ff", URI_QUERY, NULL);
}

static void expect_segments(const char *path, int wanted)
{
        struct segments segments;
        int r = segments_split(path, &segments);
        if (wanted < 0)
                assert_int_equal(r, wanted);
        else
                assert_int_equal(segments.n, wanted);
        buf_deinit(&segments.text);
}

static void a_path_is_split_before_it_is_decoded(void **state _unused_)
{
        struct segments segments;
        assert_int_equal(segments_split("/a/b%20c/", &segments), 0);
        assert_int_equal(segments.n, 3);
        assert_string_equal(segment(&segments, 0), "a");
        assert_string_equal(segment(&segments, 1), "b c");
        assert_string_equal(segment(&segments, 2), "");
        buf_deinit(&segments.text);
        expect_segments("/", 0);
        expect_segments("//", 2);
        expect_segments("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", 16);
        expect_segments("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", -EINVAL);
        expect_segments("", -EINVAL);
        expect_segments("*", -EINVAL);
        expect_segments("a", -EINVAL);
        expect_segments("/a/../b", -EINVAL);
}

static void a_query_becomes_pairs(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL, bad = BUF_NULL;
        assert_int_equal(query_parse("a=1&&b&=c&d=%26=", &out), 0);
        static const char wanted[] = "a\0001\0b\0\0\0c\0d\0&=";
        assert_int_equal(out.len, sizeof wanted);
        assert_memory_equal(out.data, wanted, sizeof wanted);
        assert_int_equal(query_parse("a=%0", &bad), -EINVAL);
        assert_int_equal(query_parse("%00=1", &bad), -EINVAL);
}

static void weights_are_read(void **state _unused_)
{
        assert_int_equal(accept_weight(NULL, "gzip"), 0);
        assert_int_equal(accept_weight("", "gzip"), 0);
        assert_int_equal(accept_weight("gzip", "gzip"), 1000);
        assert_int_equal(accept_weight("br;q=1, GZIP ; q=0.5", "gzip"), 500);
        assert_int_equal(accept_weight("gzip;q=0", "gzip"), 0);
        assert_int_equal(accept_weight("gzip;q=0.001,x", "gzip"), 1);
        assert_int_equal(accept_weight("xgzip, gzipx, *", "gzip"), 0);
        assert_int_equal(accept_weight("text/html;level=1;q=0.25, application/json", "text/html"), 250);
        assert_int_equal(accept_weight("text/html;q=0.25, application/json", "application/json"), 1000);
        assert_int_equal(accept_weight(",,;,gzip", "gzip"), 1000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_encoded_is_decoded),
                cmocka_unit_test(what_is_hostile_is_refused),
                cmocka_unit_test(a_path_is_split_before_it_is_decoded),
                cmocka_unit_test(a_query_becomes_pairs),
                cmocka_unit_test(weights_are_read),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Strict readers: a value is taken whole or refused. */
#include "base/text.h"
#include "unit.h"

static void compares(void **state _unused_)
{
        assert_true(str_eq("a", "a"));
        assert_false(str_eq("a", "b"));
        assert_true(str_eq(NULL, NULL));
        assert_false(str_eq(NULL, ""));
        assert_true(str_starts("abc", "ab") && str_starts("abc", ""));
        assert_false(str_starts("ab", "abc"));
        assert_true(str_ends("abc", "bc") && str_ends("abc", ""));
        assert_false(str_ends("c", "bc"));
}

static void trims_and_lowers(void **state _unused_)
{
        char text[] = " \t a B \r\n", blank[] = " \n", empty[] = "", mixed[] = "AbZ\xc3\x84";
        assert_string_equal(str_trim(text), "a B");
        assert_string_equal(str_trim(blank), "");
        assert_string_equal(str_trim(empty), "");
        str_lower(mixed);
        assert_string_equal(mixed, "abz\xc3\x84");
}

static void splits(void **state _unused_)
{
        _cleanup_strv_ char **list = str_split(",a,,b", ','), **one = str_split("", ',');
        assert_string_equal(list[0], "");
        assert_string_equal(list[1], "a");
        assert_string_equal(list[2], "");
        assert_string_equal(list[3], "b");
        assert_null(list[4]);
        assert_string_equal(one[0], "");
        assert_null(one[1]);
}

/* RFC 3629, and the cases of section 10. */
static void knows_utf8(void **state _unused_)
{
        static const char *const good[] = {"",
                                           "a",
                                           "\xc2\x80",
                                           "\xdf\xbf",
                                           "\xe0\xa0\x80",
                                           "\xed\x9f\xbf",
                                           "\xef\xbf\xbf",
                                           "\xf0\x90\x80\x80",
                                           "\xf4\x8f\xbf\xbf"};
        static const char *const bad[] = {"\x80",
                                          "\xc0\x80",
                                          "\xc1\xbf",
                                          "\xe0\x9f\xbf",
                                          "\xed\xa0\x80",
                                          "\xf0\x8f\xbf\xbf",
                                          "\xf4\x90\x80\x80",
                                          "\xf5\x80\x80\x80",
                                          "\xff",
                                          "\xc2",
                                          "\xe2\x82",
                                          "\xf0\x9f\x98",
                                          "\xc2\x41"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(utf8_valid(good[i], strlen(good[i])));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (utf8_valid(bad[i], strlen(bad[i])))
                        fail_msg("case %zu is accepted", i);
        assert_true(utf8_valid("a\0b", 3));
}

static void scrubs(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        utf8_scrub("a\0\xff\xc3\xa4\xe2\x82", 7, &out);
        assert_string_equal(buf_str(&out), "a\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd");
        assert_true(utf8_valid(out.data, out.len));
}

static void cuts_between_characters(void **state _unused_)
{
        static const char text[] = "a\xc3\xa4\xf0\x9f\x98\x80z";
        static const size_t keep[] = {0, 1, 1, 3, 3, 3, 3, 7, 8};
        for (size_t max = 0; max < ARRAY_SIZE(keep); max++)
                assert_int_equal(utf8_cut(text, 8, max), keep[max]);
        assert_int_equal(utf8_cut(text, 8, 100), 8);
}

static void cutting_what_is_not_utf8_keeps_it(void **state _unused_)
{
        char bytes[100];
        memset(bytes, 0x80, sizeof bytes);
        assert_int_equal(utf8_cut(bytes, sizeof bytes, 50), 50);
}

static void reads_integers(void **state _unused_)
{
        int64_t n = 0;
        assert_int_equal(parse_int("42", 0, 100, &n), 0);
        assert_int_equal(n, 42);
        assert_int_equal(parse_int("-7", -10, 100, &n), 0);
        assert_int_equal(n, -7);
        assert_int_equal(parse_int("9223372036854775807", 0, INT64_MAX, &n), 0);
        assert_int_equal(parse_int("101", 0, 100, &n), -ERANGE);
        assert_int_equal(parse_int("-1", 0, 100, &n), -ERANGE);
        assert_int_equal(parse_int("9223372036854775808", 0, INT64_MAX, &n), -ERANGE);
        static const char *const bad[] = {"", " 1", "1 ", "1x", "x", "-", "+-1", "0x10", "1.0", "--1"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (parse_int(bad[i], INT64_MIN, INT64_MAX, &n) != -EINVAL)
                        fail_msg("\"%s\" is a number", bad[i]);
}

static void reads_reals(void **state _unused_)
{
        double d = 0;
        assert_int_equal(parse_double("1.5", &d), 0);
        assert_float_equal(d, 1.5, 0);
        assert_int_equal(parse_double("-2e3", &d), 0);
        assert_float_equal(d, -2000, 0);
        assert_int_equal(parse_double("1e999", &d), -ERANGE);
        assert_int_equal(parse_double("inf", &d), -ERANGE);
        assert_int_equal(parse_double("nan", &d), -ERANGE);
        static const char *const bad[] = {"", " 1", "1 ", "1,5", "0x10", "1p3", "x"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (parse_double(bad[i], &d) != -EINVAL)
                        fail_msg("\"%s\" is a number", bad[i]);
}

static void reads_booleans(void **state _unused_)
{
        bool b = false;
        assert_int_equal(parse_bool("YES", &b), 0);
        assert_true(b);
        assert_int_equal(parse_bool("off", &b), 0);
        assert_false(b);
        assert_int_equal(parse_bool("1", &b), 0);
        assert_true(b);
        assert_int_equal(parse_bool("", &b), -EINVAL);
        assert_int_equal(parse_bool("yes ", &b), -EINVAL);
}

static void reads_durations_and_sizes(void **state _unused_)
{
        static const struct {
                const char *text;
                int64_t value;
        } durations[] = {{"90", 90000},   {"90s", 90000},    {"5m", 300000},
                         {"2h", 7200000}, {"7d", 604800000}, {"250ms", 250}},
          sizes[] = {{"512", 512},       {"64K", 65536},    {"16MiB", 16 << 20},
                     {"2GB", 2LL << 30}, {"1t", 1LL << 40}, {"7B", 7}};
        int64_t n;
        for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
                assert_int_equal(parse_duration(durations[i].text, &n), 0);
                assert_int_equal(n, durations[i].value);
        }
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                assert_int_equal(parse_size(sizes[i].text, &n), 0);
                assert_int_equal(n, sizes[i].value);
        }
        static const char *const bad[] = {"", "s", "-1s", "1.5h", "5 m", "5x", "5mm"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                assert_int_equal(parse_duration(bad[i], &n), -EINVAL);
                assert_int_equal(parse_size(bad[i], &n), -EINVAL);
        }
        assert_int_equal(parse_duration("999999999999999999d", &n), -ERANGE);
        assert_int_equal(parse_duration("1234567890123456789", &n), -ERANGE);
        assert_int_equal(parse_size("99999999999T", &n), -ERANGE);
}

static void finds_the_nearest(void **state _unused_)
{
        static const char *const list[] = {"launch", "destroy", "status", "set", NULL};
        assert_string_equal(text_nearest("lunch", list), "launch");
        assert_string_equal(text_nearest("statsu", list), "status");
        assert_string_equal(text_nearest("destory", list), "destroy");
        assert_null(text_nearest("completely", list));
        assert_null(text_nearest("", list));
        assert_null(text_nearest("xyz", list));
        char far[200] = {0};
        memset(far, 'a', sizeof far - 1);
        assert_null(text_nearest(far, list));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(compares),
                cmocka_unit_test(trims_and_lowers),
                cmocka_unit_test(splits),
                cmocka_unit_test(knows_utf8),
                cmocka_unit_test(scrubs),
                cmocka_unit_test(cuts_between_characters),
                cmocka_unit_test(cutting_what_is_not_utf8_keeps_it),
                cmocka_unit_test(reads_integers),
                cmocka_unit_test(reads_reals),
                cmocka_unit_test(reads_booleans),
                cmocka_unit_test(reads_durations_and_sizes),
                cmocka_unit_test(finds_the_nearest),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

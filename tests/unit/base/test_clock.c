/* Times as people and databases write them: what is read prints the same again, what does not exist is refused. */
#include "base/clock.h"
#include "unit.h"

static double parsed(const char *text)
{
        double epoch = -1;
        if (clock_parse_iso(text, &epoch) != 0)
                fail_msg("%s is refused", text);
        return epoch;
}

static void reads_zones_and_fractions(void **state _unused_)
{
        assert_float_equal(parsed("1970-01-01T00:00:00Z"), 0, 1e-9);
        assert_float_equal(parsed("1970-01-01 00:00:01"), 1, 1e-9);
        assert_float_equal(parsed("1970-01-01t00:00:00z"), 0, 1e-9);
        assert_float_equal(parsed("1970-01-01T01:00:00+01:00"), 0, 1e-9);
        assert_float_equal(parsed("1970-01-01T01:00:00+01"), 0, 1e-9);
        assert_float_equal(parsed("1969-12-31T19:30:00-0430"), 0, 1e-9);
        assert_float_equal(parsed("1970-01-01T00:00:00.5Z"), 0.5, 1e-9);
        assert_float_equal(parsed("1970-01-01T00:00:00,250Z"), 0.25, 1e-9);
        assert_float_equal(parsed("1970-01-01T00:00:00.123456789012345678Z"), 0.123456789, 1e-9);
        assert_float_equal(parsed("2024-02-29T12:00:00Z"), 1709208000, 1e-9);
        assert_float_equal(parsed("1969-12-31T23:59:59.5Z"), -0.5, 1e-9);
}

static void refuses_the_rest(void **state _unused_)
{
        static const char *const texts[] = {
                "",
                "x",
                "2026-11-25",
                "2026-11-25T03:30",
                "2026-11-25T03:30:22Zx",
                "2026-11-25T03:30:22.Z",
                "2026-11-25T03:30:22+",
                "2026-11-25T03:30:22+01:",
                "2026-11-25T03:30:22+24:00",
                "2026-11-25T03:30:22+01:60",
                "2026-13-25T03:30:22Z",
                "2026-00-25T03:30:22Z",
                "2026-04-31T03:30:22Z",
                "2026-02-29T03:30:22Z",
                "1900-02-29T03:30:22Z",
                "2026-11-00T03:30:22Z",
                "2026-11-25T24:30:22Z",
                "2026-11-25T03:60:22Z",
                "2026-11-25T03:30:61Z",
                "26-11-25T03:30:22Z",
                "+026-11-25T03:30:22Z",
                " 2026-11-25T03:30:22Z",
        };
        double epoch;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (clock_parse_iso(texts[i], &epoch) != -EINVAL)
                        fail_msg("\"%s\" is accepted", texts[i]);
}

static void prints_what_it_read(void **state _unused_)
{
        char text[CLOCK_ISO_SIZE], expected[CLOCK_ISO_SIZE];
        for (int ms = 0; ms < 1000; ms++) {
                snprintf(expected, sizeof expected, "2026-11-25T03:30:22.%03dZ", ms);
                clock_iso(parsed(expected), text);
                assert_string_equal(text, expected);
                snprintf(expected, sizeof expected, "1969-12-31T23:59:59.%03dZ", ms);
                clock_iso(parsed(expected), text);
                assert_string_equal(text, expected);
        }
        clock_iso(0.9999, text);
        assert_string_equal(text, "1970-01-01T00:00:01.000Z");
        clock_iso(253402300799.9999, text);
        assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

static void prints_a_dash_for_no_time(void **state _unused_)
{
        static const double times[] = {1e300,          -1e300, 253402300800.0, -62167219200.0, __builtin_nan(""),
                                       __builtin_inf()};
        char text[CLOCK_ISO_SIZE];
        for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
                clock_iso(times[i], text);
                assert_string_equal(text, "-");
        }
}

static void goes_forward(void **state _unused_)
{
        int64_t before = clock_ms();
        clock_sleep_ms(20);
        assert_true(clock_ms() - before >= 20);
        clock_sleep_ms(-5);
        clock_sleep_ms(0);
        assert_true(clock_now() > 1.7e9);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_zones_and_fractions),
                cmocka_unit_test(refuses_the_rest),
                cmocka_unit_test(prints_what_it_read),
                cmocka_unit_test(prints_a_dash_for_no_time),
                cmocka_unit_test(goes_forward),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* CloudWatch's limits of a batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "aws/aws.h"

static void test_count(void **state _unused_)
{
        _cleanup_free_ struct aws_log_event *events = xcalloc(AWS_LOGS_EVENTS_MAX + 5, sizeof *events);
        for (size_t i = 0; i < AWS_LOGS_EVENTS_MAX + 5; i++)
                events[i] = (struct aws_log_event){.timestamp_ms = 5, .message = "a", .len = 1};
        assert_int_equal(aws_log_batch(events, 0), 0);
        assert_int_equal(aws_log_batch(events, 3), 3);
        assert_int_equal(aws_log_batch(events, AWS_LOGS_EVENTS_MAX + 5), AWS_LOGS_EVENTS_MAX);
}

static void test_bytes(void **state _unused_)
{
        struct aws_log_event events[5];
        for (size_t i = 0; i < 5; i++)
                events[i] = (struct aws_log_event){.len = AWS_LOGS_EVENT_MAX};
        assert_int_equal(aws_log_batch(events, 5), 4); /* 4 * 256 KB is exactly 1 MB */
        events[0].len++;
        assert_int_equal(aws_log_batch(events, 5), 3);
        assert_int_equal(aws_log_batch(events, 1), 1);
}

static void test_span(void **state _unused_)
{
        struct aws_log_event events[3] = {{.timestamp_ms = 1000}, {.timestamp_ms = 1000 + AWS_LOGS_SPAN_MS - 1}, {0}};
        events[2].timestamp_ms = 1000 + AWS_LOGS_SPAN_MS;
        assert_int_equal(aws_log_batch(events, 3), 2);
        assert_int_equal(aws_log_batch(events + 1, 2), 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_count), cmocka_unit_test(test_bytes),
                                           cmocka_unit_test(test_span)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

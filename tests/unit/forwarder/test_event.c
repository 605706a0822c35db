/* What CloudWatch Logs sends, and what it might. */
#include "pack.h"

#include <errno.h>
#include <string.h>

#include "forwarder/event.h"

#define HEAD "{\"messageType\":\"DATA_MESSAGE\",\"logGroup\":\"g\",\"logStream\":\"vm-1\",\"logEvents\":"

static int read_content(const char *content, struct log_event *event, struct error *error)
{
        _cleanup_free_ char *whole = pack_event(content);
        return log_event_read(whole, strlen(whole), event, error);
}

static void test_data(void **state _unused_)
{
        _cleanup_log_event_ struct log_event event = {0};
        assert_int_equal(read_content(HEAD "[{\"id\":\"1\",\"timestamp\":1731542400000,\"message\":\"a\"},"
                                           "{\"id\":\"2\",\"timestamp\":1,\"message\":\"\",\"extra\":{}}]}",
                                      &event, NULL),
                         0);
        assert_false(event.control);
        assert_string_equal(json_string_value(event.group), "g");
        assert_string_equal(json_string_value(event.stream), "vm-1");
        assert_int_equal(json_array_size(event.messages), 2);
        assert_string_equal(json_string_value(json_array_get(event.messages, 0)), "a");
        assert_int_equal(json_array_size(event.ids), 2);
        assert_string_equal(json_string_value(json_array_get(event.ids, 1)), "2");
}

static void test_ids(void **state _unused_)
{
        static const char *const without[] = {
                HEAD "[{\"message\":\"a\"},{\"id\":\"2\",\"message\":\"b\"}]}",
                HEAD "[{\"id\":\"1\",\"message\":\"a\"},{\"id\":\"\",\"message\":\"b\"}]}",
                HEAD
                "[{\"id\":\"1\",\"message\":\"a\"},{\"id\":2,\"message\":\"b\"},{\"id\":\"3\",\"message\":\"c\"}]}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
                _cleanup_log_event_ struct log_event event = {0};
                assert_int_equal(read_content(without[i], &event, NULL), 0);
                assert_null(event.ids);
                assert_true(json_array_size(event.messages) >= 2);
        }
}

static void test_probe(void **state _unused_)
{
        _cleanup_log_event_ struct log_event event = {0};
        assert_int_equal(read_content("{\"messageType\":\"CONTROL_MESSAGE\",\"logGroup\":\"\"}", &event, NULL), 0);
        assert_true(event.control);
}

static void test_mended(void **state _unused_)
{
        _cleanup_log_event_ struct log_event event = {0};
        assert_int_equal(read_content(HEAD "[{\"message\":\"\\ud800 \xff \xc3\xa9\"}]}", &event, NULL), 0);
        assert_string_equal(json_string_value(json_array_get(event.messages, 0)), "\xef\xbf\xbd \xef\xbf\xbd \xc3\xa9");
}

static const struct refused {
        const char *content, *word;
} refused[] = {
        {"", "no JSON"},
        {"[1,", "no JSON"},
        {"7", "logGroup"},
        {"{\"messageType\":7}", "messageType"},
        {"{\"messageType\":\"OTHER\"}", "messageType"},
        {"{\"messageType\":\"DATA_MESSAGE\",\"logStream\":\"s\",\"logEvents\":[]}", "logGroup"},
        {"{\"logGroup\":\"g\",\"logStream\":null,\"logEvents\":[]}", "logStream"},
        {"{\"logGroup\":\"g\",\"logStream\":\"s\"}", "logEvents"},
        {"{\"logGroup\":\"g\",\"logStream\":\"s\",\"logEvents\":{}}", "logEvents"},
        {HEAD "[7]}", "logEvents[0]"},
        {HEAD "[{\"message\":\"a\"},{\"message\":null}]}", "logEvents[1]"},
        {HEAD "[],\"logEvents\":[]}", "no JSON"},
};

static void test_refused(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                _cleanup_log_event_ struct log_event event = {0};
                _cleanup_error_ struct error error = ERROR_NULL;
                assert_int_equal(read_content(refused[i].content, &event, &error), -EINVAL);
                assert_non_null(strstr(error_text(&error), refused[i].word));
        }
}

static void test_no_event(void **state _unused_)
{
        static const char *const whole[] = {
                "",
                "x",
                "[]",
                "{}",
                "{\"awslogs\":7}",
                "{\"awslogs\":{}}",
                "{\"awslogs\":{\"data\":null}}",
                "{\"awslogs\":{\"data\":\"\"}}",
                "{\"awslogs\":{\"data\":\"=\"}}",
                "{\"awslogs\":{\"data\":\"H4sI\"}}",
                "{\"awslogs\":{\"data\":\"H4sI-_\"}}",
                "{\"awslogs\":{\"data\":\"H4sI\\u0000\"}}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
                _cleanup_log_event_ struct log_event event = {0};
                _cleanup_error_ struct error error = ERROR_NULL;
                assert_int_equal(log_event_read(whole[i], strlen(whole[i]), &event, &error), -EINVAL);
                assert_non_null(error.text);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_data),   cmocka_unit_test(test_ids),     cmocka_unit_test(test_probe),
                cmocka_unit_test(test_mended), cmocka_unit_test(test_refused), cmocka_unit_test(test_no_event),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

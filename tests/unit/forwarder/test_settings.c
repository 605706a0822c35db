/* API_ENDPOINT as people write it, and the other variables. */
#include "pack.h"

#include <errno.h>
#include <string.h>

#include "forwarder/settings.h"

static const struct endpoint {
        const char *text;
        bool token;
        const char *used; /* NULL: refused */
} endpoints[] = {
        {"lab.example.org/api/vm-logs", false, "http://lab.example.org/api/vm-logs"},
        {"lab.example.org/api/vm-logs", true, "https://lab.example.org/api/vm-logs"},
        {"lab.example.org", true, "https://lab.example.org/api/vm-logs"},
        {"lab.example.org/", false, "http://lab.example.org/api/vm-logs"},
        {"203.0.113.9:5000", false, "http://203.0.113.9:5000/api/vm-logs"},
        {"[2001:db8::1]:5000/api/vm-logs", false, "http://[2001:db8::1]:5000/api/vm-logs"},
        {"http://lab.example.org/api/vm-logs", true, "http://lab.example.org/api/vm-logs"},
        {"https://lab.example.org/prefix/api/vm-logs", false, "https://lab.example.org/prefix/api/vm-logs"},
        {"HTTPS://lab.example.org", false, "https://lab.example.org/api/vm-logs"},
        {"https://lab.example.org/api/vm-logs#x", false, "https://lab.example.org/api/vm-logs"},
        {"ftp://lab.example.org/", false, NULL},
        {"file:///etc/passwd", false, NULL},
        {"http://user:word@lab.example.org/", false, NULL},
        {"http://", false, NULL},
        {"a b", false, NULL},
        {"a\nb", false, NULL},
        {"host:port", false, NULL},
        {"host:99999", false, NULL},
};

static void test_endpoints(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                _cleanup_free_ char *used = settings_endpoint(endpoints[i].text, endpoints[i].token, &error);
                if (endpoints[i].used) {
                        assert_string_equal(used, endpoints[i].used);
                        continue;
                }
                assert_null(used);
                assert_int_equal(error.code, -EINVAL);
                assert_non_null(strstr(error_text(&error), "API_ENDPOINT"));
                assert_null(strstr(error_text(&error), "word"));
        }
}

static void test_variables(void **state _unused_)
{
        _cleanup_settings_ struct settings first = {0}, second = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        clearenv();
        assert_int_equal(settings_read("/nonexistent", &first, &error), -EINVAL);
        setenv("API_ENDPOINT", "h", 1);
        setenv("LABLINK_SECURITY_LOG_TOKEN", "secret", 1);
        setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001", 1);
        setenv("LAMBDA_TASK_ROOT", "/nonexistent", 1);
        assert_int_equal(settings_read("/nonexistent", &second, NULL), 0);
        assert_string_equal(second.endpoint, "https://h/api/vm-logs");
        assert_string_equal(second.token, "secret");
        assert_string_equal(second.runtime, "127.0.0.1:9001");
        assert_null(second.ca_file);
}

static void test_bad_token(void **state _unused_)
{
        static const char *const tokens[] = {"two words", "line\nfeed", "\xc3\xa9", "\x7f"};
        clearenv();
        setenv("API_ENDPOINT", "h", 1);
        for (size_t i = 0; i < ARRAY_SIZE(tokens); i++) {
                _cleanup_settings_ struct settings settings = {0};
                _cleanup_error_ struct error error = ERROR_NULL;
                setenv("LABLINK_SECURITY_LOG_TOKEN", tokens[i], 1);
                assert_int_equal(settings_read("", &settings, &error), -EINVAL);
                assert_null(strstr(error_text(&error), tokens[i]));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_endpoints),
                cmocka_unit_test(test_variables),
                cmocka_unit_test(test_bad_token),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

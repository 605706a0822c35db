/* Connection strings: what is put in comes out again, and no secret stays in what everybody may see. */
#include <errno.h>
#include <libpq-fe.h>
#include <string.h>

#include "base/text.h"
#include "db/conninfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_value(const char *conninfo, const char *keyword, const char *wanted)
{
        PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
        assert_non_null(options);
        for (const PQconninfoOption *option = options; option->keyword; option++)
                if (str_eq(option->keyword, keyword)) {
                        if (wanted)
                                assert_string_equal(option->val, wanted);
                        else
                                assert_null(option->val);
                }
        PQconninfoFree(options);
}

static void test_quoting(void **state _unused_)
{
        static const char *const values[] = {"plain", "two words", "it's", "back\\slash", "'", "\\'", "a=b c='d'"};
        for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                conninfo_add(&out, "host", "h");
                conninfo_add(&out, "dbname", values[i]);
                assert_value(buf_str(&out), "dbname", values[i]);
                assert_value(buf_str(&out), "host", "h");
        }
}

static void test_split(void **state _unused_)
{
        static const char *const whole[] = {"postgresql://ada:s%20ecret@db.example.org:6432/lab?sslmode=require",
                                            "host=db.example.org port=6432 user=ada password='s ecret' dbname=lab "
                                            "sslmode=require"};
        for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
                _cleanup_free_ char *open = NULL, *password = NULL, *only = NULL;
                assert_int_equal(conninfo_split(whole[i], &open, &password, NULL), 0);
                assert_string_equal(password, "s ecret");
                assert_null(strstr(open, "ecret"));
                assert_value(open, "user", "ada");
                assert_value(open, "port", "6432");
                assert_value(open, "sslmode", "require");
                assert_value(open, "password", NULL);
                assert_int_equal(conninfo_split(whole[i], &only, NULL, NULL), 0);
                assert_string_equal(only, open);
        }
}

static void test_refused(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *open = NULL, *password = NULL, *other = NULL;
        assert_int_equal(conninfo_split("password=canary nonsense", &open, &password, &error), -EINVAL);
        assert_null(strstr(error_text(&error), "canary"));
        assert_int_equal(conninfo_split("host=h sslpassword=canary", &other, &password, &error), -EINVAL);
        assert_non_null(strstr(error_text(&error), "sslpassword"));
        assert_null(strstr(other, "canary"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_quoting), cmocka_unit_test(test_split),
                                           cmocka_unit_test(test_refused)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What AWS answers, and what nobody but an attacker would. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "aws/internal.h"

static char *find(const char *xml, const char *name)
{
        return aws_xml_find(xml, strlen(xml), name);
}

static void test_find(void **state _unused_)
{
        _cleanup_free_ char *code = find(
                "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/"
                "2011-06-15/\"><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>a "
                "&lt;b&gt; &#228;</Message></Error></ErrorResponse>",
                "Code");
        assert_string_equal(code, "ExpiredToken");
        _cleanup_free_ char *message = find("<E><Message>a &lt;b&gt; &#228;</Message></E>", "Message");
        assert_string_equal(message, "a <b> \xc3\xa4");
        assert_null(find("<E><CodeX>1</CodeX></E>", "Code"));
}

static void add(void *userdata, const char *path, const char *value)
{
        buf_addf(userdata, "%s=%s;", path, value);
}

static void test_walk(void **state _unused_)
{
        static const char xml[] = "<a><b>1</b><c><b>2</b></c>end</a>";
        _cleanup_buf_ struct buf out = BUF_NULL;
        assert_int_equal(aws_xml_walk(xml, strlen(xml), add, &out), 0);
        assert_string_equal(buf_str(&out), "a/b=1;a/c/b=2;a/c=;a=end;");
}

static void test_refused(void **state _unused_)
{
        static const char *const bad[] = {"",
                                          "{}",
                                          "<a>",
                                          "<a></b>",
                                          "<a>\xff</a>",
                                          "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
                                          "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
                                          "<a>&x;</a>"};
        _cleanup_buf_ struct buf deep = BUF_NULL, out = BUF_NULL;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                assert_int_equal(aws_xml_walk(bad[i], strlen(bad[i]), add, &out), -EINVAL);
                assert_null(find(bad[i], "a"));
        }
        for (int i = 0; i < 1000; i++)
                buf_adds(&deep, "<a>");
        for (int i = 0; i < 1000; i++)
                buf_adds(&deep, "</a>");
        assert_int_equal(aws_xml_walk(deep.data, deep.len, add, &out), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_walk),
                                           cmocka_unit_test(test_refused)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Both encodings of a form, and what no browser sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "http/form.h"

#define URLENCODED "application/x-www-form-urlencoded"
#define MULTIPART "multipart/form-data; boundary=X"
#define PART(name, value) "--X\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static int parse(const char *type, const char *body, struct form **ret)
{
        return form_parse(type, body, strlen(body), ret, NULL);
}

static void expect_field(const char *type, const char *body, const char *name, const char *value)
{
        _cleanup_form_ struct form *form = NULL;
        int r = parse(type, body, &form);
        if (r < 0)
                fail_msg("refused: %s", body);
        if (value)
                assert_string_equal(form_get(form, name), value);
        else
                assert_null(form_get(form, name));
}

static void expect_refused(const char *type, const char *body, int code)
{
        _cleanup_form_ struct form *form = NULL;
        if (parse(type, body, &form) != code)
                fail_msg("not refused with %d: %s", code, body);
}

static void urlencoded_fields_are_read(void **state _unused_)
{
        expect_field(URLENCODED, "", "a", NULL);
        expect_field(URLENCODED, "a=1&b=two+words%21", "b", "two words!");
        expect_field(URLENCODED "; charset=UTF-8", "a=1&a=2", "a", "1");
        expect_field("APPLICATION/x-www-form-urlencoded", "&&a=&", "a", "");
        expect_field(URLENCODED, "a", "a", "");
        expect_field(URLENCODED, "a=b=c", "a", "b=c");
        expect_field(URLENCODED, "%61%20b=%c3%a9", "a b", "\xc3\xa9");
}

static void urlencoded_nonsense_is_refused(void **state _unused_)
{
        static const char *const bodies[] = {"a=%", "a=%0", "a=%zz", "a=%00", "%00=a", "a=%ff", "a=\xc3"};
        for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
                expect_refused(URLENCODED, bodies[i], -EINVAL);
}

static void multipart_fields_are_read(void **state _unused_)
{
        expect_field(MULTIPART, PART("a", "1") PART("b", "two\r\nlines") "--X--\r\n", "b", "two\r\nlines");
        expect_field(MULTIPART, PART("a", "") "--X--", "a", "");
        expect_field(MULTIPART, "preamble\r\n" PART("a", "1") "--X--\r\nepilogue", "a", "1");
        expect_field(MULTIPART, "--X--\r\n", "a", NULL);
        expect_field(MULTIPART,
                     "--X  \r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--X--",
                     "a", "1");
        expect_field(MULTIPART, PART("quo\\\"te", "1") "--X--", "quo\"te", "1");
        expect_field(MULTIPART, PART("a", "one --X is no delimiter") "--X--", "a", "one --X is no delimiter");
        expect_field("multipart/form-data; charset=utf-8; boundary=\"X Y\"",
                     "--X Y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X Y--", "a", "1");
}

static void multipart_nonsense_is_refused(void **state _unused_)
{
        static const char *const bodies[] = {
                "",
                "--X",
                "--X\r\n",
                "--Y\r\n",
                PART("a", "1"),
                "--X\r\n\r\n1\r\n--X--",
                "--X\r\nContent-Disposition: form-data\r\n\r\n1\r\n--X--",
                "--X\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--X--",
                "--X\r\nContent-Disposition: form-data; name=\"a\"; filename=\"\"\r\n\r\n1\r\n--X--",
                "--X\r\nContent-Disposition: form-data; name=\"a\"; filename*=UTF-8''b\r\n\r\n1\r\n--X--",
                "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n"
                "Content-Disposition: form-data; name=\"b\"\r\n\r\n1\r\n--X--",
                PART("a", "\xff") "--X--",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
                expect_refused(MULTIPART, bodies[i], -EINVAL);
        expect_refused("multipart/form-data", PART("a", "1") "--X--", -EINVAL);
        expect_refused("multipart/form-data; boundary=", PART("a", "1") "--X--", -EINVAL);
}

static void other_types_are_no_form(void **state _unused_)
{
        static const char *const types[] = {"", "text/plain", "application/json", "multipart/mixed; boundary=X",
                                            URLENCODED "x"};
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                expect_refused(types[i], "a=1", -ENOTSUP);
}

static void a_nul_is_refused(void **state _unused_)
{
        static const char body[] = PART("a", "x\0y") "--X--";
        _cleanup_form_ struct form *form = NULL;
        assert_int_equal(form_parse(MULTIPART, body, sizeof body - 1, &form, NULL), -EINVAL);
        assert_int_equal(form_parse(URLENCODED, "a=\0", 3, &form, NULL), -EINVAL);
}

static void limits_hold(void **state _unused_)
{
        _cleanup_buf_ struct buf many = BUF_NULL, large = BUF_NULL;
        for (int i = 0; i < 100; i++)
                buf_addf(&many, "%sf%d=x", i ? "&" : "", i);
        expect_field(URLENCODED, many.data, "f99", "x");
        buf_adds(&many, "&more=x");
        expect_refused(URLENCODED, many.data, -EINVAL);
        buf_adds(&large, "a=");
        for (int i = 0; i < 65536; i++)
                buf_addc(&large, 'x');
        _cleanup_form_ struct form *form = NULL;
        assert_int_equal(parse(URLENCODED, large.data, &form), 0);
        buf_addc(&large, 'x');
        expect_refused(URLENCODED, large.data, -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(urlencoded_fields_are_read),
                cmocka_unit_test(urlencoded_nonsense_is_refused),
                cmocka_unit_test(multipart_fields_are_read),
                cmocka_unit_test(multipart_nonsense_is_refused),
                cmocka_unit_test(other_types_are_no_form),
                cmocka_unit_test(a_nul_is_refused),
                cmocka_unit_test(limits_hold),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Templates: what they show, what they escape, and where they say that they are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "http/http.h"
#include "http/template.h"

static int render(const char *text, const char *model, struct buf *out, struct error *error)
{
        const struct http_template templates[] = {
                {"page", text},
                {"item", "<li>{{name}}</li>\n"},
                {"self", "{{#list}}{{>self}}{{/list}}"},
                {"endless", "x{{>endless}}"},
                {0},
        };
        _cleanup_json_ json_t *value = json_loads(model, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        return template_render(templates, "page", value, out, error);
}

static void expect(const char *text, const char *model, const char *wanted)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        if (render(text, model, &out, &error) < 0)
                fail_msg("%s: %s", text, error_text(&error));
        assert_string_equal(buf_str(&out), wanted);
}

static void expect_error(const char *text, const char *model, int code, const char *wanted)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(render(text, model, &out, &error), code);
        assert_int_equal(error.code, code);
        if (!strstr(error_text(&error), wanted))
                fail_msg("%s: %s", text, error_text(&error));
}

static void names_are_replaced_and_escaped(void **state _unused_)
{
        expect("", "{}", "");
        expect("no tag {", "{}", "no tag {");
        expect("{{a}}|{{ a }}", "{\"a\": \"<&>\\\"'\"}", "&lt;&amp;&gt;&quot;&#39;|&lt;&amp;&gt;&quot;&#39;");
        expect("{{{a}}}|{{&a}}", "{\"a\": \"<b>\"}", "<b>|<b>");
        expect("{{a}} {{b}} {{c}} {{d}}", "{\"a\": 1, \"b\": 2.5, \"c\": true, \"d\": null}", "1 2.5 true ");
        expect("[{{none}}][{{a.none}}][{{a.b.c}}]", "{\"a\": {\"b\": {\"c\": \"x\"}}}", "[][][x]");
        expect("{{a}}", "{\"a\": [1, \"<\"]}", "[1,&quot;&lt;&quot;]");
        expect("a{{! a comment\nof two lines }}b", "{}", "ab");
        expect("{{a}}", "[]", "");
}

static void sections_run_as_often_as_they_should(void **state _unused_)
{
        static const char text[] = "{{#a}}yes{{/a}}{{^a}}no{{/a}}";
        static const char *const truths[] = {"true", "{}", "\"x\"", "1", "-0.5", "[0]"};
        static const char *const lies[] = {"false", "null", "\"\"", "0", "0.0", "[]"};
        for (size_t i = 0; i < ARRAY_SIZE(truths); i++) {
                _cleanup_free_ char *yes = xasprintf("{\"a\": %s}", truths[i]), *no = xasprintf("{\"a\": %s}", lies[i]);
                expect(text, yes, "yes");
                expect(text, no, "no");
        }
        expect(text, "{}", "no");
        expect("{{#a}}{{.}},{{/a}}", "{\"a\": [1, \"<\", 3]}", "1,&lt;,3,");
        expect("{{#a}}{{x}}{{y}};{{/a}}", "{\"a\": [{\"x\": 1}, {\"x\": 2, \"y\": 3}], \"y\": 9}", "19;23;");
        expect("{{#a}}{{#b}}{{c}}{{/b}}{{/a}}", "{\"a\": {\"b\": {\"c\": \"deep\"}}}", "deep");
        expect("{{#a}}{{#a}}{{.}}{{/a}}{{/a}}", "{\"a\": true}", "true");
        expect("{{#a.b}}x{{/a.b}}", "{\"a\": {\"b\": [1, 2]}}", "xx");
}

static void lines_of_their_own_vanish(void **state _unused_)
{
        expect("<ul>\n  {{#a}}\n  <li>{{.}}\n  {{/a}}\n</ul>\n", "{\"a\": [1, 2]}", "<ul>\n  <li>1\n  <li>2\n</ul>\n");
        expect("a\n{{! x }}\nb", "{}", "a\nb");
        expect("a\n  {{#a}}  \r\nx\n{{/a}}", "{\"a\": 1}", "a\nx\n");
        expect("a {{#a}} b {{/a}} c\n", "{\"a\": 1}", "a  b  c\n");
        expect("{{#a}}\n{{/a}}\n", "{\"a\": 1}", "");
        expect("{{a}}\n", "{\"a\": 1}", "1\n");
}

static void partials_are_included(void **state _unused_)
{
        expect("<ul>{{#a}}{{>item}}{{/a}}</ul>", "{\"a\": [{\"name\": \"<x>\"}]}", "<ul><li>&lt;x&gt;</li>\n</ul>");
        expect("{{>self}}!", "{\"list\": []}", "!");
        expect_error("a\n{{>none}}", "{}", -ENOENT, "line 2");
}

static void wrong_templates_say_where(void **state _unused_)
{
        expect_error("\n\n{{a", "{}", -EINVAL, "page, line 3");
        expect_error("{{{a}}", "{}", -EINVAL, "not closed");
        expect_error("x\n{{#a}}", "{}", -EINVAL, "line 2: a section is not closed");
        expect_error("{{#a}}{{/b}}", "{}", -EINVAL, "another section");
        expect_error("{{/a}}", "{}", -EINVAL, "not open");
        expect_error("{{}}", "{}", -EINVAL, "needs a name");
        expect_error("{{#}}{{/}}", "{}", -EINVAL, "needs a name");
        expect_error("{{=<% %>=}}", "{}", -EINVAL, "delimiters");
        expect_error("{{>endless}}", "{}", -EINVAL, "too deep");
        expect_error("{{>self}}", "{\"list\": [1, 2, 3, 4, 5, 6, 7, 8]}", -EINVAL, "");
        _cleanup_buf_ struct buf out = BUF_NULL;
        const struct http_template none[] = {{0}};
        assert_int_equal(template_render(none, "page", NULL, &out, NULL), -ENOENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_are_replaced_and_escaped),
                cmocka_unit_test(sections_run_as_often_as_they_should),
                cmocka_unit_test(lines_of_their_own_vanish),
                cmocka_unit_test(partials_are_included),
                cmocka_unit_test(wrong_templates_say_where),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* JSON from strangers: the limits hold before anything is built, and whole means whole. */
#include "base/json.h"
#include "unit.h"

static json_t *read_text(const char *text)
{
        return json_read(text, strlen(text), NULL);
}

static void refused(const char *text, const char *part)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        json_t *value = json_read(text, strlen(text), &error);
        if (value)
                fail_msg("%s is accepted", text);
        assert_int_equal(error.code, -EINVAL);
        assert_contains(error_text(&error), part);
}

static void reads_any_value(void **state _unused_)
{
        static const char *const texts[] = {
                "{}", "[]", "1", "\"x\"", "null", "true", " {\"a\": [1, 2.5, \"\\u00e4\"]} \n"};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_json_ json_t *value = read_text(texts[i]);
                if (!value)
                        fail_msg("%s is refused", texts[i]);
        }
}

static void refuses_the_rest(void **state _unused_)
{
        refused("", "not valid JSON");
        refused("{", "not valid JSON");
        refused("{} x", "not valid JSON");
        refused("{\"a\": 1, \"a\": 2}", "not valid JSON");
        refused("{'a': 1}", "not valid JSON");
        refused("[1,]", "not valid JSON");
        refused("\"\xff\"", "not valid JSON");
        refused("\"\xed\xa0\x80\"", "not valid JSON");
        refused("NaN", "not valid JSON");
        refused("1e999", "not valid JSON");
        refused("99999999999999999999", "not valid JSON");
}

/* Mended and read, a string is what is expected; NULL: it is refused all the same. */
static void mends_to(const char *text, size_t len, const char *expected)
{
        _cleanup_buf_ struct buf mended = BUF_NULL;
        assert_int_equal(json_mend(text, len, SIZE_MAX, &mended), 0);
        _cleanup_json_ json_t *value = json_read(buf_str(&mended), mended.len, NULL);
        if (!expected)
                assert_null(value);
        else if (!json_is_string(value))
                fail_msg("%s is refused", buf_str(&mended));
        else
                assert_string_equal(json_string_value(value), expected);
}

static void mends_characters(void **state _unused_)
{
        static const struct {
                const char *text, *expected;
        } cases[] = {
                {"\"plain \\u00e4 \\n \\\\ \\\" \\/\"", "plain \xc3\xa4 \n \\ \" /"},
                {"\"\xff\"", "\xef\xbf\xbd"},
                {"\"\xc3\"", "\xef\xbf\xbd"},
                {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
                {"\"\\ud83d\"", "\xef\xbf\xbd"},
                {"\"\\ud83dx\"", "\xef\xbf\xbdx"},
                {"\"\\uDE00\"", "\xef\xbf\xbd"},
                {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
                {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                                       "A"},
                {"\"a\tb\x1b\"", "a\tb\x1b"},
                {" \n\"x\"", "x"},
                {"\"\\u12\"", NULL},
                {"\"\\x\"", NULL},
                {"\"\\", NULL},
                {"\"\\u", NULL},
                {"\"open", NULL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                mends_to(cases[i].text, strlen(cases[i].text), cases[i].expected);
        mends_to("\"a\0b\"", 5,
                 "a\xef\xbf\xbd"
                 "b");
}

static void nested(struct buf *out, int levels, char open, char shut)
{
        for (int i = 0; i < levels; i++)
                buf_addc(out, open);
        for (int i = 0; i < levels; i++)
                buf_addc(out, shut);
}

static void counts_depth(void **state _unused_)
{
        _cleanup_buf_ struct buf deepest = BUF_NULL, deeper = BUF_NULL, hostile = BUF_NULL;
        nested(&deepest, JSON_DEPTH_MAX, '[', ']');
        nested(&deeper, JSON_DEPTH_MAX + 1, '[', ']');
        nested(&hostile, 100000, '[', ']');
        _cleanup_json_ json_t *value = read_text(buf_str(&deepest));
        assert_non_null(value);
        refused(buf_str(&deeper), "nested deeper than 16");
        refused(buf_str(&hostile), "nested deeper than 16");
}

static void brackets_in_texts_do_not_count(void **state _unused_)
{
        _cleanup_json_ json_t *value = read_text("\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[[[[[[[[[[[\\\\\"");
        assert_non_null(value);
}

static void closing_first_buys_no_depth(void **state _unused_)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        for (int i = 0; i < 5000; i++)
                buf_addc(&text, ']');
        for (int i = 0; i < 5000; i++)
                buf_addc(&text, '[');
        refused(buf_str(&text), "not valid JSON");
}

static void counts_values(void **state _unused_)
{
        static const char *const texts[] = {"[1,2,3]", "{\"a\":1,\"b\":[]}", "[{},{}]", "[\",,,,,,\"]"};
        static const size_t values[] = {4, 4, 5, 2};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                _cleanup_json_ json_t *value = json_read_max(texts[i], strlen(texts[i]), values[i], &error);
                assert_non_null(value);
                assert_null(json_read_max(texts[i], strlen(texts[i]), values[i] - 1, &error));
                assert_contains(error_text(&error), "JSON of more than");
        }
}

/* Sixteen megabytes of control characters would be a hundred. */
static void mending_stops_where_it_grows_too_much(void **state _unused_)
{
        static const char text[] = "[\"\x01\x01\x01\x01\", \"b\"]";
        _cleanup_buf_ struct buf whole = BUF_NULL, cut = BUF_NULL;
        assert_int_equal(json_mend(text, strlen(text), 33, &whole), 0);
        assert_string_equal(buf_str(&whole), "[\"\\u0001\\u0001\\u0001\\u0001\", \"b\"]");
        assert_int_equal(json_mend(text, strlen(text), 32, &cut), -E2BIG);
}

static void nul_in_a_text_is_kept(void **state _unused_)
{
        _cleanup_json_ json_t *value = read_text("\"a\\u0000b\"");
        assert_non_null(value);
        assert_int_equal(json_string_length(value), 3);
}

static void writes_compact(void **state _unused_)
{
        _cleanup_json_ json_t *value = json_pack("{s:i, s:[s, n]}", "a", 1, "b", "x");
        _cleanup_free_ char *text = json_text(value);
        assert_string_equal(text, "{\"a\":1,\"b\":[\"x\",null]}");
        assert_null(json_get_string(value, "a"));
        assert_null(json_get_string(value, "missing"));
        assert_null(json_get_string(NULL, "a"));
        _cleanup_json_ json_t *names = json_pack("[s, i, s]", "a", 1, "b");
        assert_true(json_array_has(names, "b"));
        assert_false(json_array_has(names, "c") || json_array_has(names, "1") || json_array_has(NULL, "a"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_any_value),
                cmocka_unit_test(refuses_the_rest),
                cmocka_unit_test(mends_characters),
                cmocka_unit_test(counts_depth),
                cmocka_unit_test(brackets_in_texts_do_not_count),
                cmocka_unit_test(closing_first_buys_no_depth),
                cmocka_unit_test(counts_values),
                cmocka_unit_test(mending_stops_where_it_grows_too_much),
                cmocka_unit_test(nul_in_a_text_is_kept),
                cmocka_unit_test(writes_compact),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Rows for people and for programs. */
#include "cli/table.h"

#include "unit.h"

static char *printed(const struct table *table, bool as_json)
{
        FILE *out = tmpfile();
        char text[4096];
        assert_non_null(out);
        table_print(table, as_json, out);
        rewind(out);
        text[fread(text, 1, sizeof text - 1, out)] = '\0';
        fclose(out);
        return xstrdup(text);
}

static void columns_are_aligned(void **state _unused_)
{
        static const char *const heads[] = {"NAME", "IN USE", "SEAT", NULL};
        _cleanup_table_ struct table *table = table_new(heads);
        const char *const cells[] = {"a",  "yes", "somebody@example.org", "lablink-vm-1", NULL, "", "\xc3\xa4",
                                     "no", "x"};
        for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
                table_add(table, cells[i]);
        assert_int_equal(table_rows(table), 3);
        _cleanup_free_ char *text = printed(table, false), *json = printed(table, true);
        assert_string_equal(text, "NAME          IN USE  SEAT\n"
                                  "a             yes     somebody@example.org\n"
                                  "lablink-vm-1  -       -\n"
                                  "\xc3\xa4             no      x\n");
        assert_string_equal(json, "[{\"name\":\"a\",\"in_use\":\"yes\",\"seat\":\"somebody@example.org\"},"
                                  "{\"name\":\"lablink-vm-1\",\"in_use\":\"\",\"seat\":\"\"},"
                                  "{\"name\":\"\xc3\xa4\",\"in_use\":\"no\",\"seat\":\"x\"}]\n");
}

static void pairs_need_no_heads(void **state _unused_)
{
        _cleanup_table_ struct table *table = table_new(NULL);
        table_add(table, "Address");
        table_addf(table, "http://%s", "x");
        table_add(table, "VMs");
        table_add(table, "3");
        _cleanup_free_ char *text = printed(table, false), *json = printed(table, true);
        assert_string_equal(text, "Address  http://x\nVMs      3\n");
        assert_string_equal(json, "{\"Address\":\"http://x\",\"VMs\":\"3\"}\n");
}

static void no_rows(void **state _unused_)
{
        static const char *const heads[] = {"NAME", NULL};
        _cleanup_table_ struct table *table = table_new(heads);
        _cleanup_free_ char *text = printed(table, false), *json = printed(table, true);
        assert_string_equal(text, "NAME\n");
        assert_string_equal(json, "[]\n");
}

static void cells_move_no_cursor(void **state _unused_)
{
        _cleanup_table_ struct table *table = table_new(NULL);
        table_add(table, "e-mail");
        table_add(table, "a\x1b[2J\nb\xff\xe2\x80\xae");
        _cleanup_free_ char *text = printed(table, false), *json = printed(table, true);
        assert_string_equal(text, "e-mail  a\\x1b[2J\\x0ab\\xff\\u{202e}\n");
        assert_non_null(json);
}

static void json_values_become_words(void **state _unused_)
{
        _cleanup_json_ json_t *object = json_pack("{s:b, s:b, s:i, s:f, s:n, s:s, s:[i]}", "t", 1, "f", 0, "i", 7, "r",
                                                  1.25, "n", "s", "text", "a", 1);
        static const char *const keys[] = {"t", "f", "i", "r", "n", "s", "a", "missing"};
        _cleanup_table_ struct table *table = table_new(NULL);
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                table_add(table, keys[i]);
                table_add_json(table, object, keys[i]);
        }
        _cleanup_free_ char *text = printed(table, false);
        assert_string_equal(text, "t        yes\nf        no\ni        7\nr        1.2\nn        -\ns        text\n"
                                  "a        [1]\nmissing  -\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(columns_are_aligned),
                cmocka_unit_test(pairs_need_no_heads),
                cmocka_unit_test(no_rows),
                cmocka_unit_test(cells_move_no_cursor),
                cmocka_unit_test(json_values_become_words),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a file may not hold, each with its place. */
#include "lab_file.h"

#include <string.h>

#include "config/yaml.h"

static void read_text(const char *text, size_t len, struct buf *problems)
{
        struct yaml_node root;
        yaml_read("f", text, len, &root, problems);
        yaml_free(&root);
}

static const struct refused {
        const char *yaml, *place, *words;
} refused[] = {
        {"a: &x 1\n", "f:1:7: ", "anchors"},
        {"a: 1\nb: *x\n", "f:2:5: ", "aliases"},
        {"a: &x [&y {b: 1}]\n", "f:1:7: ", "anchors"},
        {"a: !!python/object x\n", "f:1:", "tags"},
        {"a: !x [1]\n", "f:1:", "tags"},
        {"<<: {a: 1}\n", "f:1:1: ", "merge keys"},
        {"a: 1\nb: 2\na: 3\n", "f:3:1: ", "\"a\" is already given in line 1"},
        {"x:\n  a: 1\n  'a': 2\n", "f:3:3: ", "\"a\" is already given in line 2"},
        {"a: 1\n---\nb: 2\n", "f:2:1: ", "more than one document"},
        {"a: \"\\0\"\n", "f:1:", "NUL"},
        {"a: [\n", "f:2:1: ", "flow sequence"},
        {"a: 'x\n", "f:1:", "quoted"},
        {"a: b: c\n", "f:1:5: ", "nested block mapping"},
        {"a:\n\tb: 1\n", "f:", ""},
        {"[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n", "f:1:17: ", "nested too deeply"},
        {"? [a]\n: b\n", "f:1:3: ", "a key must be a plain text"},
        {"? {a: b}\n: c\n", "f:1:3: ", "a key must be a plain text"},
        {"a: \xff\n", "f:1:1: ", "not UTF-8"},
        {"ok: 1\na: \xc0\x80\n", "f:2:1: ", "not UTF-8"},
        {"\xff\xfe", "f:1:1: ", "not UTF-8"},
        {"%YAML 9.9\n---\na: b\n", "f:1:1: ", ""},
};

static void refuses(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                _cleanup_buf_ struct buf problems = BUF_NULL;
                read_text(refused[i].yaml, strlen(refused[i].yaml), &problems);
                assert_problem(&problems, refused[i].place, refused[i].words);
        }
}

static void nul_is_refused(void **state)
{
        (void)state;
        _cleanup_buf_ struct buf problems = BUF_NULL;
        read_text("a: b\0c\n", 7, &problems);
        assert_problem(&problems, "f:1:1: ", "not UTF-8 text");
}

static void reads(void **state)
{
        (void)state;
        static const char text[] = "a: null\nb: 'null'\nc:\n- x\n- ~\nd: {e: |\n";
        static const char good[] = "a: null\nb: 'null'\nc:\n- x\n- ~\nd:\n  e: |\n    two\n    lines\n";
        _cleanup_buf_ struct buf problems = BUF_NULL;
        struct yaml_node root;
        read_text(text, strlen(text), &problems);
        assert_true(problems.len > 0);
        buf_truncate(&problems, 0);
        yaml_read("f", good, strlen(good), &root, &problems);
        assert_int_equal(problems.len, 0);
        assert_int_equal(root.kind, YAML_MAP);
        assert_int_equal(root.n, 4);
        assert_int_equal(root.items[0].kind, YAML_NULL);
        assert_int_equal(root.items[1].kind, YAML_SCALAR);
        assert_int_equal(root.items[2].kind, YAML_LIST);
        assert_string_equal(root.items[2].items[0].text, "x");
        assert_int_equal(root.items[2].items[1].kind, YAML_NULL);
        assert_string_equal(root.items[3].items[0].text, "two\nlines");
        assert_int_equal(root.items[3].items[0].key_line, 7);
        assert_int_equal(root.items[3].items[0].key_column, 3);
        yaml_free(&root);
}

/* Ends, whatever is written: none of these may take memory or stack without a limit. */
static void bombs(void **state)
{
        (void)state;
        static const char *const pieces[] = {"- ", "[", "{", "a: ", "? ", "{{a: ", "- a\n", "&a [", "*a ", "!x "};
        for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
                _cleanup_buf_ struct buf text = BUF_NULL, problems = BUF_NULL;
                while (text.len < 200000)
                        buf_adds(&text, pieces[i]);
                read_text(buf_str(&text), text.len, &problems);
                assert_true(problems.len > 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(refuses),
                cmocka_unit_test(nul_is_refused),
                cmocka_unit_test(reads),
                cmocka_unit_test(bombs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

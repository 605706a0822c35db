/* Secrets in every spelling that logs have them in. */
#include "place.h"

#include <string.h>

#include "client/mask.h"

static const struct masked {
        const char *line, *shown;
} masked[] = {
        {"start-host --code=4/0Abc --name=x", "start-host --code=*** --name=x"},
        {"--code=\"4/0Abc\" y", "--code=\"***\" y"},
        {"['start-host', '--code', '4/0Abc', '--name']", "['start-host', '--code', '***', '--name']"},
        {"--code 4/0Abc", "--code ***"},
        {"--code", "--code"},
        {"--code=", "--code="},
        {"again 4/0Secret-code!", "again ***!"},
        {"PIN 482913.", "PIN ***."},
        {"482913", "***"},
        {"14829131 and 4829130", "14829131 and 4829130"},
        {"x482913y", "x***y"},
        {"--code=a --code=b", "--code=*** --code=***"},
        {"", ""},
};

static void test_lines(void **state _unused_)
{
        struct mask mask = {0};
        mask_set(&mask, "4/0Secret-code", "482913");
        for (size_t i = 0; i < ARRAY_SIZE(masked); i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                mask_line(&mask, masked[i].line, strlen(masked[i].line), &out);
                assert_string_equal(buf_str(&out), masked[i].shown);
        }
        mask_deinit(&mask);
}

static void test_nothing_known(void **state _unused_)
{
        struct mask mask = {0};
        _cleanup_buf_ struct buf out = BUF_NULL;
        mask_line(&mask, "a\0b", 3, &out);
        assert_int_equal(out.len, 3);
        assert_memory_equal(out.data, "a\0b", 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_nothing_known)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

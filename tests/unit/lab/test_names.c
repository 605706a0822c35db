/* What a host name and a status may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lab/names.h"

static void host_names(void **state _unused_)
{
        char longest[HOSTNAME_MAX + 2];
        static const char *const good[] = {"a", "9", "VM-1", "lablink-vm-test-1", "a.b_c-d", "A0..--__"};
        static const char *const bad[] = {"",    "-a",  ".a",  "_a",   "a b", "a/b", "a\nb", "a%00", "\xc3\xa9",
                                          "a\\", "a;b", "a'b", "a\"b", "a$b", " a",  "a ",   "a:b",  "../a"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(hostname_valid(good[i]));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(hostname_valid(bad[i]));
        memset(longest, 'a', sizeof longest);
        longest[HOSTNAME_MAX] = '\0';
        assert_true(hostname_valid(longest));
        longest[HOSTNAME_MAX] = 'a';
        longest[HOSTNAME_MAX + 1] = '\0';
        assert_false(hostname_valid(longest));
}

static void statuses(void **state _unused_)
{
        static const char *const good[] = {"initializing", "running", "error", "available", "assigned", "unknown"};
        static const char *const bad[] = {"", "Running", "running ", "gone", "run", "unknown\n"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_true(status_valid(good[i]));
                assert_non_null(strstr(STATUS_WORDS, good[i]));
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(status_valid(bad[i]));
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(host_names), cmocka_unit_test(statuses)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

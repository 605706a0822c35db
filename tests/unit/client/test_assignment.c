/* What a waiting VM may be told, and what of it is ever carried out. */
#include "place.h"

#include <string.h>

#include "base/token.h"
#include "client/assignment.h"

static const struct pasted {
        const char *command, *code; /* NULL: refused */
} pasted[] = {
        {"start-host --code=4/0AbcdEFGH_ij-k", "4/0AbcdEFGH_ij-k"},
        {"start-host --code 4/0AbcdEFGH_ij-k --name=x", "4/0AbcdEFGH_ij-k"},
        {"--code=\"4/0AbcdEFGH\"", "4/0AbcdEFGH"},
        {"--code='4/0AbcdEFGH'", "4/0AbcdEFGH"},
        {"--code=\xe2\x80\x9c"
         "4/0AbcdEFGH\xe2\x80\x9d",
         "4/0AbcdEFGH"},
        {"--code \xe2\x80\x98"
         "4/0AbcdEFGH\xe2\x80\x99",
         "4/0AbcdEFGH"},
        {"--code=first_one_0 --code=last_one_00", "last_one_00"},
        {"\t--code=4/0AbcdEFGH\n", "4/0AbcdEFGH"},
        {"--code=aaaaaaaaaa", "aaaaaaaaaa"},
        {"--code=aaaaaaaaa", NULL},
        {"--code=''4/0AbcdEFGH''", NULL},
        {"--code=\"4/0AbcdEFGH'", NULL},
        {"--code=$(reboot)aaaaaaa", NULL},
        {"--code=aaaaaaaaaa;reboot", NULL},
        {"--code=`id`aaaaaaaaaa", NULL},
        {"--code=4%2F0AbcdEFGHij", NULL},
        {"--code=aaaaaaaaaa\xc3\xa9", NULL},
        {"--codex=aaaaaaaaaa", NULL},
        {"code=aaaaaaaaaaa", NULL},
        {"--code", NULL},
        {"--code=aaaaaaaaaa --code", NULL},
        {"", NULL},
};

static void test_code(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(pasted); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                _cleanup_free_ char *code = crd_code(pasted[i].command, &error);
                if (pasted[i].code)
                        assert_string_equal(code, pasted[i].code);
                else
                        assert_null(code);
                assert_int_equal(error.code != 0, !pasted[i].code);
        }
}

static void test_code_length(void **state _unused_)
{
        char command[600] = "--code=";
        memset(command + 7, 'a', 513);
        assert_null(crd_code(command, NULL));
        command[7 + 512] = '\0';
        _cleanup_free_ char *code = crd_code(command, NULL);
        assert_int_equal(strlen(code), 512);
}

static void test_pin(void **state _unused_)
{
        assert_true(pin_valid("123456"));
        assert_true(pin_valid("1234567890"));
        assert_false(pin_valid("12345"));
        assert_false(pin_valid("12345678901"));
        assert_false(pin_valid("12345\n"));
        assert_false(pin_valid(" 123456"));
        assert_false(pin_valid(""));
}

static enum assignment_kind read_text(const char *text, struct assignment *out)
{
        return assignment_read(text, strlen(text), "vm-1", out, NULL);
}

static void test_good(void **state _unused_)
{
        _cleanup_assignment_ struct assignment a;
        assert_int_equal(
                read_text("{\"status\":\"success\",\"hostname\":\"vm-1\",\"email\":\"a@b.c\",\"pin\":\"123456\","
                          "\"command\":\"x --code=4/0AbcdEFGH\",\"generation\":7,\"more\":[1]}",
                          &a),
                ASSIGNMENT_GOOD);
        assert_int_equal(a.generation, 7);
        assert_string_equal(a.code, "4/0AbcdEFGH");
        assert_string_equal(a.pin, "123456");
        assert_int_equal(strlen(a.fingerprint), 64);
}

static void test_deployed(void **state _unused_)
{
        _cleanup_assignment_ struct assignment a;
        assert_int_equal(
                read_text("{\"status\":\"success\",\"pin\":\"123456\",\"command\":\"x --code=4/0AbcdEFGH\"}", &a),
                ASSIGNMENT_GOOD);
        assert_int_equal(a.generation, 0);
}

static void test_refused(void **state _unused_)
{
        _cleanup_assignment_ struct assignment a;
        _cleanup_error_ struct error error = ERROR_NULL;
        const char *text =
                "{\"status\":\"success\",\"pin\":\"123456\",\"command\":\"--code=$(secret)aaaaaaa\",\"generation\":3}";
        assert_int_equal(assignment_read(text, strlen(text), "vm-1", &a, &error), ASSIGNMENT_REFUSED);
        assert_int_equal(a.generation, 3);
        assert_null(a.code);
        assert_null(strstr(error_text(&error), "secret"));
}

static void test_garbage(void **state _unused_)
{
        static const char *const texts[] = {
                "",
                "nonsense",
                "[]",
                "{}",
                "{\"status\":\"error\"}",
                "{\"status\":\"success\"}",
                "{\"status\":\"success\",\"pin\":\"123456\"}",
                "{\"status\":\"success\",\"pin\":123456,\"command\":\"--code=4/0AbcdEFGH\"}",
                "{\"status\":\"success\",\"pin\":\"123456\",\"command\":\"--code=4/0AbcdEFGH\",\"hostname\":\"vm-2\"}",
                "{\"status\":\"success\",\"pin\":\"123456\",\"command\":\"--code=4/0AbcdEFGH\",\"generation\":0}",
                "{\"status\":\"success\",\"pin\":\"123456\",\"command\":\"--code=4/0AbcdEFGH\",\"generation\":\"1\"}",
                "{\"status\":\"success\",\"pin\":\"123456\",\"command\":\"--code=4/0Abcd\\u0000EFGH\"}",
                "{\"status\":\"success\",\"pin\":\"123456\",\"command\":\"--code=4/0AbcdEFGH\"} x",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_assignment_ struct assignment a;
                assert_int_equal(read_text(texts[i], &a), ASSIGNMENT_GARBAGE);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_code),    cmocka_unit_test(test_code_length), cmocka_unit_test(test_pin),
                cmocka_unit_test(test_good),    cmocka_unit_test(test_deployed),    cmocka_unit_test(test_refused),
                cmocka_unit_test(test_garbage),
        };
        token_init();
        return cmocka_run_group_tests(tests, NULL, NULL);
}

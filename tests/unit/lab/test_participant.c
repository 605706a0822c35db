/* What a stranger hands in: e-mail addresses, Chrome Remote Desktop commands, and what is masked in logs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lab/participant.h"

#define REBUILT(code) \
        "DISPLAY= /opt/google/chrome-remote-desktop/start-host --code=" code \
        " --redirect-url=https://remotedesktop.google.com/_/oauthredirect"

static void good_emails(void **state _unused_)
{
        static const char *const pairs[][2] = {
                {"a@b", "a@b"},
                {"  Ann.Example@Example.ORG\r\n", "ann.example@example.org"},
                {"o'hara+lab@example.org", "o'hara+lab@example.org"},
                {"M\xc3\x9cLLER@example.org", "m\xc3\x9cller@example.org"}, /* ASCII letters only */
                {"\"<script>\"@example.org", "\"<script>\"@example.org"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                _cleanup_free_ char *email = NULL;
                assert_int_equal(participant_email(pairs[i][0], &email, NULL), 0);
                assert_string_equal(email, pairs[i][1]);
        }
}

static void bad_emails(void **state _unused_)
{
        static const char *const bad[] = {"",        "   ",    "a",      "@b",          "a@",
                                          "a@b@c",   "a b@c",  "a@b\tc", "a\n@b",       "a@b\x7f",
                                          "a\x01@b", "\xff@b", "@",      "a@b\xc0\x80", "@@"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                char *email = NULL;
                assert_int_equal(participant_email(bad[i], &email, &error), -EINVAL);
                assert_null(email);
                assert_true(strlen(error_text(&error)) > 10);
        }
}

static void the_longest_email(void **state _unused_)
{
        char text[EMAIL_MAX + 2];
        char *email = NULL;
        memset(text, 'a', sizeof text);
        text[1] = '@';
        text[EMAIL_MAX] = '\0';
        assert_int_equal(participant_email(text, &email, NULL), 0);
        free(email);
        text[EMAIL_MAX] = 'a';
        text[EMAIL_MAX + 1] = '\0';
        assert_int_equal(participant_email(text, &email, NULL), -EINVAL);
}

static void good_commands(void **state _unused_)
{
        static const char *const pairs[][2] = {
                {"DISPLAY= /opt/google/chrome-remote-desktop/start-host --code=\"4/0AVMBsJ_x-9\" "
                 "--redirect-url=\"https://remotedesktop.google.com/_/oauthredirect\" --name=$(hostname)",
                 "4/0AVMBsJ_x-9"},
                {"--code=4/0123456789", "4/0123456789"},
                {"--code 4/0123456789", "4/0123456789"},
                {"--code   '4/0123456789' --pin=1", "4/0123456789"},
                {"--code=\xe2\x80\x9c"
                 "4/0123456789\xe2\x80\x9d",
                 "4/0123456789"},
                {"--code=\xe2\x80\x98"
                 "4/0123456789\xe2\x80\x99",
                 "4/0123456789"},
                {"--code=4/first00000 --code=4/second0000", "4/second0000"},
                {"x --codec=no --code=4/0123456789", "4/0123456789"},
                {"--code=4/0123456789; rm -rf / --code=4/0123456789", "4/0123456789"},
                {"--code=4/0123456789\n", "4/0123456789"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                _cleanup_free_ char *command = NULL;
                if (participant_command(pairs[i][0], &command, &error) < 0)
                        fail_msg("%s: %s", pairs[i][0], error_text(&error));
                _cleanup_free_ char *wanted = xasprintf(REBUILT("%s"), pairs[i][1]);
                assert_string_equal(command, wanted);
        }
}

static void bad_commands(void **state _unused_)
{
        static const char *const bad[] = {
                "",
                "start-host",
                "--code",
                "--code=",
                "--code=4/short",
                "--code=4%2F0123456789abc",
                "--code=4/0123456789;reboot",
                "--code=$(reboot)aaaaaaaaaa",
                "--code=`reboot`aaaaaaaaaa",
                "--code=\"4/0123456789\n reboot\"",
                "--code=\"4/0123456789",
                "--code='4/0123456789\"",
                "-code=4/0123456789",
                "x--code=4/0123456789",
                "--code=4/0123456789 --code=",
                "--code=4/0123456789\xc3\xa9",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                char *command = NULL;
                if (participant_command(bad[i], &command, &error) != -EINVAL)
                        fail_msg("%s was taken: %s", bad[i], command);
                assert_null(command);
                assert_true(strlen(error_text(&error)) > 10);
        }
}

static void lengths_of_codes(void **state _unused_)
{
        for (int len = CRD_CODE_MIN - 1; len <= CRD_CODE_MAX + 1; len++) {
                char text[CRD_CODE_MAX + 32] = "--code=";
                memset(text + 7, 'a', (size_t)len);
                char *command = NULL;
                int r = participant_command(text, &command, NULL);
                assert_int_equal(r, len < CRD_CODE_MIN || len > CRD_CODE_MAX ? -EINVAL : 0);
                free(command);
        }
        _cleanup_free_ char *huge = xmalloc(9001);
        memset(huge, 'a', 9000);
        huge[9000] = '\0';
        char *command = NULL;
        assert_int_equal(participant_command(huge, &command, NULL), -EINVAL);
}

static void codes_in_logs(void **state _unused_)
{
        static const char *const pairs[][2] = {
                {"nothing here", "nothing here"},
                {"--code=4/0AbC rest", "--code=****** rest"},
                {"--code 4/0AbC rest", "--code ****** rest"},
                {"--code=\"4/0AbC\" --code 'x' end", "--code=\"******* --code '** end"},
                {"--code", "--code"},
                {"--code=", "--code="},
                {"--codec=visible", "--codec=visible"},
                {"a --code=1 b --code=2", "a --code=* b --code=*"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                _cleanup_free_ char *line = xstrdup(pairs[i][0]);
                mask_codes(line);
                assert_string_equal(line, pairs[i][1]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(good_emails),   cmocka_unit_test(bad_emails),   cmocka_unit_test(the_longest_email),
                cmocka_unit_test(good_commands), cmocka_unit_test(bad_commands), cmocka_unit_test(lengths_of_codes),
                cmocka_unit_test(codes_in_logs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}

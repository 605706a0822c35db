/* What may be credentials, what may be a region, and where they come from. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aws/internal.h"
#include "base/text.h"

static void test_check(void **state _unused_)
{
        static const struct {
                const char *id, *secret, *token;
                const char *problem;
        } cases[] = {{"AKIDEXAMPLE", "a/b+c", NULL, NULL},
                     {"AKIDEXAMPLE", "a/b+c", "t==", NULL},
                     {NULL, "s", NULL, "access key ID is missing"},
                     {"", "s", NULL, "access key ID is missing"},
                     {"A", NULL, NULL, "secret access key is missing"},
                     {"A,B", "s", NULL, "access key ID holds"},
                     {"A/B", "s", NULL, "access key ID holds"},
                     {"A", "PLANTED x", NULL, "secret access key holds"},
                     {"A", "PLANTED\r\nX-Evil: 1", NULL, "secret access key holds"},
                     {"A", "s", "PLANTED\n", "session token holds"},
                     {"A", "s", "", "session token is missing"}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                struct aws_credentials c = {.access_key_id = (char *)cases[i].id,
                                            .secret_access_key = (char *)cases[i].secret,
                                            .session_token = (char *)cases[i].token};
                assert_int_equal(aws_credentials_check(&c, &error), cases[i].problem ? -EINVAL : 0);
                if (cases[i].problem)
                        assert_non_null(strstr(error_text(&error), cases[i].problem));
                assert_null(strstr(error_text(&error), "PLANTED"));
        }
}

static void test_chain(void **state _unused_)
{
        const struct aws_credentials given = {.access_key_id = (char *)"GIVEN", .secret_access_key = (char *)"x"};
        const struct aws_credentials *found;
        setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT", 1);
        setenv("AWS_SECRET_ACCESS_KEY", "y", 1);
        unsetenv("AWS_SESSION_TOKEN");
        _cleanup_aws_ struct aws *first = aws_new(&(struct aws_options){.credentials = &given});
        assert_int_equal(aws_credentials_find(first, &found, NULL), 0);
        assert_string_equal(found->access_key_id, "GIVEN");
        assert_int_equal(found->source, AWS_GIVEN);
        _cleanup_aws_ struct aws *second = aws_new(&(struct aws_options){0});
        assert_int_equal(aws_credentials_find(second, &found, NULL), 0);
        assert_string_equal(found->access_key_id, "ENVIRONMENT");
        assert_null(found->session_token);
        assert_int_equal(found->source, AWS_ENVIRONMENT);
        unsetenv("AWS_SECRET_ACCESS_KEY");
        setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_aws_ struct aws *third = aws_new(&(struct aws_options){0});
        assert_int_equal(aws_credentials_find(third, &found, &error), -ENOKEY);
        assert_non_null(strstr(error_text(&error), "there are no AWS credentials"));
}

static void test_region(void **state _unused_)
{
        static const char *const bad[] = {"us west", "evil.example.org/", "-", "a-", "US-WEST-2"};
        const char *region;
        setenv("AWS_REGION", "eu-central-1", 1);
        _cleanup_aws_ struct aws *aws = aws_new(&(struct aws_options){0});
        assert_int_equal(aws_region_find(aws, &region, NULL), 0);
        assert_string_equal(region, "eu-central-1");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_aws_ struct aws *other = aws_new(&(struct aws_options){.region = bad[i]});
                assert_int_equal(aws_region_find(other, &region, NULL), -EINVAL);
        }
        assert_string_equal(aws_domain("cn-north-1"), "amazonaws.com.cn");
        assert_string_equal(aws_domain("us-west-2"), "amazonaws.com");
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_check), cmocka_unit_test(test_chain),
                                           cmocka_unit_test(test_region)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

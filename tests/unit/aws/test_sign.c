/*
 * AWS's published vectors: the Signature Version 4 test suite (key AKIDEXAMPLE, 2015-08-30, service "service"), the
 * examples of the S3 API reference (2013-05-24), and the key derivation and the IAM request of the general reference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "aws/sign.h"
#include "base/text.h"

#define SUITE_HOST \
        { \
                "host", "example.amazonaws.com" \
        }
#define SUITE_DATE \
        { \
                "x-amz-date", "20150830T123600Z" \
        }
#define EMPTY ""
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define SESSION \
        "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuw" \
        "thAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHN" \
        "VXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxB" \
        "A=="

static const struct aws_credentials suite_keys = {
        .access_key_id = (char *)"AKIDEXAMPLE",
        .secret_access_key = (char *)"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
static const struct aws_credentials s3_keys = {.access_key_id = (char *)"AKIAIOSFODNN7EXAMPLE",
                                               .secret_access_key = (char *)"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};

// clang-format off
static const struct vector {
        const char *name, *method, *path;
        struct aws_pair query[3], head[6];
        const char *body, *signature;
} suite[] = {
        {"get-vanilla", "GET", "/", {{0}}, {SUITE_HOST, SUITE_DATE}, EMPTY, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"post-vanilla", "POST", "/", {{0}}, {SUITE_HOST, SUITE_DATE}, EMPTY, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        {"get-vanilla-query-order-key-case", "GET", "/", {{"Param2", "value2"}, {"Param1", "value1"}}, {SUITE_HOST, SUITE_DATE}, EMPTY, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"get-vanilla-query-order-value", "GET", "/", {{"Param1", "value2"}, {"Param1", "value1"}}, {SUITE_HOST, SUITE_DATE}, EMPTY, "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
        {"get-vanilla-query-unreserved", "GET", "/", {{UNRESERVED, UNRESERVED}}, {SUITE_HOST, SUITE_DATE}, EMPTY, "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
        {"get-vanilla-utf8-query", "GET", "/", {{"\xe1\x88\xb4", "bar"}}, {SUITE_HOST, SUITE_DATE}, EMPTY, "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
        {"get-unreserved", "GET", "/" UNRESERVED, {{0}}, {SUITE_HOST, SUITE_DATE}, EMPTY, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
        {"get-header-value-order", "GET", "/", {{0}}, {SUITE_HOST, SUITE_DATE, {"My-Header1", "value4"}, {"My-Header1", "value1"}, {"My-Header1", "value3"}, {"My-Header1", "value2"}}, EMPTY, "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
        {"get-header-key-duplicate", "GET", "/", {{0}}, {SUITE_HOST, {"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}, SUITE_DATE}, EMPTY, "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
        {"get-header-value-trim", "GET", "/", {{0}}, {SUITE_HOST, {"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}, SUITE_DATE}, EMPTY, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
        {"post-header-key-case", "POST", "/", {{0}}, {SUITE_HOST, {"MY-HEADER1", "value1"}, SUITE_DATE}, EMPTY, "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
        {"post-header-value-case", "POST", "/", {{0}}, {SUITE_HOST, {"My-Header1", "VALUE1"}, SUITE_DATE}, EMPTY, "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
        {"post-vanilla-query", "POST", "/", {{"Param1", "value1"}}, {SUITE_HOST, SUITE_DATE}, EMPTY, "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
        {"post-x-www-form-urlencoded", "POST", "/", {{0}}, {SUITE_HOST, SUITE_DATE, {"Content-Type", "application/x-www-form-urlencoded"}}, "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
        {"post-sts-header-before", "POST", "/", {{0}}, {SUITE_HOST, SUITE_DATE, {"X-Amz-Security-Token", SESSION}}, EMPTY, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
};

#define S3_HOST {"Host", "examplebucket.s3.amazonaws.com"}
#define S3_DATE {"x-amz-date", "20130524T000000Z"}
#define NO_BODY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

static const struct vector s3[] = {
        {"GET object", "GET", "/test.txt", {{0}}, {S3_HOST, {"Range", "bytes=0-9"}, {"x-amz-content-sha256", NO_BODY}, S3_DATE}, EMPTY, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT object", "PUT", "/test$file.text", {{0}}, {S3_HOST, {"Date", "Fri, 24 May 2013 00:00:00 GMT"}, S3_DATE, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}, {"x-amz-content-sha256", WELCOME}}, "Welcome to Amazon S3.", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET bucket life cycle", "GET", "/", {{"lifecycle", ""}}, {S3_HOST, S3_DATE, {"x-amz-content-sha256", NO_BODY}}, EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET bucket list", "GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {S3_HOST, S3_DATE, {"x-amz-content-sha256", NO_BODY}}, EMPTY, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};
// clang-format on

static void check(const struct vector *vector, const struct aws_credentials *keys, const char *date,
                  const char *service)
{
        char hash[AWS_HASH_SIZE];
        size_t n_query = 0, n_head = 0;
        while (n_query < ARRAY_SIZE(vector->query) && vector->query[n_query].name)
                n_query++;
        while (n_head < ARRAY_SIZE(vector->head) && vector->head[n_head].name)
                n_head++;
        _cleanup_free_ char *query = aws_query(vector->query, n_query);
        _cleanup_buf_ struct buf path = BUF_NULL;
        aws_uri_encode(vector->path, true, &path);
        aws_hash(vector->body, strlen(vector->body), hash);
        struct aws_signing signing = {.method = vector->method,
                                      .path = buf_str(&path),
                                      .query = query,
                                      .head = vector->head,
                                      .n_head = n_head,
                                      .body_hash = hash,
                                      .date = date,
                                      .region = "us-east-1",
                                      .service = service};
        _cleanup_free_ char *authorization = aws_sign(&signing, keys);
        _cleanup_free_ char *end = xasprintf(", Signature=%s", vector->signature);
        if (!str_ends(authorization, end))
                fail_msg("%s: %s", vector->name, authorization);
}

static void test_suite(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(suite); i++)
                check(&suite[i], &suite_keys, "20150830T123600Z", "service");
}

static void test_s3_reference(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(s3); i++)
                check(&s3[i], &s3_keys, "20130524T000000Z", "s3");
}

/* The steps of the general reference's example: ListUsers of IAM. */
static void test_each_step(void **state _unused_)
{
        static const struct aws_pair head[] = {{"X-Amz-Date", "20150830T123600Z"},
                                               {"Host", "iam.amazonaws.com"},
                                               {"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}};
        static const struct aws_pair list[] = {{"Version", "2010-05-08"}, {"Action", "ListUsers"}};
        _cleanup_free_ char *query = aws_query(list, ARRAY_SIZE(list));
        _cleanup_buf_ struct buf names = BUF_NULL;
        struct aws_signing signing = {.method = "GET",
                                      .path = "/",
                                      .query = query,
                                      .head = head,
                                      .n_head = ARRAY_SIZE(head),
                                      .body_hash = NO_BODY,
                                      .date = "20150830T123600Z",
                                      .region = "us-east-1",
                                      .service = "iam"};
        _cleanup_free_ char *canonical = aws_canonical_request(&signing, &names);
        assert_string_equal(canonical, "GET\n/\nAction=ListUsers&Version=2010-05-08\n"
                                       "content-type:application/x-www-form-urlencoded; charset=utf-8\n"
                                       "host:iam.amazonaws.com\nx-amz-date:20150830T123600Z\n\n"
                                       "content-type;host;x-amz-date\n" NO_BODY);
        _cleanup_free_ char *text = aws_string_to_sign(&signing, canonical);
        assert_string_equal(text, "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n"
                                  "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59");
        _cleanup_free_ char *authorization = aws_sign(&signing, &suite_keys);
        assert_string_equal(authorization,
                            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
                            "SignedHeaders=content-type;host;x-amz-date, "
                            "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

static void test_date(void **state _unused_)
{
        char date[AWS_DATE_SIZE];
        aws_date(1440938160.9, date);
        assert_string_equal(date, "20150830T123600Z");
        aws_date(0, date);
        assert_string_equal(date, "19700101T000000Z");
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_suite), cmocka_unit_test(test_s3_reference),
                                           cmocka_unit_test(test_each_step), cmocka_unit_test(test_date)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

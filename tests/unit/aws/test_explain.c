/* AWS's answers, and what an engine prints of them, in plain words and without anything secret. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "aws/internal.h"

static const struct {
        struct aws_fault fault;
        int code;
        const char *text;
} cases[] = {
        {{"ExpiredToken", "The security token included in the request is expired", "sts:GetCallerIdentity"},
         -EKEYEXPIRED,
         "the AWS session token has expired: set new credentials (AWS: ExpiredToken)"},
        {{"UnauthorizedOperation", "You are not authorized to perform this operation.", "ec2:DescribeInstanceTypes"},
         -EACCES,
         "these AWS credentials have no permission for ec2:DescribeInstanceTypes (AWS: UnauthorizedOperation)"},
        {{"AccessDenied", "User: arn:aws:iam::1:user/x is not authorized to perform: iam:PassRole on resource: y",
          "a:b"},
         -EACCES,
         "these AWS credentials have no permission for iam:PassRole (AWS: AccessDenied)"},
        {{"PermanentRedirect", "elsewhere", "s3:PutObject", "us-west-2", "eu-central-1", 301},
         -EINVAL,
         "wrong region: the S3 bucket is in another one (eu-central-1, not us-west-2) (AWS: PermanentRedirect)"},
        {{"ThrottlingException", "Rate exceeded", "logs:PutLogEvents"},
         -EAGAIN,
         "AWS asks to slow down (AWS: ThrottlingException)"},
        {{"SignatureDoesNotMatch", "Signature expired: 20150830T123600Z is now earlier than", "x"},
         -EKEYREJECTED,
         "AWS refuses the request as too old or too new: this machine's clock is wrong (AWS: SignatureDoesNotMatch)"},
        {{"Strange", "what is this\x01\xff", "s3:PutObject", NULL, NULL, 400},
         -EINVAL,
         "AWS refuses s3:PutObject: Strange: what is this\x01\xef\xbf\xbd"},
        {{NULL, NULL, "s3:PutObject", NULL, NULL, 500}, -EAGAIN, "AWS answered s3:PutObject with HTTP 500"},
};

static void test_faults(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                assert_int_equal(aws_fault_set(&cases[i].fault, &error), cases[i].code);
                assert_string_equal(error_text(&error), cases[i].text);
        }
}

/* The message of a wrong signature quotes the request. */
static void test_no_secret_is_repeated(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct aws_fault fault = {.code = "InvalidSignatureException",
                                  .message = "The Canonical String for this request should have been\n"
                                             "'POST\n/\n\nx-amz-security-token:PLANTED-TOKEN\n'"};
        assert_int_equal(aws_fault_set(&fault, &error), -EKEYREJECTED);
        assert_null(strstr(error_text(&error), "PLANTED"));
}

static const struct {
        const char *text;
        int code;
        const char *words;
} outputs[] = {
        {"Error: creating EC2 Instance: operation error EC2: RunInstances, https response error StatusCode: 400, "
         "RequestID: 1, api error VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit",
         -EDQUOT, "vCPU quota"},
        {"api error InsufficientInstanceCapacity: We currently do not have sufficient g4dn.xlarge capacity", -ENOSPC,
         "no capacity"},
        {"api error Unsupported: Your requested instance type (g4dn.xlarge) is not supported in your requested "
         "Availability Zone (us-east-1e).",
         -ENOSPC, "availability zone"},
        {"api error UnauthorizedOperation: You are not authorized to perform this operation. User: arn:aws:iam::1:user/x "
         "is not authorized to perform: ec2:RunInstances on resource: arn:aws:ec2",
         -EACCES, "no permission for ec2:RunInstances"},
        {"Error: Client.UnauthorizedOperation", -EACCES, "no permission"},
        {"validating provider credentials: api error InvalidClientTokenId: The security token is invalid",
         -EKEYREJECTED, "does not know"},
        {"Error: No valid credential sources found", -ENOKEY, "no AWS credentials"},
        {"InvalidAMIID.NotFound: The image id '[ami-1]' does not exist", -ENOENT, "machine.ami_id"},
};

static void test_output_of_others(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(outputs); i++) {
                int code = 0;
                _cleanup_free_ char *words = aws_explain(outputs[i].text, &code);
                assert_non_null(words);
                assert_int_equal(code, outputs[i].code);
                assert_non_null(strstr(words, outputs[i].words));
        }
        assert_null(aws_explain("Error: Invalid reference, AccessDeniedFoo, xThrottling", NULL));
        assert_null(aws_explain("", NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults), cmocka_unit_test(test_no_secret_is_repeated),
                                           cmocka_unit_test(test_output_of_others)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

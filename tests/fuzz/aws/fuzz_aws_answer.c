/*
 * What comes back from AWS, or from whoever stands in its place: XML is walked or refused, and whatever code and message
 * an error has, its sentence is UTF-8 and never the message of a wrong signature, which quotes the session token.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aws/internal.h"
#include "base/text.h"

#define TOKEN "x-amz-security-token:PLANTED"

static void require(bool held)
{
        if (!held)
                abort();
}

static void check_path(void *userdata, const char *path, const char *value)
{
        require(*path && value && utf8_valid(path, strlen(path)) && utf8_valid(value, strlen(value)));
        ++*(size_t *)userdata;
}

static void check_fault(const char *code, const char *message)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        const struct aws_fault fault = {
                .code = code, .message = message, .action = "s3:PutObject", .region = "us-west-2", .status = 403};
        require(aws_fault_set(&fault, &error) < 0);
        if (!code || utf8_valid(code, strlen(code)))
                require(utf8_valid(error_text(&error), strlen(error_text(&error))));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *text = xstrndup((const char *)input, size);
        size_t elements = 0;
        aws_xml_walk((const char *)input, size, check_path, &elements);
        require(elements <= size);
        _cleanup_free_ char *code = aws_xml_find((const char *)input, size, "Code");
        _cleanup_free_ char *message = aws_xml_find((const char *)input, size, "Message");
        check_fault(code, message);
        check_fault(NULL, text);
        _cleanup_free_ char *words = aws_explain(text, NULL);
        require(!words || utf8_valid(words, strlen(words)));
        _cleanup_free_ char *quoted = xasprintf("%s" TOKEN, text);
        const struct aws_fault wrong = {.code = "SignatureDoesNotMatch", .message = quoted};
        aws_fault_set(&wrong, &error);
        require(!strstr(error_text(&error), "PLANTED"));
        return 0;
}

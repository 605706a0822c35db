/* Credentials as a value: checked, copied, overwritten when they are let go. */
#include <errno.h>
#include <string.h>

#include "aws/aws.h"
#include "base/text.h"

static int check(const char *value, const char *name, size_t max, bool words_only, struct error *error)
{
        size_t len = value ? strlen(value) : 0;
        if (!len)
                return error_set(error, -EINVAL, "the %s is missing", name);
        if (len > max)
                return error_set(error, -EINVAL, "the %s is longer than %zu characters", name, max);
        for (const char *at = value; *at; at++) {
                bool word = (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') ||
                            *at == '_' || *at == '-';
                if (*at <= ' ' || *at >= 0x7f || (words_only && !word))
                        return error_set(error, -EINVAL, "the %s holds a character that none has", name);
        }
        return 0;
}

int aws_credentials_check(const struct aws_credentials *credentials, struct error *error)
{
        int r = check(credentials->access_key_id, "access key ID", AWS_KEY_ID_MAX, true, error);
        if (r == 0)
                r = check(credentials->secret_access_key, "secret access key", AWS_SECRET_MAX, false, error);
        if (r == 0 && credentials->session_token)
                r = check(credentials->session_token, "session token", AWS_TOKEN_MAX, false, error);
        return r;
}

void aws_credentials_copy(const struct aws_credentials *from, struct aws_credentials *ret)
{
        struct aws_credentials copy = {.access_key_id = xstrdup(from->access_key_id),
                                       .secret_access_key = xstrdup(from->secret_access_key),
                                       .session_token = xstrdup(from->session_token),
                                       .expires = from->expires,
                                       .source = from->source};
        aws_credentials_clear(ret);
        *ret = copy;
}

static void wipe(char *secret)
{
        if (secret)
                explicit_bzero(secret, strlen(secret));
        free(secret);
}

void aws_credentials_clear(struct aws_credentials *credentials)
{
        wipe(credentials->access_key_id);
        wipe(credentials->secret_access_key);
        wipe(credentials->session_token);
        *credentials = (struct aws_credentials){0};
}

const char *aws_source_text(enum aws_source source)
{
        static const char *const texts[] = {[AWS_NOWHERE] = "nowhere",
                                            [AWS_GIVEN] = "the administrator",
                                            [AWS_ENVIRONMENT] = "the environment",
                                            [AWS_INSTANCE] = "the instance's role"};
        return texts[source];
}

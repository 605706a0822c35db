/*
 * Where credentials and region come from: what was given, the environment under the names that every AWS program knows,
 * the machine's own role. Those of a role are renewed before they expire.
 */
#include <errno.h>
#include <string.h>

#include "aws/internal.h"
#include "base/clock.h"
#include "base/text.h"

#define TRIES 4
#define TIMEOUT_MS 15000
#define RENEW_SECONDS 300

static const char *environment(const char *name)
{
        const char *value = getenv(name);
        return value && *value ? value : NULL;
}

struct aws *aws_new(const struct aws_options *options)
{
        struct aws *aws = xcalloc(1, sizeof *aws);
        aws->tries = options->tries > 0 ? options->tries : TRIES;
        aws->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
        aws->stop = options->stop;
        aws->region_given = options->region && *options->region ? xstrdup(options->region) : NULL;
        aws->endpoint = options->endpoint && *options->endpoint ? xstrdup(options->endpoint) : NULL;
        if (options->credentials && options->credentials->access_key_id) {
                aws_credentials_copy(options->credentials, &aws->given);
                if (aws->given.source == AWS_NOWHERE)
                        aws->given.source = AWS_GIVEN;
        }
        return aws;
}

void aws_free(struct aws *aws)
{
        if (!aws)
                return;
        aws_credentials_clear(&aws->given);
        aws_credentials_clear(&aws->current);
        if (aws->curl)
                curl_easy_cleanup(aws->curl);
        free(aws->region_given);
        free(aws->region);
        free(aws->endpoint);
        free(aws);
}

/* --- credentials --------------------------------------------------------------------------------------------------- */

static bool from_environment(struct aws_credentials *ret)
{
        const char *id = environment("AWS_ACCESS_KEY_ID"), *secret = environment("AWS_SECRET_ACCESS_KEY");
        if (!id || !secret)
                return false;
        const char *token = environment("AWS_SESSION_TOKEN");
        *ret = (struct aws_credentials){.access_key_id = xstrdup(id),
                                        .secret_access_key = xstrdup(secret),
                                        .session_token = xstrdup(token),
                                        .source = AWS_ENVIRONMENT};
        return true;
}

static bool still_good(const struct aws_credentials *credentials)
{
        return credentials->access_key_id &&
               (credentials->expires <= 0 || credentials->expires - RENEW_SECONDS > clock_now());
}

static int from_instance(struct aws *aws, struct error *error)
{
        struct aws_credentials found = {0};
        int r = aws_imds_credentials(aws, &found, error);
        if (r < 0) {
                bool usable = aws->current.access_key_id && aws->current.expires > clock_now();
                return usable ? 0 : r; /* the old ones are good for a few minutes more */
        }
        aws_credentials_clear(&aws->current);
        aws->current = found;
        return 0;
}

int aws_credentials_find(struct aws *aws, const struct aws_credentials **ret, struct error *error)
{
        _cleanup_error_ struct error reason = ERROR_NULL;
        int r = 0;
        *ret = &aws->current;
        if (still_good(&aws->current))
                return 0;
        if (aws->given.access_key_id)
                aws_credentials_copy(&aws->given, &aws->current);
        else if (!from_environment(&aws->current))
                r = from_instance(aws, &reason);
        if (r == -ECANCELED)
                return error_move(error, &reason);
        if (r < 0)
                return error_set(error, -ENOKEY,
                                 "there are no AWS credentials: none were set, none are in the environment, and this "
                                 "machine has no instance role (%s)",
                                 error_text(&reason));
        r = aws_credentials_check(&aws->current, error);
        if (r < 0) {
                error_wrap(error, "the AWS credentials from %s", aws_source_text(aws->current.source));
                aws_credentials_clear(&aws->current);
                if (error)
                        error->code = -EKEYREJECTED;
                return -EKEYREJECTED;
        }
        return 0;
}

/* --- region and endpoints ------------------------------------------------------------------------------------------ */

/* It becomes part of a host's name. */
static bool region_valid(const char *region)
{
        size_t len = strlen(region);
        return len && len <= 63 && strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && region[0] != '-' &&
               region[len - 1] != '-';
}

int aws_region_find(struct aws *aws, const char **ret, struct error *error)
{
        if (!aws->region) {
                const char *said = aws->region_given;
                if (!said)
                        said = environment("AWS_REGION");
                if (!said)
                        said = environment("AWS_DEFAULT_REGION");
                aws->region = xstrdup(said);
        }
        if (!aws->region) {
                int r = aws_imds_region(aws, &aws->region, error);
                if (r == -ECANCELED)
                        return r;
                if (r < 0)
                        return error_set(error, -EINVAL, "no AWS region is set, and this machine is in none");
        }
        if (!region_valid(aws->region)) {
                int r = error_set(error, -EINVAL, "%.63s is no AWS region", aws->region);
                free(STEAL(aws->region));
                return r;
        }
        *ret = aws->region;
        return 0;
}

char *aws_endpoint(const struct aws *aws, const char *service)
{
        static const char *const names[][2] = {{"sts", "AWS_ENDPOINT_URL_STS"},
                                               {"ec2", "AWS_ENDPOINT_URL_EC2"},
                                               {"s3", "AWS_ENDPOINT_URL_S3"},
                                               {"logs", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"}};
        const char *found = aws->endpoint;
        for (size_t i = 0; !found && i < ARRAY_SIZE(names); i++)
                if (str_eq(names[i][0], service))
                        found = environment(names[i][1]);
        if (!found)
                found = environment("AWS_ENDPOINT_URL");
        if (!found)
                return NULL;
        char *url = xstrdup(found);
        for (size_t len = strlen(url); len && url[len - 1] == '/'; len--)
                url[len - 1] = '\0';
        return url;
}

const char *aws_domain(const char *region)
{
        return str_starts(region, "cn-") ? "amazonaws.com.cn" : "amazonaws.com";
}

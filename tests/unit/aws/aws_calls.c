/* The calls of src/aws on a command line, each with its outcome on one line: for tests against a server. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aws/aws.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/token.h"

static int identity(struct aws *aws, char **words _unused_, struct error *error)
{
        struct aws_identity id = {0};
        int r = aws_caller_identity(aws, &id, error);
        if (r == 0)
                printf("%s %s\n", id.account, id.arn);
        aws_identity_clear(&id);
        return r;
}

static int instance_type(struct aws *aws, char **words, struct error *error)
{
        struct aws_instance_type type = {0};
        int r = aws_instance_type_get(aws, words[0], &type, error);
        if (r == 0)
                printf("nvidia=%d gpus=%d vcpus=%d memory=%lld gpu=%s\n", type.nvidia, type.gpus, type.vcpus,
                       (long long)type.memory_mib, str_or(type.gpu, "-"));
        aws_instance_type_clear(&type);
        return r;
}

static int put_object(struct aws *aws, char **words, struct error *error)
{
        return aws_put_object(aws, words[0], words[1], words[2], strlen(words[2]), "text/plain", error);
}

static int create_stream(struct aws *aws, char **words, struct error *error)
{
        return aws_create_log_stream(aws, words[0], words[1], error);
}

static int put_events(struct aws *aws, char **words, struct error *error)
{
        struct aws_log_event events[100];
        size_t n = 0, rejected = 0;
        int64_t now = (int64_t)(clock_now() * 1000);
        for (; words[2 + n] && n < ARRAY_SIZE(events); n++)
                events[n] = (struct aws_log_event){now, words[2 + n], strlen(words[2 + n])};
        int r = aws_put_log_events(aws, words[0], words[1], events, n, &rejected, error);
        if (r == 0)
                printf("rejected=%zu\n", rejected);
        return r;
}

static int credentials(struct aws *aws, char **words _unused_, struct error *error)
{
        const struct aws_credentials *found;
        const char *region = NULL;
        int r = aws_credentials_find(aws, &found, error);
        if (r == 0)
                r = aws_region_find(aws, &region, error);
        if (r == 0)
                printf("%s %s %s %d %s\n", found->access_key_id, found->secret_access_key,
                       str_or(found->session_token, "-"), found->expires > clock_now(), region);
        return r;
}

static const struct {
        const char *name;
        int words;
        int (*call)(struct aws *aws, char **words, struct error *error);
} calls[] = {{"identity", 0, identity},           {"instance-type", 1, instance_type}, {"put-object", 3, put_object},
             {"create-stream", 2, create_stream}, {"put-events", 2, put_events},       {"credentials", 0, credentials}};

int main(int argc, char **argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        token_init();
        _cleanup_aws_ struct aws *aws = aws_new(&(struct aws_options){.tries = 3, .timeout_ms = 60000});
        for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(calls); i++) {
                if (strcmp(calls[i].name, argv[1]) != 0 || argc - 2 < calls[i].words)
                        continue;
                int r = calls[i].call(aws, argv + 2, &error);
                if (r < 0)
                        fprintf(stderr, "%s: %s\n", strerrorname_np(-r), error_text(&error));
                return r < 0 ? 1 : 0;
        }
        return 2;
}

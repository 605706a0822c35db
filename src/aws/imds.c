/*
 * The instance metadata service, version 2: a session token by PUT, then what is asked. It answers at once or is not
 * there, so it gets a second and two tries; never through a proxy, which would answer for a machine of its own.
 */
#include <errno.h>
#include <string.h>

#include "aws/internal.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#define ADDRESS "http://169.254.169.254"
#define TIMEOUT_MS 1000
#define TRIES 2
#define PAUSE_MS 100
#define SESSION_SECONDS "300"
#define CREDENTIALS "/latest/meta-data/iam/security-credentials/"

static int ask_once(struct aws *aws, const char *method, const char *path, const struct aws_pair *head,
                    struct aws_answer *answer, struct error *error)
{
        const char *address = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        if (!address || !*address)
                address = ADDRESS;
        size_t len = strlen(address);
        _cleanup_free_ char *url = xasprintf("%.*s%s", (int)(len - (address[len - 1] == '/')), address, path);
        struct aws_http request = {
                .method = method, .url = url, .head = head, .n_head = 1, .timeout_ms = TIMEOUT_MS, .direct = true};
        return aws_http(aws, &request, answer, NULL, error);
}

/* The text of a good answer. -ENOENT: it has none. */
static int ask(struct aws *aws, const char *method, const char *path, const struct aws_pair *head, char **ret,
               struct error *error)
{
        int r = -EIO;
        for (int i = 0; i < TRIES; i++) {
                struct aws_answer answer = {0};
                r = i ? aws_pause(aws, PAUSE_MS, error) : 0;
                if (r == 0)
                        r = ask_once(aws, method, path, head, &answer, error);
                long status = answer.status;
                if (r == 0 && status == 200)
                        *ret = xstrndup(buf_str(&answer.body), answer.body.len);
                aws_answer_clear(&answer);
                if (r == -ECANCELED || (r == 0 && status == 200))
                        return r;
                if (r == 0)
                        r = error_set(error, status == 404 ? -ENOENT : -EIO, "HTTP %ld", status);
                if (r == -ENOENT)
                        break;
        }
        error_wrap(error, "the instance metadata service");
        return r < 0 ? r : -EIO;
}

static int ask_with_session(struct aws *aws, const char *session, const char *path, char **ret, struct error *error)
{
        struct aws_pair head = {"X-aws-ec2-metadata-token", session};
        return ask(aws, "GET", path, &head, ret, error);
}

static int open_session(struct aws *aws, char **ret, struct error *error)
{
        static const struct aws_pair head = {"X-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS};
        const char *disabled = getenv("AWS_EC2_METADATA_DISABLED");
        if (disabled && strcasecmp(disabled, "true") == 0)
                return error_set(error, -ENOENT, "the instance metadata service is not asked, by the environment");
        int r = ask(aws, "PUT", "/latest/api/token", &head, ret, error);
        if (r == 0 && strpbrk(*ret, "\r\n")) {
                free(STEAL(*ret));
                return error_set(error, -EIO, "the instance metadata service gave no token");
        }
        return r;
}

/* One line that names a role, which becomes part of a path. */
static bool is_role(char *name)
{
        name[strcspn(name, "\r\n")] = '\0';
        return *name && strlen(name) <= 128 && !strpbrk(name, "/?# %\"\\");
}

static int read_credentials(const char *text, struct aws_credentials *ret, struct error *error)
{
        _cleanup_json_ json_t *object = json_read(text, strlen(text), NULL);
        const char *id = json_get_string(object, "AccessKeyId"), *secret = json_get_string(object, "SecretAccessKey");
        const char *expires = json_get_string(object, "Expiration");
        if (!id || !secret)
                return error_set(error, -EIO, "the instance metadata service gave no credentials");
        *ret = (struct aws_credentials){.access_key_id = xstrdup(id),
                                        .secret_access_key = xstrdup(secret),
                                        .session_token = xstrdup(json_get_string(object, "Token")),
                                        .source = AWS_INSTANCE};
        if (expires)
                clock_parse_iso(expires, &ret->expires);
        return 0;
}

int aws_imds_credentials(struct aws *aws, struct aws_credentials *ret, struct error *error)
{
        _cleanup_free_ char *session = NULL, *role = NULL, *path = NULL, *text = NULL;
        int r = open_session(aws, &session, error);
        if (r == 0)
                r = ask_with_session(aws, session, CREDENTIALS, &role, error);
        if (r < 0)
                return r == -ENOENT ? error_set(error, r, "no role is attached to this instance") : r;
        if (!role || !is_role(role))
                return error_set(error, -EIO, "the instance metadata service named no role");
        path = xasprintf(CREDENTIALS "%s", role);
        r = ask_with_session(aws, session, path, &text, error);
        if (r == 0 && text)
                r = read_credentials(text, ret, error);
        if (text)
                explicit_bzero(text, strlen(text));
        return r;
}

int aws_imds_region(struct aws *aws, char **ret, struct error *error)
{
        _cleanup_free_ char *session = NULL;
        int r = open_session(aws, &session, error);
        return r < 0 ? r : ask_with_session(aws, session, "/latest/meta-data/placement/region", ret, error);
}

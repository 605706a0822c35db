/*
 * A call: signed anew for each try, because a signature holds the time. Tried again when no answer came, when AWS failed
 * or asks to slow down, and once more when the role's credentials had just been replaced.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "aws/internal.h"
#include "aws/sign.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#define PAUSE_FIRST_MS INT64_C(200)
#define PAUSE_MOST_MS INT64_C(5000)
#define PAUSE_OBEYED_MS INT64_C(20000)
#define HEAD_MAX 16

struct attempt {
        struct aws *aws;
        const struct aws_call *call;
        const struct aws_credentials *credentials;
        const char *region;
        char *base, *host; /* "https://sts.us-west-2.amazonaws.com" and the part after the scheme */
        bool own_endpoint; /* Amazon's, not one that somebody set */
        struct aws_answer answer;
        CURLcode curl;
};

static void settle_host(struct attempt *a)
{
        a->base = aws_endpoint(a->aws, a->call->service);
        a->own_endpoint = !a->base;
        if (!a->base && a->call->host)
                a->base = xasprintf("https://%s", a->call->host);
        if (!a->base)
                a->base = xasprintf("https://%s.%s.%s", a->call->service, a->region, aws_domain(a->region));
        const char *scheme = strstr(a->base, "://");
        const char *host = scheme ? scheme + 3 : a->base;
        a->host = xstrndup(host, strcspn(host, "/?#"));
}

static int send_signed(struct attempt *a, struct error *error)
{
        char date[AWS_DATE_SIZE], hash[AWS_HASH_SIZE];
        struct aws_pair head[HEAD_MAX] = {{"host", a->host}, {"x-amz-date", date}};
        size_t n = 2;
        aws_date(clock_now(), date);
        aws_hash(a->call->body, a->call->len, hash);
        if (str_eq(a->call->service, "s3"))
                head[n++] = (struct aws_pair){"x-amz-content-sha256", hash};
        if (a->credentials->session_token)
                head[n++] = (struct aws_pair){"x-amz-security-token", a->credentials->session_token};
        for (size_t i = 0; i < a->call->n_head && n < HEAD_MAX - 1; i++)
                head[n++] = a->call->head[i];
        struct aws_signing signing = {.method = a->call->method,
                                      .path = a->call->path,
                                      .query = "",
                                      .head = head,
                                      .n_head = n,
                                      .body_hash = hash,
                                      .date = date,
                                      .region = a->region,
                                      .service = a->call->service};
        _cleanup_free_ char *authorization = aws_sign(&signing, a->credentials);
        _cleanup_free_ char *url = xasprintf("%s%s", a->base, a->call->path);
        head[n++] = (struct aws_pair){"Authorization", authorization};
        struct aws_http request = {.method = a->call->method,
                                   .url = url,
                                   .head = head,
                                   .n_head = n,
                                   .body = a->call->body,
                                   .len = a->call->len,
                                   .timeout_ms = a->aws->timeout_ms};
        return aws_http(a->aws, &request, &a->answer, &a->curl, error);
}

/* --- what went wrong ----------------------------------------------------------------------------------------------- */

struct fault_text {
        char *code, *message, *region;
};

static void fault_text_clear(struct fault_text *fault)
{
        free(fault->code);
        free(fault->message);
        free(fault->region);
}

/* "com.amazonaws.logs#ResourceNotFoundException:http://..." -> "ResourceNotFoundException" */
static char *bare_code(const char *text)
{
        const char *hash = text ? strrchr(text, '#') : NULL;
        if (hash)
                text = hash + 1;
        return text ? xstrndup(text, strcspn(text, ":, ")) : NULL;
}

static void read_fault(const struct aws_answer *answer, struct fault_text *ret)
{
        const char *body = buf_str(&answer->body);
        if (body[strspn(body, " \t\r\n")] == '<') {
                ret->code = aws_xml_find(body, answer->body.len, "Code");
                ret->message = aws_xml_find(body, answer->body.len, "Message");
                ret->region = aws_xml_find(body, answer->body.len, "Region");
        } else {
                _cleanup_json_ json_t *object = json_read(body, answer->body.len, NULL);
                const char *message = json_get_string(object, "message");
                ret->code = bare_code(json_get_string(object, "__type"));
                ret->message = xstrdup(message ? message : json_get_string(object, "Message"));
        }
        if (!ret->code)
                ret->code = bare_code(answer->error_type);
        if (answer->bucket_region)
                str_replace(&ret->region, answer->bucket_region);
}

static bool transient(const struct attempt *a, const char *code)
{
        long status = a->answer.status;
        return status == 429 || (status >= 500 && status <= 599 && status != 501) || aws_fault_transient(code);
}

static int tell_silence(const struct attempt *a, struct error *error)
{
        if (a->own_endpoint && a->curl == CURLE_COULDNT_RESOLVE_HOST)
                return error_set(error, -EIO,
                                 "AWS cannot be reached: there is no host %s; is %s the right region, and has this "
                                 "machine a way to the internet?",
                                 a->host, a->region);
        return error_wrap(error, "AWS cannot be reached at %s", a->host);
}

/* One try. 0, or a negative errno; *ret_again: another may help. */
static int attempt_once(struct attempt *a, struct buf *ret_body, bool *ret_again, struct error *error)
{
        _cleanup_(fault_text_clear) struct fault_text text = {0};
        int r = send_signed(a, error);
        *ret_again = r == -EIO;
        if (r < 0)
                return r == -EIO ? tell_silence(a, error) : r;
        if (a->answer.status >= 200 && a->answer.status <= 299) {
                if (ret_body) {
                        *ret_body = a->answer.body;
                        a->answer.body = BUF_NULL;
                }
                return 0;
        }
        read_fault(&a->answer, &text);
        *ret_again = transient(a, text.code);
        struct aws_fault fault = {.code = text.code,
                                  .message = text.message,
                                  .action = a->call->action,
                                  .region = a->region,
                                  .right_region = text.region,
                                  .status = a->answer.status};
        return aws_fault_set(&fault, error);
}

static int64_t pause_before(const struct attempt *a, int tried)
{
        int64_t most = MIN(PAUSE_FIRST_MS << MIN(tried, 8), PAUSE_MOST_MS);
        int64_t pause = most / 2 + (int64_t)randombytes_uniform((uint32_t)(most / 2) + 1);
        return MAX(pause, MIN(a->answer.retry_after_ms, PAUSE_OBEYED_MS));
}

/* A role's credentials may be replaced before their time: then they are fetched once more. */
static bool renew(struct aws *aws, int r, bool *renewed)
{
        if (*renewed || aws->current.source != AWS_INSTANCE || (r != -EKEYEXPIRED && r != -EKEYREJECTED))
                return false;
        aws_credentials_clear(&aws->current);
        return *renewed = true;
}

int aws_call(struct aws *aws, const struct aws_call *call, struct buf *ret_body, struct error *error)
{
        struct attempt a = {.aws = aws, .call = call};
        bool again = false, renewed = false;
        int r = aws_region_find(aws, &a.region, error);
        for (int tried = 0; r == 0; tried++) {
                r = aws_credentials_find(aws, &a.credentials, error);
                if (r < 0)
                        break;
                if (!a.base)
                        settle_host(&a);
                aws_answer_clear(&a.answer);
                r = attempt_once(&a, ret_body, &again, error);
                if (r == 0 || r == -ECANCELED)
                        break;
                if (renew(aws, r, &renewed)) {
                        r = 0;
                        continue;
                }
                if (!again || tried + 1 >= aws->tries)
                        break;
                r = aws_pause(aws, pause_before(&a, tried), error);
        }
        aws_answer_clear(&a.answer);
        free(a.base);
        free(a.host);
        return r;
}

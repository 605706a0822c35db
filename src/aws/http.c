/*
 * One request by libcurl. Redirects are not followed, TLS is verified, an answer holds 1 MB at most, and nothing of a
 * request or an answer is logged.
 */
#include <errno.h>
#include <string.h>

#include "aws/internal.h"
#include "base/clock.h"
#include "base/text.h"

#define CONNECT_MS 5000
#define PAUSE_SLICE_MS INT64_C(50)

struct exchange {
        struct aws *aws;
        struct aws_answer *answer;
        bool too_large;
};

bool aws_stopped(const struct aws *aws)
{
        return aws->stop && atomic_load(aws->stop);
}

int aws_pause(const struct aws *aws, int64_t ms, struct error *error)
{
        int64_t deadline = clock_ms() + ms;
        for (int64_t left; (left = deadline - clock_ms()) > 0;) {
                if (aws_stopped(aws))
                        return error_set(error, -ECANCELED, "stopped");
                clock_sleep_ms(MIN(left, PAUSE_SLICE_MS));
        }
        return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
        struct exchange *x = userdata;
        size_t len = size * count;
        if (len > AWS_ANSWER_MAX - x->answer->body.len) {
                x->too_large = true;
                return 0;
        }
        buf_add(&x->answer->body, data, len);
        return len;
}

static void take_header(const char *line, size_t len, const char *name, char **slot)
{
        size_t name_len = strlen(name);
        if (len <= name_len || strncasecmp(line, name, name_len) != 0)
                return;
        free(*slot);
        *slot = xstrndup(line + name_len, MIN(len - name_len, (size_t)256));
        str_trim(*slot);
}

static size_t on_header(char *data, size_t size, size_t count, void *userdata)
{
        struct exchange *x = userdata;
        take_header(data, size * count, "x-amzn-errortype:", &x->answer->error_type);
        take_header(data, size * count, "x-amz-bucket-region:", &x->answer->bucket_region);
        return size * count;
}

static int on_progress(void *userdata, curl_off_t a _unused_, curl_off_t b _unused_, curl_off_t c _unused_,
                       curl_off_t d _unused_)
{
        return aws_stopped(((struct exchange *)userdata)->aws);
}

static struct curl_slist *add_line(struct curl_slist *list, const char *line)
{
        struct curl_slist *grown = curl_slist_append(list, line);
        if (!grown)
                abort();
        return grown;
}

/* Without `Expect:` a body waits a second for a server that never says 100. */
static struct curl_slist *head_lines(const struct aws_http *request)
{
        struct curl_slist *list = add_line(NULL, "Expect:");
        for (size_t i = 0; i < request->n_head; i++) {
                if (strcasecmp(request->head[i].name, "host") == 0)
                        continue;
                _cleanup_free_ char *line = xasprintf("%s: %s", request->head[i].name, request->head[i].value);
                list = add_line(list, line);
                explicit_bzero(line, strlen(line));
        }
        return list;
}

static void free_lines(struct curl_slist *list)
{
        for (struct curl_slist *line = list; line; line = line->next)
                explicit_bzero(line->data, strlen(line->data));
        curl_slist_free_all(list);
}

static void set_request(CURL *curl, const struct aws_http *request, struct curl_slist *lines)
{
        const char *bundle = getenv("AWS_CA_BUNDLE");
        curl_easy_setopt(curl, CURLOPT_URL, request->url);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(request->timeout_ms, (int64_t)CONNECT_MS));
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "lablink/" LABLINK_VERSION);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, lines);
        if (request->direct)
                curl_easy_setopt(curl, CURLOPT_PROXY, "");
        if (bundle && *bundle)
                curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
        if (request->body) {
                curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
                curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->len);
        }
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_receivers(CURL *curl, struct exchange *x)
{
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
        curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
}

int aws_http(struct aws *aws, const struct aws_http *request, struct aws_answer *ret, CURLcode *ret_curl,
             struct error *error)
{
        struct exchange x = {.aws = aws, .answer = ret};
        curl_off_t retry_after = 0;
        *ret = (struct aws_answer){.retry_after_ms = -1};
        if (!aws->curl)
                aws->curl = curl_easy_init();
        if (!aws->curl)
                abort();
        curl_easy_reset(aws->curl);
        struct curl_slist *lines = head_lines(request);
        set_request(aws->curl, request, lines);
        set_receivers(aws->curl, &x);
        CURLcode code = curl_easy_perform(aws->curl);
        curl_easy_getinfo(aws->curl, CURLINFO_RESPONSE_CODE, &ret->status);
        curl_easy_getinfo(aws->curl, CURLINFO_RETRY_AFTER, &retry_after);
        curl_easy_reset(aws->curl);
        free_lines(lines);
        if (retry_after > 0)
                ret->retry_after_ms = (int64_t)MIN(retry_after, (curl_off_t)86400) * 1000;
        if (ret_curl)
                *ret_curl = code;
        if (code == CURLE_OK)
                return 0;
        if (aws_stopped(aws))
                return error_set(error, -ECANCELED, "stopped");
        if (x.too_large)
                return error_set(error, -EIO, "the answer is larger than %d bytes", AWS_ANSWER_MAX);
        return error_set(error, -EIO, "%s", curl_easy_strerror(code));
}

void aws_answer_clear(struct aws_answer *answer)
{
        buf_wipe(&answer->body);
        free(answer->error_type);
        free(answer->bucket_region);
        *answer = (struct aws_answer){0};
}

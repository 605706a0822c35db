/* libcurl's easy interface, with the options that both ends share. */
#include "forwarder/exchange.h"

#include <errno.h>
#include <string.h>

#define CONNECT_MS 10000L

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
        struct exchange *x = userdata;
        size_t len = size * count, kept = MIN(len, x->body_max - x->body.len);
        buf_add(&x->body, data, kept);
        x->cut = x->cut || kept < len;
        return len;
}

void exchange_init(struct exchange *x, size_t body_max)
{
        *x = (struct exchange){.easy = curl_easy_init(), .body_max = body_max};
        if (!x->easy)
                abort();
        curl_easy_setopt(x->easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
        curl_easy_setopt(x->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(x->easy, CURLOPT_USERAGENT, "lablink-log-forwarder/" LABLINK_VERSION);
        curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
        exchange_header(x, "Content-Type: application/json");
        exchange_header(x, "Expect:");
}

void exchange_header(struct exchange *x, const char *header)
{
        x->headers = curl_slist_append(x->headers, header);
        if (!x->headers)
                abort();
}

static struct curl_slist *join(const struct curl_slist *a, const struct curl_slist *b)
{
        struct curl_slist *all = NULL;
        for (; a; a = a->next)
                all = curl_slist_append(all, a->data);
        for (; b; b = b->next)
                all = curl_slist_append(all, b->data);
        return all;
}

static int failure(CURLcode code)
{
        switch (code) {
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
                return -EKEYREJECTED;
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        default:
                return -EIO;
        }
}

int exchange_run(struct exchange *x, const char *url, const struct buf *body, const struct curl_slist *more,
                 int64_t timeout_ms, struct error *error)
{
        struct curl_slist *headers = join(x->headers, more);
        buf_truncate(&x->body, 0);
        x->cut = false;
        x->status = 0;
        curl_easy_setopt(x->easy, CURLOPT_URL, url);
        curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
        if (body) {
                curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
                curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, buf_str(body));
                curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
        } else {
                curl_easy_setopt(x->easy, CURLOPT_HTTPGET, 1L);
        }
        CURLcode code = curl_easy_perform(x->easy);
        curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, NULL);
        curl_slist_free_all(headers);
        if (code != CURLE_OK)
                return error_set(error, failure(code), "%s", curl_easy_strerror(code));
        curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &x->status);
        return 0;
}

const char *exchange_answer_header(const struct exchange *x, const char *name)
{
        struct curl_header *header;
        return curl_easy_header(x->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : NULL;
}

void exchange_deinit(struct exchange *x)
{
        curl_easy_cleanup(x->easy);
        curl_slist_free_all(x->headers);
        buf_deinit(&x->body);
        *x = (struct exchange){0};
}

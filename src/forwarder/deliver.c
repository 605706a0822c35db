/*
 * A try that was not answered may have been stored all the same: the batch's id makes sending it again harmless. An
 * answer that the next second will not change (a wrong token, an unknown VM) is a failure at once: AWS comes again in a
 * minute, and a second time later.
 */
#include "forwarder/deliver.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "forwarder/batch.h"

#define ANSWER_MAX 65536
#define TRY_MS 30000    /* one try; the allocator itself answers after 10 s at the latest */
#define TRY_LEAST_MS 50 /* with less time left no try is begun */
#define BACKOFF_FIRST_MS 200
#define BACKOFF_MAX_MS 5000

void delivery_init(struct delivery *delivery, const struct settings *settings)
{
        *delivery = (struct delivery){.settings = settings};
        exchange_init(&delivery->exchange, ANSWER_MAX);
        CURL *easy = delivery->exchange.easy;
        exchange_header(&delivery->exchange, "Accept: application/json");
        if (settings->ca_file)
                curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file);
        if (settings->token) {
                _cleanup_free_ char *header = xasprintf("Authorization: Bearer %s", settings->token);
                exchange_header(&delivery->exchange, header);
                explicit_bzero(header, strlen(header));
        } else { /* from http to https, by the proxy of an allocator with TLS; with a token that is a failure */
                curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
                curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 3L);
                curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
                curl_easy_setopt(easy, CURLOPT_POSTREDIR, (long)CURL_REDIR_POST_ALL);
        }
}

void delivery_deinit(struct delivery *delivery)
{
        exchange_deinit(&delivery->exchange);
}

static bool may_change_soon(long status)
{
        static const long soon[] = {408, 425, 429, 500, 502, 503, 504};
        for (size_t i = 0; i < ARRAY_SIZE(soon); i++)
                if (status == soon[i])
                        return true;
        return false;
}

/* What the answer means, in words: its own sentence, and what to do where the sentence cannot know. */
static int refusal(const struct exchange *x, struct error *error)
{
        _cleanup_json_ json_t *answer = json_read_max(buf_str(&x->body), x->body.len, 100, NULL);
        const char *sentence = json_get_string(answer, "error"), *hint = "";
        if (x->status >= 300 && x->status <= 399)
                hint = "; it sends to another address: write that one, with https://, into API_ENDPOINT";
        else if (x->status == 401 || x->status == 403)
                hint = "; is LABLINK_SECURITY_LOG_TOKEN the allocator's security.log_token?";
        else if (x->status == 404 && !sentence)
                hint = "; is API_ENDPOINT the address of /api/vm-logs?";
        if (!sentence)
                return error_set(error, -EPROTO, "HTTP %ld%s", x->status, hint);
        return error_set(error, -EPROTO, "HTTP %ld: %.*s%s", x->status, (int)utf8_cut(sentence, strlen(sentence), 300),
                         sentence, hint);
}

/* One try. 0; -EAGAIN: it may be better soon, after *ret_wait_ms where the allocator said so (else -1); another: not. */
static int post_once(struct delivery *delivery, const struct buf *body, int64_t left_ms, int64_t *ret_wait_ms,
                     struct error *error)
{
        struct exchange *x = &delivery->exchange;
        curl_off_t asked = 0;
        *ret_wait_ms = -1;
        int r = exchange_run(x, delivery->settings->endpoint, body, NULL, MIN(left_ms, (int64_t)TRY_MS), error);
        if (r == -EKEYREJECTED)
                return error_set(error, r, "%s; is SSL_CERT_FILE needed?", error_text(error));
        if (r < 0)
                return -EAGAIN;
        if (x->status == 200)
                return 0;
        r = refusal(x, error);
        if (!may_change_soon(x->status))
                return r;
        curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &asked);
        if (asked > 0)
                *ret_wait_ms = MIN((int64_t)asked, (int64_t)86400) * 1000;
        return -EAGAIN;
}

/* Functions that failed together come back apart. */
static int64_t backoff(unsigned tries)
{
        int64_t whole = MIN((int64_t)BACKOFF_FIRST_MS << MIN(tries - 1, 10U), (int64_t)BACKOFF_MAX_MS);
        return whole / 2 + randombytes_uniform((uint32_t)(whole / 2 + 1));
}

static int post(struct delivery *delivery, const struct buf *body, int64_t deadline_ms, struct error *error)
{
        int64_t wait_ms, left_ms;
        error_set(error, -ETIMEDOUT, "the invocation had no time left");
        for (unsigned tries = 1; (left_ms = deadline_ms - clock_ms()) >= TRY_LEAST_MS; tries++) {
                int r = post_once(delivery, body, left_ms, &wait_ms, error);
                if (r != -EAGAIN)
                        return r;
                log_warning("try %u: the allocator does not take the lines: %s", tries, error_text(error));
                if (wait_ms < 0)
                        wait_ms = backoff(tries);
                if (clock_ms() + wait_ms + TRY_LEAST_MS > deadline_ms)
                        break;
                clock_sleep_ms(wait_ms);
        }
        return error_wrap(error, "no time left for another try");
}

int deliver(struct delivery *delivery, const struct log_event *event, const char *invocation, int64_t deadline_ms,
            struct error *error)
{
        size_t all = json_array_size(event->messages);
        for (size_t first = 0, end; first < all; first = end) {
                _cleanup_buf_ struct buf body = BUF_NULL;
                end = batch_end(event, first);
                batch_body(event, first, end, invocation, &body);
                int r = post(delivery, &body, deadline_ms, error);
                if (r < 0)
                        return error_wrap(error, "%zu of %zu lines are stored", first, all);
        }
        error_clear(error);
        return 0;
}

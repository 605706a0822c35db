/* Deadlines come as real time and are kept as monotonic time. */
#include "forwarder/runtime.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "forwarder/event.h"

#define TELL_MS 10000
#define DEADLINE_UNKNOWN_MS 60000

void runtime_init(struct runtime *runtime, const char *address)
{
        *runtime = (struct runtime){.base = xasprintf("http://%s/2018-06-01/runtime", address)};
        exchange_init(&runtime->exchange, EVENT_INVOCATION_MAX);
        curl_easy_setopt(runtime->exchange.easy, CURLOPT_PROXY, "");
}

void runtime_deinit(struct runtime *runtime)
{
        exchange_deinit(&runtime->exchange);
        free(runtime->base);
        *runtime = (struct runtime){0};
}

void invocation_clear(struct invocation *invocation)
{
        free(invocation->id);
        buf_deinit(&invocation->event);
        *invocation = (struct invocation){0};
}

static int64_t read_deadline(const char *text)
{
        int64_t epoch_ms;
        if (!text || parse_int(text, 0, INT64_MAX / 2, &epoch_ms) < 0)
                return clock_ms() + DEADLINE_UNKNOWN_MS;
        return clock_ms() + epoch_ms - (int64_t)(clock_now() * 1000);
}

int runtime_next(struct runtime *runtime, struct invocation *ret, struct error *error)
{
        struct exchange *x = &runtime->exchange;
        _cleanup_free_ char *url = xasprintf("%s/invocation/next", runtime->base);
        *ret = (struct invocation){0};
        int r = exchange_run(x, url, NULL, NULL, 0, error);
        if (r < 0)
                return error_wrap(error, "cannot ask the runtime for the next invocation");
        const char *id = exchange_answer_header(x, "Lambda-Runtime-Aws-Request-Id");
        if (x->status != 200 || !id || !*id || strpbrk(id, "/?#%"))
                return error_set(error, -EIO, "the runtime's next invocation is none: HTTP %ld", x->status);
        *ret = (struct invocation){
                .id = xstrdup(id),
                .deadline_ms = read_deadline(exchange_answer_header(x, "Lambda-Runtime-Deadline-Ms")),
                .event = x->body,
                .cut = x->cut};
        x->body = BUF_NULL;
        return 0;
}

static int tell(struct runtime *runtime, const char *url, const struct buf *body, const struct curl_slist *headers,
                struct error *error)
{
        int r = exchange_run(&runtime->exchange, url, body, headers, TELL_MS, error);
        if (r < 0)
                return error_wrap(error, "cannot tell the runtime how it went");
        if (runtime->exchange.status != 202)
                return error_set(error, -EIO, "the runtime does not take how it went: HTTP %ld",
                                 runtime->exchange.status);
        return 0;
}

int runtime_respond(struct runtime *runtime, const struct invocation *invocation, const struct buf *answer,
                    struct error *error)
{
        _cleanup_free_ char *url = xasprintf("%s/invocation/%s/response", runtime->base, invocation->id);
        return tell(runtime, url, answer, NULL, error);
}

int runtime_fail(struct runtime *runtime, const struct invocation *invocation, const char *type, const char *sentence,
                 struct error *error)
{
        _cleanup_buf_ struct buf body = BUF_NULL, clean = BUF_NULL;
        _cleanup_free_ char *header = xasprintf("Lambda-Runtime-Function-Error-Type: Forwarder.%s", type);
        _cleanup_free_ char *url = invocation ? xasprintf("%s/invocation/%s/error", runtime->base, invocation->id)
                                              : xasprintf("%s/init/error", runtime->base);
        struct curl_slist more = {.data = header};
        utf8_scrub(sentence, strlen(sentence), &clean);
        _cleanup_json_ json_t *said = json_pack("{s:s, s:s, s:[]}", "errorMessage", buf_str(&clean), "errorType", type,
                                                "stackTrace");
        json_write(said, &body);
        return tell(runtime, url, &body, &more, error);
}

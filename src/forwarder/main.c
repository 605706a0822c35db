/*
 * lablink-log-forwarder, an AWS Lambda function with a runtime of its own: takes what CloudWatch Logs sends for a
 * subscribed log group, and posts the lines to the allocator. Nothing is remembered between two events.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/token.h"
#include "base/usage.h"
#include "forwarder/deliver.h"
#include "forwarder/runtime.h"

#define EXIT_USAGE 2
/* Kept back from an invocation's time to tell that it failed. */
#define MARGIN_MS 500

static const struct opt options[] = {{NULL}};

static const char *const environment[][2] = {
        {"API_ENDPOINT",
         "Where lines are posted to: http(s)://HOST/api/vm-logs. Without a scheme it is https:// when there "
         "is a token, else http:// (and a redirect to https is followed)."},
        {"LABLINK_SECURITY_LOG_TOKEN", "The allocator's security.log_token; needed where client_auth is token."},
        {"LABLINK_SECURITY_LOG_TOKEN_FILE", "A file that holds it."},
        {"SSL_CERT_FILE", "The CA certificates to trust, instead of the runtime's or the function's own."},
        {"AWS_LAMBDA_RUNTIME_API", "HOST:PORT of the runtime; set by Lambda."},
        {NULL, NULL},
};

static const struct usage usage = {
        .program = "lablink-log-forwarder",
        .summary = "the Lambda function that brings CloudWatch log lines to the allocator",
        .synopses = (const char *const[]){"", NULL},
        .description =
                "Is started by AWS Lambda (custom runtime provided.al2023) under the name bootstrap, and runs until Lambda\n"
                "ends it. Each event of a CloudWatch Logs subscription is unpacked and its lines are posted to the\n"
                "allocator, in batches that carry an id made of the events' ids: the allocator stores each once,\n"
                "however often AWS repeats an event. An allocator that is away, slow or busy is tried again while the\n"
                "invocation has time; then the invocation fails, and AWS repeats it.\n"
                "\n"
                "make lambda builds the zip to upload.",
        .options = options,
        .environment = environment,
        .exits =
                "1 when the function cannot start or the runtime is gone, 2 for a wrong command line or outside Lambda.",
};

static void describe(const struct log_event *event, struct buf *out)
{
        _cleanup_json_ json_t *body = event->control ? json_pack("{s:s, s:i}", "message", "a probe", "log_count", 0)
                                                     : json_pack("{s:O, s:O, s:I}", "log_group", event->group,
                                                                 "log_stream", event->stream, "log_count",
                                                                 (json_int_t)json_array_size(event->messages));
        _cleanup_free_ char *text = json_text(body);
        _cleanup_json_ json_t *answer = json_pack("{s:i, s:s}", "statusCode", 200, "body", text);
        json_write(answer, out);
}

/* 0, or why the event's lines are not all stored; `type` is a word for it. */
static int forward(struct delivery *delivery, struct invocation *invocation, struct buf *answer, const char **type,
                   struct error *error)
{
        _cleanup_log_event_ struct log_event event = {0};
        *type = "Event";
        if (invocation->cut)
                return error_set(error, -EFBIG, "the event is larger than %d bytes", EVENT_INVOCATION_MAX);
        int r = log_event_read(buf_str(&invocation->event), invocation->event.len, &event, error);
        if (r < 0)
                return r;
        buf_deinit(&invocation->event);
        *type = "Allocator";
        if (!event.control)
                r = deliver(delivery, &event, invocation->id, invocation->deadline_ms - MARGIN_MS, error);
        if (r < 0)
                return error_wrap(error, "log stream %s", json_string_value(event.stream));
        describe(&event, answer);
        return 0;
}

static void serve(struct runtime *runtime, struct delivery *delivery, struct invocation *invocation)
{
        _cleanup_error_ struct error error = ERROR_NULL, telling = ERROR_NULL;
        _cleanup_buf_ struct buf answer = BUF_NULL;
        const char *type;
        int r = forward(delivery, invocation, &answer, &type, &error);
        if (r < 0)
                log_error("invocation %s failed: %s", invocation->id, error_text(&error));
        r = r < 0 ? runtime_fail(runtime, invocation, type, error_text(&error), &telling)
                  : runtime_respond(runtime, invocation, &answer, &telling);
        if (r < 0)
                log_error("invocation %s: %s", invocation->id, error_text(&telling));
}

static int run(struct runtime *runtime, const struct settings *settings, struct error *error)
{
        struct delivery delivery;
        int r;
        delivery_init(&delivery, settings);
        do {
                _cleanup_invocation_ struct invocation invocation = {0};
                r = runtime_next(runtime, &invocation, error);
                if (r == 0)
                        serve(runtime, &delivery, &invocation);
        } while (r == 0);
        delivery_deinit(&delivery);
        return r;
}

static int start(void)
{
        _cleanup_settings_ struct settings settings = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        struct runtime runtime;
        int r = settings_read("", &settings, &error);
        if (!settings.runtime) {
                fputs("lablink-log-forwarder: AWS_LAMBDA_RUNTIME_API is not set: this program is started by AWS Lambda\n",
                      stderr);
                return EXIT_USAGE;
        }
        runtime_init(&runtime, settings.runtime);
        if (r < 0)
                runtime_fail(&runtime, NULL, "Configuration", error_text(&error), NULL);
        else
                run(&runtime, &settings, &error);
        log_error("%s", error_text(&error));
        runtime_deinit(&runtime);
        return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        log_setup("lablink-log-forwarder", LOG_LEVEL_INFO);
        int r = usage_parse(&usage, options, false, &argc, argv, &error);
        if (r > 0)
                return EXIT_SUCCESS;
        if (r < 0) {
                fprintf(stderr, "lablink-log-forwarder: %s\n", error_text(&error));
                return EXIT_USAGE;
        }
        token_init();
        curl_global_init(CURL_GLOBAL_DEFAULT);
        r = start();
        curl_global_cleanup();
        return r;
}

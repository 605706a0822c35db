/* The same calls as the agent's, on a loop that ends with the answer. */
#include "client/report.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "client/call.h"

struct report {
        struct task task;
        struct caller caller;
        struct call call;
        const char *path;
        json_t *body;
};

static void fail(struct task *t, int code _unused_)
{
        task_finish(t);
}

static void finished(struct task *t _unused_)
{
}

static const struct task_class report_class = {.name = "report", .fail = fail, .finished = finished};

static int sent(struct task *t)
{
        uv_stop(&t->loop->uv);
        task_finish(t);
        return 0;
}

static int begin(struct task *t)
{
        struct report *r = t->state;
        return call_post(t, &r->call, &r->caller, r->path, STEAL(r->body), sent);
}

int report_send(const struct settings *settings, const char *path, json_t *body, struct error *error)
{
        struct report r = {.path = path, .body = body};
        struct loop loop;
        int result = 0;
        loop_init(&loop);
        caller_init(&r.caller, &loop, settings);
        task_init(&r.task, &loop, &report_class, &r);
        task_start(&r.task, begin);
        loop_run(&loop);
        if (!call_ok(&r.call)) {
                _cleanup_free_ char *outcome = call_outcome(&r.call);
                result = error_set(error, -EIO, "%s", outcome);
        }
        call_deinit(&r.call);
        caller_deinit(&r.caller);
        loop_deinit(&loop);
        return result;
}

static json_t *metric_value(const char *text)
{
        int64_t whole;
        double number;
        if (parse_int(text, INT64_MIN, INT64_MAX, &whole) == 0)
                return json_integer((json_int_t)whole);
        if (parse_double(text, &number) == 0)
                return json_real(number);
        return json_string(text);
}

json_t *report_metrics_body(const char *const *words, struct error *error)
{
        _cleanup_json_ json_t *object = json_object();
        for (; *words; words++) {
                const char *equals = strchr(*words, '=');
                _cleanup_free_ char *key = equals ? xstrndup(*words, (size_t)(equals - *words)) : NULL;
                if (!key || !*key || json_object_set_new(object, key, metric_value(equals + 1)) < 0) {
                        error_set(error, -EINVAL, "%s is no metric: KEY=VALUE is, in UTF-8", *words);
                        return NULL;
                }
        }
        if (!json_object_size(object)) {
                error_set(error, -EINVAL, "no metric is given: KEY=VALUE...");
                return NULL;
        }
        return STEAL(object);
}

/*
 * init, plan, look at the plan, apply: the engine's steps, in a straight line. That an apply has begun is written down
 * before it begins, and forgotten when the engine has ended by itself: then its state is whole, whatever its outcome.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

#define PLAN_NAME "launch.plan"
#define LOCK_TIMEOUT "-lock-timeout=5s"

/* --- one step ------------------------------------------------------------------------------------------------------ */

/* An AWS error in plain words; NULL: there is none. The codes alone are words that others use too. */
static char *explain(const char *trouble)
{
        bool is_aws = strstr(trouble, "api error ") || strstr(trouble, "credential sources");
        return is_aws ? aws_explain(trouble, NULL) : NULL;
}

/* "tofu apply: exit 1: Invalid count argument: ..." */
static int step_failed(struct provider *p, const char *step, int status, const struct tf_stream *stream,
                       struct error *error)
{
        const char *slash = strrchr(p->engine, '/');
        _cleanup_free_ char *outcome = process_outcome(status);
        _cleanup_free_ char *plain = explain(buf_str(&stream->trouble));
        const char *more = stream->troubles > 3 ? "; and more" : "";
        return error_set(
                error, -EIO, "%s %s: %s%s%s%s%s%s%s", slash ? slash + 1 : p->engine, step, outcome, plain ? ": " : "",
                str_or(plain, ""), stream->trouble.len ? ": " : "", buf_str(&stream->trouble), more,
                stream->locked ? ". The state is locked: by somebody who works on it, or by one who has died; then "
                                 "`lablink repair unlock` frees it"
                               : "");
}

static int step(struct provider *p, const char *const *argv, struct tf_stream *stream, bool may_cancel, int *ret_status,
                struct error *error)
{
        struct engine_call call = {.argv = argv,
                                   .line = tf_stream_line,
                                   .userdata = stream,
                                   .tick = copy_look,
                                   .sink = may_cancel ? stream->sink : NULL};
        int r = engine_run(p, &call, ret_status, error);
        tf_stream_end(stream);
        if (r == 0 && *ret_status != 0)
                r = step_failed(p, argv[0], *ret_status, stream, error);
        return r;
}

/* --- init ---------------------------------------------------------------------------------------------------------- */

static int backend_arguments(const struct provider *p, struct buf *out, struct error *error)
{
        if (module_backend(p) != TF_S3)
                return 0;
        _cleanup_free_ char *name = xasprintf("backend-client-%s.hcl", p->environment);
        _cleanup_free_ char *path = path_join(p->source, name);
        if (access(path, F_OK) < 0)
                return error_set(error, -ENOENT, "the state is to be in S3, but the module has no %s", name);
        if (!*p->config->top.bucket_name)
                return error_set(error, -EINVAL,
                                 "the state is to be in S3 (the module has a %s): bucket_name must name the bucket",
                                 name);
        buf_addf(out, "-backend-config=%s\n-backend-config=bucket=%s\n-backend-config=region=%s\n", name,
                 p->config->top.bucket_name, p->config->app.region);
        return 0;
}

static int run_init(struct provider *p, const struct provider_sink *sink, struct error *error)
{
        _cleanup_stream_ struct tf_stream stream = {.sink = sink, .environment = p->environment};
        _cleanup_buf_ struct buf more = BUF_NULL;
        int status = 0;
        int r = backend_arguments(p, &more, error);
        if (r < 0)
                return r;
        _cleanup_strv_ char **words = str_split(buf_str(&more), '\n');
        const char *argv[8] = {"init", "-input=false", "-no-color", "-reconfigure"};
        for (size_t i = 0, n = 4; words[i] && *words[i] && n + 1 < ARRAY_SIZE(argv); i++)
                argv[n++] = words[i];
        return step(p, argv, &stream, true, &status, error);
}

/* What the module's own commands may read of the configuration: everything but the secrets. */
static int write_settings(const struct provider *p, struct error *error)
{
        _cleanup_json_ json_t *settings = config_to_json(p->config);
        _cleanup_json_ json_t *shown = config_show(p->config);
        _cleanup_free_ char *path = tf_path(p, "settings.json");
        size_t i;
        const json_t *row;
        json_array_foreach (shown, i, row) {
                json_t *key = json_object_get(json_object_get(settings, "keys"), json_get_string(row, "key"));
                if (json_is_true(json_object_get(row, "secret")) && key)
                        json_object_set_new(key, "value", json_string(""));
        }
        _cleanup_free_ char *text = json_text(settings);
        return file_write(path, text, strlen(text), 0600, error);
}

int tf_init(struct provider *p, const struct provider_sink *sink, struct error *error)
{
        _cleanup_free_ char *stamp = NULL;
        _cleanup_free_ char *path = tf_path(p, "initialised");
        _cleanup_free_ char *data = tf_path(p, "data");
        _cleanup_buf_ struct buf known = BUF_NULL;
        if (p->ready)
                return 0;
        if (!p->engine)
                return error_set(error, -ENOENT,
                                 "neither tofu nor terraform is in PATH: install one, or name it (terraform.engine)");
        int r = module_prepare(p, &stamp, error);
        if (r == 0)
                r = write_settings(p, error);
        if (r == 0)
                r = tfvars_write(p, error);
        if (r < 0)
                return r;
        if (access(data, F_OK) < 0 || file_read(path, 8192, &known, NULL) < 0 || !str_eq(buf_str(&known), stamp)) {
                unlink(path);
                r = run_init(p, sink, error);
                if (r == 0)
                        r = file_write(path, stamp, strlen(stamp), 0600, error);
        }
        p->ready = r == 0;
        return r;
}

/* --- plan ---------------------------------------------------------------------------------------------------------- */

static char **target_words(const json_t *targets)
{
        char **words = xcalloc(json_array_size(targets) + 1, sizeof *words);
        size_t i;
        const json_t *target;
        json_array_foreach (targets, i, target)
                words[i] = xasprintf("-target=%s", json_string_value(target));
        return words;
}

static int plan(struct provider *p, const struct tf_change *change, const json_t *tokens,
                const struct provider_sink *sink, struct error *error)
{
        _cleanup_stream_ struct tf_stream stream = {
                .sink = sink, .environment = p->environment, .tokens = tokens, .planning = true};
        _cleanup_free_ char *count = xasprintf("-var=instance_count=%lld", (long long)change->count);
        _cleanup_free_ char *replace = change->replace ? xasprintf("-replace=%s", change->replace) : NULL;
        _cleanup_strv_ char **targets = target_words(change->targets);
        const char *first[] = {"plan",       "-json", "-input=false", "-out=" PLAN_NAME, "-var-file=" TFVARS_NAME,
                               LOCK_TIMEOUT, count};
        _cleanup_free_ const char **argv = xcalloc(ARRAY_SIZE(first) + json_array_size(change->targets) + 3,
                                                   sizeof *argv);
        size_t n = ARRAY_SIZE(first);
        int status = 0;
        memcpy(argv, first, sizeof first);
        if (change->destroy)
                argv[n++] = "-destroy";
        if (replace)
                argv[n++] = replace;
        for (char **target = targets; *target; target++)
                argv[n++] = *target;
        return step(p, argv, &stream, true, &status, error);
}

static void keep_trouble(void *stream, const char *line, size_t len, bool is_stderr)
{
        if (is_stderr)
                tf_stream_line(stream, line, len, true);
}

/* A machine that has ended by itself comes with the next plan, under its name and with a host key of its own. */
static void welcome_back(struct provider *p, const json_t *plan, const json_t *names, const struct provider_sink *sink)
{
        _cleanup_json_ json_t *returns = json_array();
        size_t i;
        const json_t *name;
        plan_returns(plan, p->environment, names, returns);
        json_array_foreach (returns, i, name) {
                sink_line(sink, "%s is not there any more: it is made again.", json_string_value(name));
                ssh_forget_host(p, json_string_value(name));
        }
}

static int look_at_plan(struct provider *p, const struct tf_change *change, const struct provider_sink *sink,
                        struct error *error)
{
        _cleanup_stream_ struct tf_stream stream = {.environment = p->environment};
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        json_error_t why;
        int status = 0;
        struct engine_call call = {.argv = (const char *[]){"show", "-json", PLAN_NAME, NULL},
                                   .line = keep_trouble,
                                   .userdata = &stream,
                                   .out = &text};
        int r = engine_run(p, &call, &status, error);
        if (r == 0 && status != 0)
                r = step_failed(p, "show", status, &stream, error);
        _cleanup_json_ json_t *plan = r == 0 ? json_loadb(buf_str(&text), text.len, 0, &why) : NULL;
        if (r == 0)
                r = plan_check(plan, p->environment, change->replace, error);
        if (r == 0)
                welcome_back(p, plan, change->names, sink);
        return r;
}

/* --- apply --------------------------------------------------------------------------------------------------------- */

static bool state_was_lost(const struct provider *p)
{
        _cleanup_free_ char *path = path_join(p->work, "errored.tfstate");
        return access(path, F_OK) == 0;
}

/* It ended by itself and its state lies where it belongs: whatever it says, nothing is in doubt. */
static bool ended_orderly(struct provider *p, int status, bool cancelled)
{
        _cleanup_free_ char *lock = NULL;
        if (!WIFEXITED(status) || state_was_lost(p))
                return false;
        return !cancelled || (tf_lock_id(p, &lock, NULL) == 0 && !lock);
}

static int apply(struct provider *p, const struct tf_change *change, const json_t *tokens,
                 const struct provider_sink *sink, struct error *error)
{
        _cleanup_stream_ struct tf_stream stream = {.sink = sink,
                                                    .environment = p->environment,
                                                    .tokens = tokens,
                                                    .destroying = change->destroy,
                                                    .total = change->total};
        _cleanup_free_ char *parallel = xasprintf("-parallelism=%lld", (long long)p->config->terraform.parallelism);
        const char *argv[] = {"apply", "-json", "-input=false", parallel, LOCK_TIMEOUT, PLAN_NAME, NULL};
        int status = 0;
        int r = pending_write(p, change, error);
        if (r < 0)
                return r;
        failpoint("terraform.before-apply");
        r = step(p, argv, &stream, true, &status, error);
        failpoint("terraform.after-apply");
        if (ended_orderly(p, status, r == -ECANCELED))
                pending_clear(p);
        else if (r < 0)
                sink_line(sink, "This apply was cut off: some VMs may exist that its state does not name. "
                                "`lablink repair` tells what can be done.");
        return r;
}

int tf_change(struct provider *p, const struct tf_change *change, const struct provider_sink *sink, struct error *error)
{
        _cleanup_json_ json_t *tokens = tokens_load(p);
        _cleanup_free_ char *path = path_join(p->work, PLAN_NAME);
        p->coming = change->names;
        int r = tf_init(p, sink, error);
        if (r == 0)
                r = tfvars_write(p, error);
        if (r == 0)
                r = plan(p, change, tokens, sink, error);
        if (r == 0 && !change->destroy)
                r = look_at_plan(p, change, sink, error);
        if (r == 0)
                r = apply(p, change, tokens, sink, error);
        p->coming = NULL;
        unlink(path);
        return r;
}

/* --- what is only half made ----------------------------------------------------------------------------------------- */

static int discard_one(struct provider *p, const struct tf_vm *vm, int64_t count, const struct provider_sink *sink,
                       struct error *error)
{
        _cleanup_json_ json_t *tokens = tokens_load(p);
        _cleanup_stream_ struct tf_stream stream = {.sink = sink, .environment = p->environment, .tokens = tokens};
        _cleanup_free_ char *counted = xasprintf("-var=instance_count=%lld", (long long)count);
        _cleanup_free_ char *target = xasprintf("-target=%s", vm->target);
        const char *argv[] = {
                "apply",      "-destroy", "-auto-approve", "-json", "-input=false", "-var-file=" TFVARS_NAME,
                LOCK_TIMEOUT, counted,    target,          NULL};
        int status = 0;
        sink_line(sink, "%s was only half made: it is removed", vm->hostname);
        return step(p, argv, &stream, false, &status, error);
}

int tf_discard_half(struct provider *p, const struct tf_state *state, const struct provider_sink *sink,
                    struct error *error)
{
        int r = tf_init(p, sink, error);
        for (size_t i = 0; r == 0 && i < state->n; i++)
                if (state->vm[i].tainted)
                        r = discard_one(p, &state->vm[i], state->last + 1, sink, error);
        return r;
}

/* --- for repairs --------------------------------------------------------------------------------------------------- */

static int push_lost_state(struct provider *p, const struct provider_sink *sink, struct error *error)
{
        _cleanup_stream_ struct tf_stream stream = {.sink = sink, .environment = p->environment};
        _cleanup_free_ char *path = path_join(p->work, "errored.tfstate");
        const char *argv[] = {"state", "push", "-no-color", "errored.tfstate", NULL};
        int status = 0;
        if (!state_was_lost(p))
                return 0;
        sink_line(sink, "A state that could not be written is sent now.");
        int r = step(p, argv, &stream, false, &status, error);
        if (r == 0)
                unlink(path);
        return r;
}

int tf_refresh(struct provider *p, int64_t count, const struct provider_sink *sink, struct error *error)
{
        _cleanup_json_ json_t *tokens = tokens_load(p);
        _cleanup_stream_ struct tf_stream stream = {.sink = sink, .environment = p->environment, .tokens = tokens};
        _cleanup_free_ char *counted = xasprintf("-var=instance_count=%lld", (long long)count);
        const char *argv[] = {"apply",      "-refresh-only", "-auto-approve",
                              "-json",      "-input=false",  "-var-file=" TFVARS_NAME,
                              LOCK_TIMEOUT, counted,         NULL};
        int status = 0;
        int r = tf_init(p, sink, error);
        if (r == 0)
                r = push_lost_state(p, sink, error);
        return r < 0 ? r : step(p, argv, &stream, true, &status, error);
}

int tf_lock_id(struct provider *p, char **ret_id, struct error *error)
{
        _cleanup_stream_ struct tf_stream stream = {.environment = p->environment};
        const char *argv[] = {"plan",
                              "-json",
                              "-input=false",
                              "-refresh=false",
                              "-lock-timeout=0s",
                              "-var-file=" TFVARS_NAME,
                              "-var=instance_count=0",
                              NULL};
        int status = 0;
        int r = tf_init(p, NULL, error);
        if (r == 0)
                r = step(p, argv, &stream, false, &status, error);
        *ret_id = STEAL(stream.lock_id);
        if (*ret_id && error)
                error_clear(error);
        return *ret_id ? 0 : r;
}

int tf_unlock(struct provider *p, const char *id, const struct provider_sink *sink, struct error *error)
{
        _cleanup_stream_ struct tf_stream stream = {.sink = sink, .environment = p->environment};
        const char *argv[] = {"force-unlock", "-force", "-no-color", id, NULL};
        int status = 0;
        return step(p, argv, &stream, false, &status, error);
}

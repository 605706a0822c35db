/*
 * What the engine knows to exist, from its state (version 4, as `state pull` prints it): the outputs, and the instances of
 * the resource that VMs are. Read like this it needs no plugin and no plan, and it tells of VMs that a failed apply has
 * made, which the outputs do not.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

#define KNOWN_MS 10000

void tf_state_clear(struct tf_state *state)
{
        for (size_t i = 0; i < state->n; i++) {
                free(state->vm[i].hostname);
                free(state->vm[i].target);
        }
        free(state->vm);
        json_decref(state->outputs);
        json_decref(state->instances);
        *state = (struct tf_state){.last = -1};
}

static char *target_of(const json_t *resource, const json_t *key)
{
        const char *module = json_get_string(resource, "module");
        const char *type = str_or(json_get_string(resource, "type"), "");
        const char *name = str_or(json_get_string(resource, "name"), "");
        const char *dot = module ? "." : "";
        module = str_or(module, "");
        if (json_is_string(key))
                return xasprintf("%s%s%s.%s[\"%s\"]", module, dot, type, name, json_string_value(key));
        return xasprintf("%s%s%s.%s[%lld]", module, dot, type, name, (long long)json_integer_value(key));
}

static void add_instance(struct tf_state *state, const char *environment, const json_t *resource,
                         const json_t *instance)
{
        const json_t *key = json_object_get(instance, "index_key");
        char *name = tf_vm_name(environment, VM_RESOURCE, key);
        if (!name || json_object_get(instance, "deposed")) { /* one that a replacement has left to be removed */
                free(name);
                return;
        }
        state->vm = xreallocarray(state->vm, state->n + 1, sizeof *state->vm);
        state->vm[state->n++] = (struct tf_vm){.hostname = name,
                                               .target = target_of(resource, key),
                                               .index = json_is_integer(key) ? json_integer_value(key) : 0,
                                               .tainted = str_eq(json_get_string(instance, "status"), "tainted")};
        if (json_is_integer(key))
                state->last = MAX(state->last, (int64_t)json_integer_value(key));
}

static void add_resource(struct tf_state *state, const char *environment, const json_t *resource)
{
        size_t i;
        const json_t *instance;
        bool is_vm = str_eq(json_get_string(resource, "name"), VM_RESOURCE);
        if (!str_eq(json_get_string(resource, "mode"), "managed"))
                return;
        json_array_foreach (json_object_get(resource, "instances"), i, instance) {
                json_t *key = json_object_get(instance, "index_key");
                _cleanup_free_ char *target = key ? target_of(resource, key) : NULL;
                if (target)
                        json_array_append_new(state->instances, json_pack("{s:s, s:O}", "target", target, "key", key));
                if (is_vm)
                        add_instance(state, environment, resource, instance);
        }
}

static int by_index(const void *a, const void *b)
{
        const struct tf_vm *x = a, *y = b;
        return x->index < y->index ? -1 : x->index > y->index;
}

int state_parse(const char *text, size_t len, const char *environment, struct tf_state *ret, struct error *error)
{
        *ret = (struct tf_state){.last = -1};
        json_error_t why;
        size_t i;
        const json_t *resource;
        while (len && strchr(" \n\r\t", text[len - 1]))
                len--;
        if (len == 0) /* nothing was ever made */
                return 0;
        _cleanup_json_ json_t *root = json_loadb(text, len, 0, &why);
        if (!json_is_object(root))
                return error_set(error, -EINVAL, "the state is no JSON (line %d)", root ? 1 : why.line);
        json_int_t version = json_integer_value(json_object_get(root, "version"));
        if (version != 4)
                return error_set(error, -ENOTSUP, "the state has the format %lld, this program reads 4",
                                 (long long)version);
        ret->instances = json_array();
        json_array_foreach (json_object_get(root, "resources"), i, resource)
                add_resource(ret, environment, resource);
        if (ret->n)
                qsort(ret->vm, ret->n, sizeof *ret->vm, by_index);
        ret->outputs = json_incref(json_object_get(root, "outputs"));
        return 0;
}

static void keep(void *userdata, const char *line, size_t len, bool is_stderr)
{
        if (is_stderr)
                tf_stream_line(userdata, line, len, true);
}

/* An engine may be at work in the module's copy. Only who holds the runner's lock knows that none is: whoever else looks
 * takes the copy as it stands. */
static int prepare_to_pull(struct provider *p, struct error *error)
{
        _cleanup_free_ char *data = tf_path(p, "data");
        if (p->lock_fd < 0 && access(p->work, F_OK) == 0 && access(data, F_OK) == 0)
                return 0;
        return tf_init(p, NULL, error);
}

static int pull_now(struct provider *p, struct buf *text, struct error *error)
{
        _cleanup_stream_ struct tf_stream words = {.environment = p->environment};
        int status = 0;
        struct engine_call call = {
                .argv = (const char *[]){"state", "pull", NULL}, .out = text, .line = keep, .userdata = &words};
        int r = prepare_to_pull(p, error);
        if (r == 0)
                r = engine_run(p, &call, &status, error);
        if (r == 0 && status != 0)
                r = error_set(error, -EIO, "%s", buf_str(&words.trouble));
        return r;
}

void state_forget(struct provider *p)
{
        buf_wipe(&p->pulled);
}

/* Who changes something asks anew each time. */
static int pull(struct provider *p, struct buf *text, struct error *error)
{
        bool looks = p->lock_fd < 0;
        if (looks && p->pulled.len && clock_ms() - p->pulled_ms < KNOWN_MS) {
                buf_add(text, p->pulled.data, p->pulled.len);
                return 0;
        }
        int r = pull_now(p, text, error);
        state_forget(p);
        if (r == 0 && looks && text->len)
                buf_add(&p->pulled, text->data, text->len);
        p->pulled_ms = clock_ms();
        return r;
}

static int read_pulled(struct provider *p, struct tf_state *ret, struct error *error)
{
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        int r = pull(p, &text, error);
        if (r == 0)
                r = state_parse(buf_str(&text), text.len, p->environment, ret, error);
        return r;
}

/* A local state is a file beside us: no program has to be asked. */
int state_read(struct provider *p, struct tf_state *ret, struct error *error)
{
        int r = module_backend(p) == TF_LOCAL ? copy_read(p, ret, error) : read_pulled(p, ret, error);
        return r < 0 ? error_wrap(error, "cannot read the state of the VMs") : 0;
}

const struct tf_vm *state_find(const struct tf_state *state, const char *hostname)
{
        for (size_t i = 0; i < state->n; i++)
                if (str_eq(state->vm[i].hostname, hostname))
                        return &state->vm[i];
        return NULL;
}

json_t *state_beside(const struct tf_state *state, const struct tf_vm *vm)
{
        json_t *targets = json_array();
        const json_t *key = NULL, *instance;
        size_t i;
        json_array_foreach (state->instances, i, instance)
                if (str_eq(json_get_string(instance, "target"), vm->target))
                        key = json_object_get(instance, "key");
        json_array_foreach (state->instances, i, instance)
                if (json_equal(json_object_get(instance, "key"), key))
                        json_array_append(targets, json_object_get(instance, "target"));
        return targets;
}

static const json_t *output(const struct tf_state *state, const char *name)
{
        return json_object_get(json_object_get(state->outputs, name), "value");
}

const char *state_output_of(const struct tf_state *state, const char *name, const char *hostname)
{
        size_t i;
        const json_t *known;
        json_array_foreach (output(state, "vm_instance_names"), i, known)
                if (str_eq(json_string_value(known), hostname))
                        return json_string_value(json_array_get(output(state, name), i));
        return NULL;
}

bool state_times(const struct tf_state *state, const char *hostname, double *ret_started, double *ret_ended)
{
        const json_t *times = json_object_get(output(state, "instance_terraform_apply_times"), hostname);
        const char *start = json_get_string(times, "start_time"), *end = json_get_string(times, "end_time");
        return start && end && clock_parse_iso(start, ret_started) == 0 && clock_parse_iso(end, ret_ended) == 0;
}

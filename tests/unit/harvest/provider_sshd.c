/*
 * A provider for tests of collecting: it makes nothing, and says of each VM what STATE/test-vms.json says, an object by
 * host name of {"address", "port", "user", "key", "known_hosts", "container", "home"}. It stands in the place of the
 * provider `terraform` in a runner that is built for the tests alone.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "config/config.h"
#include "provider/terraform/terraform.h"

struct provider {
        char *path, *made; /* what there could be, and what was launched */
};

static int open_sshd(const struct config *config, struct provider **ret, struct error *error _unused_)
{
        _cleanup_free_ char *state = config_state_dir(config);
        struct provider *p = xcalloc(1, sizeof *p);
        p->path = path_join(state, "test-vms.json");
        p->made = path_join(state, "test-made.json");
        *ret = p;
        return 0;
}

static struct provider *close_sshd(struct provider *p)
{
        free(p->path);
        free(p->made);
        free(p);
        return NULL;
}

static json_t *read_json(const char *path)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        json_t *json = file_read(path, 1 << 20, &text, NULL) == 0 ? json_read(buf_str(&text), text.len, NULL) : NULL;
        return json ? json : json_object();
}

static int write_json(const char *path, const json_t *json, struct error *error)
{
        _cleanup_free_ char *text = json_text(json);
        return file_write(path, text, strlen(text), 0600, error);
}

static int check(struct provider *p _unused_, char **ret_code, char **ret_hint _unused_, char ***ret_detail _unused_)
{
        *ret_code = xstrdup("ready");
        return 0;
}

static int launch(struct provider *p, const struct provider_order *orders, size_t n, const struct provider_sink *sink,
                  struct error *error)
{
        _cleanup_json_ json_t *made = read_json(p->made);
        for (size_t i = 0; i < n; i++) {
                json_object_set_new(made, orders[i].hostname, json_true());
                if (sink->created)
                        sink->created(sink->userdata, orders[i].hostname, clock_now(), clock_now());
        }
        return write_json(p->made, made, error);
}

static int list(struct provider *p, struct provider_vms *ret, struct error *error _unused_)
{
        _cleanup_json_ json_t *made = read_json(p->made);
        const char *name;
        json_t *value;
        *ret = (struct provider_vms){.vm = xcalloc(json_object_size(made) + 1, sizeof *ret->vm)};
        json_object_foreach (made, name, value)
                ret->vm[ret->n++] = (struct provider_vm){.hostname = xstrdup(name), .state = PROVIDER_RUNNING};
        return 0;
}

static int destroy_all(struct provider *p, const struct provider_sink *sink _unused_, struct error *error)
{
        _cleanup_json_ json_t *none = json_object();
        return write_json(p->made, none, error);
}

static int start(struct provider *p _unused_, const char *hostname _unused_, const struct provider_sink *sink _unused_,
                 struct error *error _unused_)
{
        return 0;
}

static int reset(struct provider *p _unused_, const char *hostname _unused_, const char *token _unused_,
                 const struct provider_sink *sink _unused_, struct error *error _unused_)
{
        return 0;
}

static int exec_inside(struct provider *p _unused_, const char *hostname _unused_, bool as_root _unused_,
                       const char *const *argv _unused_, int *ret_status _unused_, struct error *error)
{
        return error_set(error, -ENOTSUP, "not in this test");
}

static int reach(struct provider *p, const char *hostname, struct provider_reach *ret, struct error *error)
{
        _cleanup_json_ json_t *all = read_json(p->path);
        const json_t *vm = json_object_get(all, hostname);
        if (!vm)
                return error_set(error, -ENOENT, "no VM is called %s", hostname);
        *ret = (struct provider_reach){.kind = REACH_SSH,
                                       .user = xstrdup(json_get_string(vm, "user")),
                                       .address = xstrdup(json_get_string(vm, "address")),
                                       .port = (int)json_integer_value(json_object_get(vm, "port")),
                                       .key_file = xstrdup(json_get_string(vm, "key")),
                                       .known_hosts_file = xstrdup(json_get_string(vm, "known_hosts")),
                                       .container = json_is_true(json_object_get(vm, "container")),
                                       .home = xstrdup(json_get_string(vm, "home"))};
        return 0;
}

const struct provider_ops terraform_provider = {
        .name = "terraform",
        .open = open_sshd,
        .close = close_sshd,
        .check = check,
        .launch = launch,
        .list = list,
        .destroy_all = destroy_all,
        .start = start,
        .reset = reset,
        .exec = exec_inside,
        .reach = reach,
};

/* lablink vm list, show, watch, release: what the allocator says of its VMs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/follow.h"
#include "cli/list.h"
#include "cli/table.h"
#include "cli/term.h"

#define PATIENCE_MS 120000

static void add_ago(struct table *table, const json_t *vm, const char *key)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        term_ago(json_get_string(vm, key), &text);
        table_add(table, buf_str(&text));
}

/* Nobody can claim a VM that was released and not yet made fresh, though it runs. */
static void add_status(struct table *table, const json_t *vm)
{
        const char *status = str_or(json_get_string(vm, "status"), "-");
        bool used = json_is_true(json_object_get(vm, "needs_reset"));
        bool launched = json_is_true(json_object_get(vm, "launched"));
        table_addf(table, "%s%s", status, !used ? "" : launched ? ", being made fresh" : ", must be made anew");
}

static void add_vm(struct table *table, const json_t *vm)
{
        const json_t *healthy = json_object_get(vm, "healthy");
        table_add_json(table, vm, "hostname");
        add_status(table, vm);
        table_add_json(table, vm, "email");
        table_add_json(table, vm, "in_use");
        table_add(table, json_is_true(healthy) ? "healthy" : json_is_false(healthy) ? "unhealthy" : "N/A");
        add_ago(table, vm, "last_seen");
        add_ago(table, vm, "created_at");
}

int run_vm_list(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        static const char *const heads[] = {"NAME", "STATUS", "SEAT", "IN USE", "GPU", "SEEN", "CREATED", NULL};
        return list_show(cli, "/admin/instances", "instances", heads, add_vm,
                         "there are no VMs; `lablink launch N` makes some", error);
}

/* The VM called `name` in the list; borrowed. */
static int find_vm(struct cli *cli, const char *name, json_t **ret_list, const json_t **ret, struct error *error)
{
        int r = api_check_name(name, error);
        if (r == 0)
                r = api_get(cli, "/admin/instances", ret_list, error);
        if (r < 0)
                return r;
        size_t i;
        const json_t *vm;
        json_array_foreach (json_object_get(*ret_list, "instances"), i, vm)
                if (str_eq(json_get_string(vm, "hostname"), name)) {
                        *ret = vm;
                        return 0;
                }
        cli_hint(cli, "`lablink vm list` shows the names");
        return error_set(error, -ENOENT, "no VM is called %s", name);
}

int run_vm_show(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        _cleanup_json_ json_t *list = NULL;
        const json_t *vm;
        int r = find_vm(cli, argv[0], &list, &vm, error);
        if (r < 0)
                return r;
        if (cli->json) {
                json_put(vm, stdout);
                return CLI_GOOD;
        }
        _cleanup_table_ struct table *table = table_new(NULL);
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)vm, key, value) {
                table_add(table, key);
                table_add_json(table, vm, key);
        }
        table_print(table, false, stdout);
        return CLI_GOOD;
}

static int ask_release(struct cli *cli, const char *name, struct error *error)
{
        _cleanup_json_ json_t *list = NULL;
        const json_t *vm = NULL;
        int r = api_check_name(name, error);
        if (r == 0)
                r = confirm_possible(cli, "vm release", error);
        if (r != 0)
                return MIN(r, 0);
        r = find_vm(cli, name, &list, &vm, error);
        if (r < 0)
                return r;
        return confirm(error,
                       "This takes %s from %s and makes it fresh; files that were not collected are lost.\n"
                       "Type yes to go on: ",
                       name, str_or(json_get_string(vm, "email"), "nobody"));
}

int run_vm_release(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        int r = ask_release(cli, argv[0], error);
        if (r < 0)
                return r;
        _cleanup_free_ char *path = xasprintf("/api/admin/vms/%s/release", argv[0]);
        _cleanup_json_ json_t *body = json_pack("{s:b}", "yes", 1);
        _cleanup_json_ json_t *answer = NULL;
        r = api_post(cli, path, body, &answer, error);
        if (r < 0)
                return r;
        if (cli->json)
                json_put(answer, stdout);
        bool launched = json_is_true(json_object_get(json_object_get(answer, "vm"), "launched"));
        cli_say(cli, "nobody has the seat on %s any more; the VM %s before somebody else gets it", argv[0],
                launched ? "is made fresh" : "was not launched here and must be made anew");
        return CLI_GOOD;
}

/* --- watch ------------------------------------------------------------------------------------------------------- */

struct watch {
        struct cli *cli;
        json_t *shown; /* by name: what was printed last, so that a new connection repeats nothing */
};

static void put_change(struct watch *w, const json_t *vm, const char *status)
{
        char now[CLOCK_ISO_SIZE];
        const char *name = json_get_string(vm, "hostname");
        const char *email = json_get_string(vm, "email");
        if (!name)
                return;
        _cleanup_free_ char *what = xasprintf("%s%s%s%s", status, email ? "  seat of " : "", str_or(email, ""),
                                              json_is_true(json_object_get(vm, "in_use")) ? ", in use" : "");
        if (str_eq(json_get_string(w->shown, name), what))
                return;
        json_object_set_new(w->shown, name, json_string(what));
        clock_iso(clock_now(), now);
        _cleanup_free_ char *line = xasprintf("%.8s  %s  %s\n", now + 11, name, what);
        term_put(stdout, line);
}

static void on_change(void *userdata, const char *event, _unused_ const char *id, const char *data)
{
        struct watch *w = userdata;
        _cleanup_json_ json_t *value = json_read(data, strlen(data), NULL);
        if (!value)
                return;
        _cleanup_json_ json_t *line = json_pack("{s:s, s:O}", "event", event, "data", value);
        if (w->cli->json) {
                _cleanup_free_ char *text = json_text(line);
                puts(text);
        } else if (str_eq(event, "vm")) {
                put_change(w, value, str_or(json_get_string(value, "status"), "?"));
        } else if (str_eq(event, "gone")) {
                put_change(w, value, "gone");
        }
        fflush(stdout);
}

static bool watching(_unused_ void *userdata)
{
        return !interrupt_seen() && !ferror(stdout);
}

int run_vm_watch(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        _cleanup_json_ json_t *shown = json_object();
        struct watch w = {.cli = cli, .shown = shown};
        struct api_stream stream = {.event = on_change, .tick = watching, .userdata = &w};
        int64_t pause = 250, trouble = 0;
        bool connected = false;
        interrupt_catch();
        while (watching(NULL)) {
                int r = api_follow(cli, "/api/events", &stream, error);
                if (r < 0 && (!connected || (r != -ENOTCONN && r != -EAGAIN)))
                        return r;
                connected = true;
                pause = r == 0 ? 250 : MIN(pause * 2, 4000);
                trouble = r == 0 ? 0 : trouble ? trouble : clock_ms();
                if (trouble && clock_ms() - trouble > PATIENCE_MS)
                        return r;
                if (watching(NULL))
                        clock_sleep_ms(pause);
        }
        error_clear(error);
        return CLI_GOOD;
}

/* The administrator's pages about VMs and seats, each with its JSON twin. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/text.h"
#include "lab/aws_order.h"
#include "lab/collection.h"
#include "lab/first_frame.h"
#include "lab/names.h"
#include "lab/settings.h"
#include "web/routes.h"

void admin_state_free(void *state)
{
        struct admin_state *s = state;
        json_decref(s->counts.value);
        json_decref(s->operation.value);
        json_decref(s->provider.value);
        json_decref(s->list.array);
        json_decref(s->files.value);
        json_decref(s->aws.value);
        free(s->aws_problem);
        free(s->hostname);
}

/* --- overview, create, delete: the same facts, three pages ---------------------------------------------------------- */

static json_t *provider_of(const struct admin_state *s)
{
        if (s->provider.value)
                return json_incref(s->provider.value);
        return json_pack("{s:s, s:s, s:s}", "name", "", "code", "not-checked", "hint",
                         "The provider has not been looked at yet.");
}

/* Machines that no row names; what only the page needs to head their list. */
static void add_orphans(json_t *model)
{
        const json_t *orphans = json_object_get(json_object_get(model, "provider"), "orphans");
        if (json_array_size(orphans))
                json_object_set_new(model, "orphans", json_integer((json_int_t)json_array_size(orphans)));
}

static void add_repair(json_t *model)
{
        json_t *repair = repair_model(json_get_string(json_object_get(model, "provider"), "hint"), NULL);
        if (repair)
                json_object_set_new(model, "repair", repair);
}

static void add_aws(const struct admin_state *s, json_t *model)
{
        if (!json_object_get(model, "aws"))
                return;
        aws_add_words(model);
        if (s->aws_message)
                json_object_set_new(model, "aws_message", json_string(s->aws_message));
        if (s->aws_problem)
                json_object_set_new(model, "aws_problem", json_string(s->aws_problem));
}

static int overview_answer(struct task *t)
{
        struct admin_state *s = t->state;
        struct web *web = web_of(t);
        json_t *counts = s->counts.value;
        json_t *model = json_pack("{s:s, s:s?, s:s, s:f, s:O, s:o, s:o, s:s, s:I, s:O?, s:O?, s:s}", "version",
                                  LABLINK_VERSION, "user", web_user(t), "public_url", web->public_url, "uptime_seconds",
                                  (double)(clock_ms() - web->started_ms) / 1000.0, "counts", counts, "provider",
                                  provider_of(s), "operation",
                                  s->operation.value ? json_incref(s->operation.value) : json_null(), "client_auth",
                                  config_client_auth(web->config), "vms_max", (json_int_t)web->config->provider.vms_max,
                                  "count", json_object_get(counts, "total"), "assigned",
                                  json_object_get(counts, "assigned"), "extension", web->config->machine.extension);
        if (str_eq(s->template_name, "admin"))
                json_object_set_new(model, "aws", aws_model(web, s->aws.value));
        json_object_set(model, "files", s->files.value);
        if (!request_wants_json(t)) {
                add_orphans(model);
                add_repair(model);
                add_aws(s, model);
        }
        return reply_view(t, s->status, s->template_name, model);
}

static int overview_aws(struct task *t)
{
        struct admin_state *s = t->state;
        _cleanup_free_ char *key = aws_order_setting(web_of(t)->site);
        if (!str_eq(s->template_name, "admin") || s->aws.value)
                return overview_answer(t);
        return db_await(t, setting_get(key, &s->aws), overview_answer);
}

static int overview_provider(struct task *t)
{
        struct admin_state *s = t->state;
        return db_await(t, setting_get("provider", &s->provider), overview_aws);
}

static int overview_operation(struct task *t)
{
        struct admin_state *s = t->state;
        return db_await(t, operation_current(&s->operation), overview_provider);
}

static int overview_look(struct task *t)
{
        struct admin_state *s = t->state;
        return db_await(t, vm_counts(&s->counts), overview_operation);
}

static int overview(struct task *t, const char *template_name)
{
        struct admin_state *s = t->state;
        s->template_name = template_name;
        s->status = s->status ? s->status : 200;
        return db_await(t, collection_guard(&s->files), overview_look);
}

int admin_overview(struct task *t, unsigned status)
{
        ((struct admin_state *)t->state)->status = status;
        return overview(t, "admin");
}

int admin_page(struct task *t)
{
        return overview(t, "admin");
}

int create_page(struct task *t)
{
        return overview(t, "create-instances");
}

int delete_page(struct task *t)
{
        return overview(t, "delete-instances");
}

/* --- instances ----------------------------------------------------------------------------------------------------- */

static void add_seconds(json_t *vm, const char *name, const json_t *value)
{
        char text[32];
        if (!json_is_number(value))
                return;
        snprintf(text, sizeof text, "%.1f s", json_number_value(value));
        json_object_set_new(vm, name, json_string(text));
}

/* What only the page needs: words and times as people read them. */
static void add_words(json_t *vm)
{
        json_t *healthy = json_object_get(vm, "healthy");
        json_t *metrics = json_object_get(vm, "metrics");
        const char *seen = json_get_string(vm, "last_seen"), *created = json_get_string(vm, "created_at");
        _cleanup_free_ char *silent = xasprintf("created, silent since %s", str_or(created, "its launch"));
        const char *word = json_is_true(healthy) ? "Healthy" : json_is_false(healthy) ? "Unhealthy" : "N/A";
        json_object_set_new(vm, "healthy_text", json_string(word));
        json_object_set_new(vm, "seen_text", json_string(seen ? seen : silent));
        add_seconds(vm, "made_seconds", json_object_get(vm, "terraform_timing_seconds"));
        add_seconds(vm, "boot_seconds", json_object_get(metrics, "cloud_init_duration_seconds"));
        add_seconds(vm, "container_seconds", json_object_get(metrics, "container_startup_duration_seconds"));
        add_seconds(vm, "first_frame_seconds", json_object_get(metrics, FIRST_FRAME_KEY));
        add_seconds(vm, "total_seconds", json_object_get(vm, "total_startup_time_seconds"));
}

static int instances_answer(struct task *t)
{
        struct admin_state *s = t->state;
        size_t index;
        json_t *vm;
        if (!request_wants_json(t))
                json_array_foreach (s->list.array, index, vm)
                        add_words(vm);
        json_t *model = json_pack("{s:O, s:O, s:b}", "instances", s->list.array, "counts", s->counts.value, "desktops",
                                  config_desktop_browser(web_of(t)->config));
        return reply_view(t, 200, "instances", model);
}

static int instances_counts(struct task *t)
{
        struct admin_state *s = t->state;
        return db_await(t, vm_counts(&s->counts), instances_answer);
}

int instances_page(struct task *t)
{
        struct admin_state *s = t->state;
        s->list.array = json_array();
        return db_await(t, vm_rows(NULL, &s->list), instances_counts);
}

/* --- release ------------------------------------------------------------------------------------------------------- */

static int release_shown(struct task *t)
{
        struct admin_state *s = t->state;
        json_t *vm = json_array_get(s->list.array, 0);
        failpoint("release.before-answer");
        if (!request_wants_json(t))
                return reply_redirect(t, "/admin/instances");
        if (!vm)
                return web_unknown_vm(t);
        return reply_json(t, 200, json_pack("{s:O, s:n}", "vm", vm, "operation"));
}

static int release_start(struct task *t);

static int release_answer(struct task *t)
{
        struct admin_state *s = t->state;
        switch (s->released.outcome) {
        case RELEASE_UNKNOWN_VM:
                return web_unknown_vm(t);
        case RELEASE_NO_SEAT:
                /* A second click at the same moment: its first may just have been committed. */
                if (web_request_key(t) && !s->asked_again) {
                        s->asked_again = true;
                        return release_start(t);
                }
                return reply_error(t, 409, "no-seat",
                                   "Nobody has the seat on %s, and it is ready for the next one, or being made fresh.",
                                   s->hostname);
        case RELEASE_DONE:
                failpoint("release.before-kick");
                hub_seat_ended(web_of(t)->hub, s->hostname);
                web_kick(web_of(t), 0);
                break;
        case RELEASE_REPEATED:
                break;
        }
        return db_await(t, vm_rows(s->hostname, &s->list), release_shown);
}

static int release_start(struct task *t)
{
        struct admin_state *s = t->state;
        failpoint("release.before-write");
        return db_await(t, seat_release(s->hostname, str_or(web_user(t), "admin"), web_request_key(t), &s->released),
                        release_answer);
}

static bool said_yes(struct task *t)
{
        const char *word = request_field(t, "yes");
        bool yes = false;
        return json_is_true(json_object_get(request_json(t), "yes")) || (word && parse_bool(word, &yes) == 0 && yes);
}

int release_seat(struct task *t)
{
        struct admin_state *s = t->state;
        if (!hostname_valid(request_argument(t, "hostname")))
                return web_unknown_vm(t);
        s->hostname = xstrdup(request_argument(t, "hostname"));
        s->list.array = json_array();
        if (!said_yes(t))
                return reply_error(t, 422, "not-confirmed",
                                   "Releasing the seat erases the participant's files on %s. Say yes to go on.",
                                   s->hostname);
        return release_start(t);
}

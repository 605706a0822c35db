/*
 * What VMs report. Each handler checks its words and hands one item to a batch; the answer goes out after the commit. In
 * `open` mode an unknown VM that reports a status is made known first, as the prototype did.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/failpoint.h"
#include "lab/names.h"
#include "web/routes.h"

void report_state_free(void *state)
{
        struct report_state *s = state;
        json_decref(s->item);
        json_decref(s->list.array);
}

static int report_done(struct task *t)
{
        struct report_state *s = t->state;
        failpoint("report.before-answer");
        if (s->answer.found ? !s->answer.allowed : web_token_demanded(t))
                return web_unauthorized_vm(t);
        if (!s->answer.found)
                return web_unknown_vm(t);
        return reply_json(t, 200, json_pack("{s:s}", "message", s->message));
}

static int send_item_named(struct task *t, json_t *item, task_step next, const char *name)
{
        struct report_state *s = t->state;
        char key[REPORT_KEY_SIZE], hash[TOKEN_HASH_LENGTH + 1];
        const char *proof = web_proof(t, hash);
        report_key(s->hostname, proof, key);
        return batch_await_named(t, web_of(t)->reports, key, report_with_proof(item, proof, web_token_demanded(t)),
                                 &s->answer, next, name);
}
#define send_item(t, item, next) send_item_named((t), (item), (next), #next)

static int send_report(struct task *t, json_t *item, const char *message)
{
        struct report_state *s = t->state;
        s->message = message;
        return send_item(t, item, report_done);
}

/* What is wrong with a word is told to the VM itself. */
static int refuse(struct task *t, unsigned status, const char *code, const char *sentence)
{
        return web_vm_proven(t) ? reply_error(t, status, code, "%s", sentence) : web_prove_vm(t);
}

/* Who speaks, into s->hostname, and the member that the report is about; NULL: replied. */
static const json_t *take_member(struct task *t, const char *name, const char *missing, int *ret_replied)
{
        struct report_state *s = t->state;
        s->hostname = web_hostname_field(t, "hostname", ret_replied);
        if (!s->hostname)
                return NULL;
        const json_t *member = json_object_get(request_json(t), name);
        if (member && !json_is_null(member))
                return member;
        *ret_replied = refuse(t, 400, "missing-field", missing);
        return NULL;
}

/* --- status -------------------------------------------------------------------------------------------------------- */

static int status_introduced(struct task *t)
{
        struct report_state *s = t->state;
        if (!s->introduced.yes)
                return web_unknown_vm(t);
        return send_item(t, json_incref(s->item), report_done);
}

static int status_done(struct task *t)
{
        struct report_state *s = t->state;
        if (!s->answer.found && !web_token_demanded(t))
                return db_await(t, vm_introduce(s->hostname, &s->introduced), status_introduced);
        return report_done(t);
}

int status_report(struct task *t)
{
        struct report_state *s = t->state;
        int replied = 0;
        const json_t *status = take_member(t, "status", "Status is required.", &replied);
        if (!status)
                return replied;
        if (!json_is_string(status) || !status_valid(json_string_value(status)) ||
            strlen(json_string_value(status)) != json_string_length(status))
                return refuse(t, 422, "bad-status", "status must be one of: " STATUS_WORDS ".");
        s->item = report_status(s->hostname, json_string_value(status));
        s->message = "VM status updated successfully.";
        return send_item(t, json_incref(s->item), status_done);
}

static int status_one_answer(struct task *t)
{
        struct report_state *s = t->state;
        if (!s->brief.found)
                return web_unknown_vm(t);
        return reply_json(
                t, 200,
                json_pack("{s:s, s:s}", "hostname", request_argument(t, "hostname"), "status", s->brief.status));
}

int status_one(struct task *t)
{
        struct report_state *s = t->state;
        const char *hostname = request_argument(t, "hostname");
        char key[32];
        if (!hostname_valid(hostname))
                return web_unknown_vm(t);
        snprintf(key, sizeof key, "%p", (void *)t);
        return batch_await(t, web_of(t)->briefs, key, brief_item(hostname), &s->brief, status_one_answer);
}

static int status_all_answer(struct task *t)
{
        struct report_state *s = t->state;
        return reply_json(t, 200, STEAL(s->list.array));
}

int status_all(struct task *t)
{
        struct report_state *s = t->state;
        s->list.array = json_array();
        return db_await(t, vm_statuses(&s->list), status_all_answer);
}

/* --- in use, health, heartbeat ------------------------------------------------------------------------------------- */

int in_use_report(struct task *t)
{
        struct report_state *s = t->state;
        int replied = 0;
        const json_t *status = take_member(t, "status", "Status is required.", &replied);
        if (!status)
                return replied;
        if (!json_is_boolean(status))
                return refuse(t, 422, "wrong-type", "status must be true or false.");
        return send_report(t, report_in_use(s->hostname, json_is_true(status)), "In-use status updated successfully.");
}

static int read_health(const json_t *value, enum health *ret)
{
        static const struct {
                const char *word;
                enum health health;
        } words[] = {{"Healthy", HEALTH_HEALTHY}, {"Unhealthy", HEALTH_UNHEALTHY}, {"N/A", HEALTH_NO_GPU}};
        if (json_is_boolean(value)) {
                *ret = json_is_true(value) ? HEALTH_HEALTHY : HEALTH_UNHEALTHY;
                return 0;
        }
        for (size_t i = 0; json_is_string(value) && i < ARRAY_SIZE(words); i++)
                if (strcasecmp(json_string_value(value), words[i].word) == 0) {
                        *ret = words[i].health;
                        return 0;
                }
        return -EINVAL;
}

int health_report(struct task *t)
{
        struct report_state *s = t->state;
        int replied = 0;
        enum health health;
        const json_t *status = take_member(t, "gpu_status", "GPU status is required.", &replied);
        if (!status)
                return replied;
        if (read_health(status, &health) < 0)
                return refuse(t, 422, "bad-gpu-status", "gpu_status must be true, false, Healthy, Unhealthy or N/A.");
        return send_report(t, report_health(s->hostname, health), "GPU health status updated successfully.");
}

int heartbeat_report(struct task *t)
{
        struct report_state *s = t->state;
        int replied = 0;
        s->hostname = web_hostname_field(t, "hostname", &replied);
        if (!s->hostname)
                return replied;
        const json_t *boot = json_object_get(request_json(t), "boot_id");
        const json_t *generation = json_object_get(request_json(t), "generation");
        const json_t *uptime = json_object_get(request_json(t), "uptime");
        if ((boot && (!json_is_string(boot) || json_string_length(boot) > 64 ||
                      strlen(json_string_value(boot)) != json_string_length(boot))) ||
            (generation && (!json_is_integer(generation) || json_integer_value(generation) < 0)) ||
            (uptime && (!json_is_number(uptime) || json_number_value(uptime) < 0)))
                return refuse(t, 422, "wrong-type",
                              "boot_id must be a text, generation a whole number and uptime a number of seconds.");
        json_t *item = report_heartbeat(s->hostname, json_string_value(boot),
                                        generation ? json_integer_value(generation) : -1,
                                        uptime ? json_number_value(uptime) : -1);
        return send_report(t, item, "Heartbeat taken.");
}

/* --- metrics ------------------------------------------------------------------------------------------------------- */

int metrics_report(struct task *t)
{
        struct report_state *s = t->state;
        _cleanup_error_ struct error error = ERROR_NULL;
        json_t *metrics = NULL;
        s->hostname = request_argument(t, "hostname");
        if (!hostname_valid(s->hostname))
                return web_unknown_vm(t);
        if (metrics_check(request_json(t), &metrics, &error) < 0)
                return reply_error(t, json_object_size(request_json(t)) ? 422 : 400, "bad-metric", "%s",
                                   error_text(&error));
        s->message = "VM metrics posted successfully.";
        return batch_await(t, web_of(t)->metrics, s->hostname, report_metrics(s->hostname, metrics), &s->answer,
                           report_done);
}

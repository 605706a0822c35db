/* What several handlers need: a VM's name from a body, one-time keys, what every page shows, the word to the supervisor. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/token.h"
#include "lab/names.h"
#include "web/web.h"

#define KEY_MAX 128

const char *web_hostname_field(struct task *t, const char *name, int *ret_replied)
{
        const json_t *member = json_object_get(request_json(t), name);
        if (!member || json_is_null(member) || (json_is_string(member) && json_string_length(member) == 0)) {
                *ret_replied = strcmp(name, "hostname") == 0
                                       ? reply_error(t, 400, "missing-field", "Hostname is required.")
                                       : reply_error(t, 400, "missing-field", "%s is required.", name);
                return NULL;
        }
        const char *hostname = json_string_value(member);
        if (!hostname || strlen(hostname) != json_string_length(member) || !hostname_valid(hostname)) {
                *ret_replied = reply_error(t, 422, "bad-hostname",
                                           "%s must be a host name: letters, digits, dots, dashes and underscores.",
                                           name);
                return NULL;
        }
        return hostname;
}

int web_unknown_vm(struct task *t)
{
        return reply_error(t, 404, "unknown-vm", "VM not found.");
}

const char *web_request_key(struct task *t)
{
        const char *key = request_field(t, "_key");
        if (!key || !*key)
                key = request_header(t, "Idempotency-Key");
        return key && *key && strlen(key) <= KEY_MAX ? key : NULL;
}

void web_page_globals(struct task *t, json_t *model)
{
        char key[TOKEN_LENGTH + 1];
        token_random(key);
        const char *user = web_user(t);
        json_object_set_new(model, "version", json_string(LABLINK_VERSION));
        json_object_set_new(model, "admin", json_boolean(user != NULL));
        json_object_set_new(model, "user", user ? json_string(user) : json_null());
        json_object_set_new(model, "path", json_string(request_path(t)));
        json_object_set_new(model, "key", json_string(key));
}

json_t *web_vm_public(json_t *vm)
{
        json_object_del(vm, "crd_command");
        return vm;
}

void web_kick(struct web *web, int64_t operation_id)
{
        if (web->supervisor < 0)
                return;
        /* A full socket is no loss: whatever stays queued is announced again by housekeeping. */
        if (send(web->supervisor, &operation_id, sizeof operation_id, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            errno != EAGAIN)
                log_warning("cannot reach the supervisor: %s", strerror(errno));
}

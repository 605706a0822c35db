/*
 * The runner and its provider: opening it with what its children need, repairing what it left, and one machine by itself,
 * for a module whose commands start machines of another provider (terraform/local-vms).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "lab/vm.h"
#include "runner/runner.h"

int runner_open(struct runner *runner, struct error *error)
{
        struct provider_means means = {.lock_fd = runner->lock_fd, .aws = &runner->aws};
        int r = runner->ops->open(runner->config, &runner->provider, error);
        if (r == 0 && runner->ops->equip)
                runner->ops->equip(runner->provider, &means);
        return r;
}

static void machine_known(struct runner *runner, const char *hostname, double started, double ended)
{
        runner_db(runner, vm_made(hostname, started, ended), PATIENCE_MS, NULL);
}

int work_repair(struct runner *runner, const json_t *arguments, struct error *error)
{
        struct provider_sink sink = runner_sink(runner);
        const char *action = str_or(json_get_string(arguments, "action"), "");
        if (!runner->ops->repair)
                return error_set(error, -ENOTSUP, "the provider %s mends by itself what it left", runner->ops->name);
        runner_say(runner, "Repair of the provider %s: %s.", runner->ops->name, action);
        runner->created = machine_known;
        int r = runner->ops->repair(runner->provider, action, &sink, error);
        runner->created = NULL;
        return r;
}

/* --- one machine ---------------------------------------------------------------------------------------------------- */

static void print_line(_unused_ void *userdata, const char *text)
{
        puts(text);
        fflush(stdout);
}

/* The module's engine has all tokens in its environment; this one's is looked up there, so that it is no argument. */
static char *own_token(const char *hostname)
{
        const char *text = str_or(getenv("TF_VAR_vm_tokens"), "{}");
        _cleanup_json_ json_t *tokens = json_loads(text, 0, NULL);
        return xstrdup(str_or(json_get_string(tokens, hostname), ""));
}

static bool exists(struct runner *runner, const char *hostname)
{
        struct provider_vms vms = {0};
        bool found = false;
        if (runner->ops->list(runner->provider, &vms, NULL) == 0)
                for (size_t i = 0; i < vms.n; i++)
                        found |= str_eq(vms.vm[i].hostname, hostname);
        provider_vms_clear(&vms);
        return found;
}

static int make(struct runner *runner, const char *hostname, const struct provider_sink *sink, struct error *error)
{
        _cleanup_free_ char *token = own_token(hostname);
        struct provider_order order = {.hostname = hostname, .token = token};
        if (exists(runner, hostname)) /* of a try that was cut off, or one that is made anew */
                return runner->ops->reset(runner->provider, hostname, token, sink, error);
        return runner->ops->launch(runner->provider, &order, 1, sink, error);
}

int run_one(struct runner *runner, const char *verb, const char *hostname)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct provider_sink sink = {.line = print_line};
        int r = runner->ops->open(runner->config, &runner->provider, &error);
        if (r == 0 && str_eq(verb, "make"))
                r = make(runner, hostname, &sink, &error);
        else if (r == 0 && runner->ops->destroy)
                r = runner->ops->destroy(runner->provider, hostname, &sink, &error);
        else if (r == 0)
                r = error_set(&error, -ENOTSUP, "the provider %s removes no single VM", runner->ops->name);
        if (r < 0)
                fprintf(stderr, "%s: %s\n", hostname, error_text(&error));
        return r < 0 ? 1 : 0;
}

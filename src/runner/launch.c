/*
 * Launch: the rows first, each with the hash of its VM's secret, then the machines. A row whose machine was not made goes
 * again, so that what the database says and what exists agree however it ends.
 */
#include <errno.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/text.h"
#include "base/token.h"
#include "lab/names.h"
#include "lab/vm.h"
#include "runner/runner.h"

struct machine {
        char *hostname;
        char token[TOKEN_LENGTH + 1];
        char hash[TOKEN_HASH_LENGTH + 1]; /* of the token; empty: it gets none */
        bool known;                       /* its row was there before */
        bool named, made;
};

struct launch {
        struct machine *machines;
        size_t n;
        bool tokens; /* its machines can carry them */
};

static void launch_clear(struct launch *launch)
{
        for (size_t i = 0; i < launch->n; i++)
                free(launch->machines[i].hostname);
        if (launch->machines)
                explicit_bzero(launch->machines, launch->n * sizeof *launch->machines);
        free(launch->machines);
}

static bool holds_name(const json_t *rows, const struct provider_vms *vms, const char *name)
{
        size_t index;
        json_t *row;
        json_array_foreach (rows, index, row)
                if (str_eq(json_get_string(row, "hostname"), name))
                        return true;
        for (size_t i = 0; i < vms->n; i++)
                if (str_eq(vms->vm[i].hostname, name))
                        return true;
        return false;
}

/* The N smallest numbers that neither a row nor a machine has. */
static void choose_names(struct runner *runner, const json_t *rows, const struct provider_vms *vms, size_t n,
                         struct launch *launch)
{
        _cleanup_free_ char *environment = config_environment(runner->config);
        launch->machines = xcalloc(n + 1, sizeof *launch->machines);
        launch->tokens = true;
        for (int number = 1; launch->n < n; number++) {
                char *name = xasprintf("lablink-vm-%s-%d", environment, number);
                if (holds_name(rows, vms, name))
                        free(name);
                else
                        launch->machines[launch->n++].hostname = name;
        }
}

static const json_t *find_row(const json_t *rows, const char *name)
{
        size_t index;
        json_t *row;
        json_array_foreach (rows, index, row)
                if (str_eq(json_get_string(row, "hostname"), name))
                        return row;
        return NULL;
}

/* A provider that names its machines itself may name one whose machine has gone: its row, and its seat, are there still. */
static int take_names(struct runner *runner, const json_t *rows, size_t n, struct launch *launch, struct error *error)
{
        _cleanup_strv_ char **names = NULL;
        int r = runner->ops->names(runner->provider, n, &names, &launch->tokens, error);
        if (r < 0)
                return r;
        launch->machines = xcalloc(n + 1, sizeof *launch->machines);
        for (; launch->n < n && names[launch->n]; launch->n++) {
                struct machine *machine = &launch->machines[launch->n];
                const json_t *row = find_row(rows, names[launch->n]);
                machine->hostname = xstrdup(names[launch->n]);
                machine->known = json_is_true(json_object_get(row, "launched")) &&
                                 json_is_true(json_object_get(row, "here"));
        }
        return 0;
}

static int find_names(struct runner *runner, size_t n, struct launch *launch, struct error *error)
{
        struct provider_vms vms = {0};
        struct vm_list rows = {.array = json_array()};
        int r = runner_db(runner, vm_inventory(&rows), PATIENCE_MS, error);
        if (r == 0)
                r = runner->ops->list(runner->provider, &vms, error);
        size_t total = MAX(json_array_size(rows.array), vms.n) + n;
        if (r == 0 && total > (size_t)runner->config->provider.vms_max)
                r = error_set(error, -EINVAL, "%zu more would make %zu VMs; the limit is %lld (provider.vms_max)", n,
                              total, (long long)runner->config->provider.vms_max);
        if (r == 0 && runner->ops->names)
                r = take_names(runner, rows.array, n, launch, error);
        else if (r == 0)
                choose_names(runner, rows.array, &vms, n, launch);
        provider_vms_clear(&vms);
        json_decref(rows.array);
        return r;
}

static int write_row(struct runner *runner, struct machine *machine, bool *ret_made, struct error *error)
{
        const char *hash = machine->hash[0] ? machine->hash : NULL;
        struct flag_answer made = {.yes = true};
        int r = machine->known ? runner_db(runner, vm_new_token(machine->hostname, hash), PATIENCE_MS, error)
                               : runner_db(runner, vm_name(machine->hostname, hash, &made), PATIENCE_MS, error);
        machine->named = r == 0 && made.yes;
        *ret_made = made.yes;
        return r;
}

static int write_rows(struct runner *runner, struct launch *launch, struct error *error)
{
        for (size_t i = 0; i < launch->n; i++) {
                struct machine *machine = &launch->machines[i];
                bool made = false;
                token_random(machine->token);
                if (launch->tokens)
                        token_hash(machine->token, machine->hash);
                int r = write_row(runner, machine, &made, error);
                if (r < 0)
                        return error_wrap(error, "cannot write the row of %s", machine->hostname);
                failpoint("launch.row-written");
                if (!made)
                        return error_set(error, -EEXIST,
                                         "a VM called %s has come by its own word meanwhile; launch again",
                                         machine->hostname);
        }
        return 0;
}

static void machine_made(struct runner *runner, const char *hostname, double started, double ended)
{
        struct launch *launch = runner->work;
        for (size_t i = 0; i < launch->n; i++)
                if (str_eq(launch->machines[i].hostname, hostname))
                        launch->machines[i].made = true;
        failpoint("launch.machine-made");
        runner_db(runner, vm_made(hostname, started, ended), PATIENCE_MS, NULL);
}

static int make_machines(struct runner *runner, struct launch *launch, struct error *error)
{
        struct provider_sink sink = runner_sink(runner);
        struct provider_order *orders = xcalloc(launch->n, sizeof *orders);
        for (size_t i = 0; i < launch->n; i++)
                orders[i] = (struct provider_order){.hostname = launch->machines[i].hostname,
                                                    .token = launch->machines[i].token};
        runner->work = launch;
        runner->created = machine_made;
        int r = runner->ops->launch(runner->provider, orders, launch->n, &sink, error);
        runner->created = NULL;
        free(orders);
        return r;
}

/* What a change that was cut off has made, nobody knows: such a machine may come and report. */
static bool in_doubt(struct runner *runner)
{
        struct provider_vms vms = {0};
        bool doubt = runner->ops->repair && runner->ops->list(runner->provider, &vms, NULL) == 0 && vms.in_doubt;
        provider_vms_clear(&vms);
        return doubt;
}

/* Without a database the rows stay: the next reconcile finds that they have no machine. */
static json_t *forget_unmade(struct runner *runner, const struct launch *launch, bool failed)
{
        json_t *names = json_array();
        int r = failed && in_doubt(runner) ? -EBUSY : 0;
        for (size_t i = 0; i < launch->n; i++) {
                const struct machine *machine = &launch->machines[i];
                if (machine->made)
                        json_array_append_new(names, json_string(machine->hostname));
                else if (machine->named && r == 0)
                        r = runner_db(runner, vm_unname(machine->hostname, machine->hash[0] ? machine->hash : NULL),
                                      PATIENCE_MS, NULL);
        }
        return names;
}

int work_launch(struct runner *runner, const json_t *arguments, json_t **ret_result, struct error *error)
{
        _cleanup_(launch_clear) struct launch launch = {0};
        int64_t n = (int64_t)json_integer_value(json_object_get(arguments, "num_vms"));
        if (n < 1 || n > runner->config->provider.vms_max)
                return error_set(error, -EINVAL, "%lld is no number of VMs to launch", (long long)n);
        runner->total = (int)n;
        runner->progress_due = true;
        runner_say(runner, "Launching %lld client VM%s by the provider %s.", (long long)n, n == 1 ? "" : "s",
                   runner->ops->name);
        int r = find_names(runner, (size_t)n, &launch, error);
        if (r == 0)
                r = write_rows(runner, &launch, error);
        failpoint("launch.before-machines");
        if (r == 0)
                r = make_machines(runner, &launch, error);
        failpoint("launch.after-machines");
        json_t *made = forget_unmade(runner, &launch, r < 0);
        if (r == 0)
                runner_say(runner, "%zu client VM%s in while %s.", launch.n,
                           launch.n == 1 ? " is made; it reports" : "s are made; they report",
                           launch.n == 1 ? "it boots" : "they boot");
        *ret_result = json_pack("{s:o}", "vms", made);
        return r;
}

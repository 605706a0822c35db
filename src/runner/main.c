/*
 * lablink-runner: started by the allocator for one operation or one look, or by `lablink vm exec` for a way into a VM.
 * The only place that knows every provider.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/token.h"
#include "base/usage.h"
#include "lab/site.h"
#include "provider/local/local.h"
#include "provider/terraform/terraform.h"
#include "runner/runner.h"

#define EXIT_USAGE 2

static const struct provider_ops *const providers[] = {&local_provider, &terraform_provider};

struct arguments {
        const char *handover, *settings, *config, *state_dir;
        struct opt_strings sets;
        bool as_root;
};

static int parse(struct arguments *args, int *argc, char **argv, struct error *error)
{
        const struct opt options[] = {
                {"config", 'c', OPT_STRING, "FILE", "The allocator's configuration.", &args->config},
                {"state-dir", 's', OPT_STRING, "DIR", "The lab's state directory.", &args->state_dir},
                {"set", 0, OPT_STRINGS, "SECTION.KEY=VALUE", "Sets one key of the configuration; may be repeated.",
                 &args->sets},
                {"handover", 0, OPT_STRING, "FD",
                 "Read configuration and database from this descriptor (the allocator does this).", &args->handover},
                {"settings", 0, OPT_STRING, "FILE",
                 "Read the configuration from this file, which the provider terraform leaves for its module.",
                 &args->settings},
                {"root", 0, OPT_FLAG, NULL, "Enter the VM as its root, not as the participant.", &args->as_root},
                {0}};
        static const struct verb verbs[] = {
                {"operation", "ID", "Does the work of one operation.", NULL},
                {"archive", "COLLECTION LIST FROM [follow] [names]",
                 "Writes the ZIP of a collection to standard output, behind a line that says how long it is.", NULL},
                {"aws", NULL, "Tries the AWS credentials in force and notes whose they are.", NULL},
                {"reconcile", NULL, "Compares machines with rows once and mends what differs.", NULL},
                {"check", NULL, "Says whether the provider can work on this machine, as JSON.", NULL},
                {"vm exec", "NAME -- COMMAND...", "Runs a command in a VM.", NULL},
                {"vm shell", "NAME", "Opens a shell in a VM.", NULL},
                {"local make", "NAME", "Makes one VM of the provider local, for a module's command.", NULL},
                {"local remove", "NAME", "Removes one VM of the provider local.", NULL},
                {0}};
        static const char *const synopses[] = {"[OPTION...] VERB [ARGUMENT...]", NULL};
        const struct usage usage = {
                .program = "lablink-runner",
                .summary = "does the work on LabLink's client VMs",
                .synopses = synopses,
                .description = "Started by lablink-allocator and by lablink; it outlives both until its work is done.",
                .options = options,
                .verbs = verbs,
                .exits = "Exit status: 0 done, 1 failed, 2 wrong command line or configuration, 75 another runner "
                         "works; vm exec and vm shell: the command's own, 126 or 127 when it could not be run."};
        return usage_parse(&usage, options, false, argc, argv, error);
}

/* What an administrator has set, see allocator/keys.h. */
static void take_aws(struct runner *runner, const json_t *aws)
{
        const struct aws_credentials given = {.access_key_id = (char *)json_get_string(aws, "access_key_id"),
                                              .secret_access_key = (char *)json_get_string(aws, "secret_access_key"),
                                              .session_token = (char *)json_get_string(aws, "session_token"),
                                              .source = AWS_GIVEN};
        if (given.access_key_id && given.secret_access_key)
                aws_credentials_copy(&given, &runner->aws);
        runner->aws_region = xstrdup(json_get_string(aws, "region"));
        runner->aws_change = xstrdup(json_get_string(aws, "change"));
        runner->aws_holder = xstrdup(json_get_string(aws, "holder"));
        runner->aws_others = json_is_true(json_object_get(aws, "others"));
}

static int load_handover(struct runner *runner, const char *fd_text, struct error *error)
{
        int64_t fd;
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        if (parse_int(fd_text, 3, 65535, &fd) < 0)
                return error_set(error, -EINVAL, "--handover takes the number of a descriptor");
        int r = fd_read_all((int)fd, 4 << 20, &text);
        close((int)fd);
        if (r < 0)
                return error_errno(error, -r, "cannot read the configuration handed over");
        _cleanup_json_ json_t *handover = json_read(buf_str(&text), text.len, error);
        if (!handover)
                return error_wrap(error, "the configuration handed over");
        runner->conninfo = xstrdup(str_or(json_get_string(handover, "conninfo"), ""));
        runner->site = xstrdup(str_or(json_get_string(handover, "site"), ""));
        runner->site_sql = site_sql(runner->site);
        take_aws(runner, json_object_get(handover, "aws"));
        return config_from_json(json_object_get(handover, "config"), &runner->config, error);
}

static int load_settings(struct runner *runner, const char *path, struct error *error)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        int r = file_read(path, 4 << 20, &text, error);
        if (r < 0)
                return r;
        _cleanup_json_ json_t *settings = json_read(buf_str(&text), text.len, error);
        return settings ? config_from_json(settings, &runner->config, error) : error->code;
}

static int load_file(struct runner *runner, const struct arguments *args, struct error *error)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        struct config_input input = {.file = args->config,
                                     .file_required = args->config != NULL,
                                     .sets = args->sets.n ? args->sets.values : NULL,
                                     .state_dir = args->state_dir};
        int r = config_load(&input, &runner->config, &problems);
        return r < 0 ? error_set(error, r, "%s", buf_str(&problems)) : 0;
}

static int load(struct runner *runner, const struct arguments *args, struct error *error)
{
        if (args->handover)
                return load_handover(runner, args->handover, error);
        return args->settings ? load_settings(runner, args->settings, error) : load_file(runner, args, error);
}

static int choose_provider(struct runner *runner, const char *named, struct error *error)
{
        const char *kind = named ? named : runner->config->provider.kind;
        for (size_t i = 0; i < ARRAY_SIZE(providers); i++)
                if (str_eq(providers[i]->name, kind))
                        runner->ops = providers[i];
        return runner->ops ? 0 : error_set(error, -ENOTSUP, "this build has no provider called %s", kind);
}

static bool read_archive(int argc, char **argv, struct archive_order *ret)
{
        if (argc < 5 || argc > 7 || !str_eq(argv[1], "archive") ||
            parse_int(argv[2], 1, INT64_MAX, &ret->collection) < 0 ||
            parse_int(argv[3], 1, INT64_MAX, &ret->list) < 0 || parse_int(argv[4], 0, INT64_MAX, &ret->from) < 0)
                return false;
        for (int i = 5; i < argc; i++) {
                ret->follow |= str_eq(argv[i], "follow");
                ret->names |= str_eq(argv[i], "names");
        }
        return true;
}

/* `local make NAME`, `local remove NAME` */
static bool is_one(int argc, char **argv)
{
        return argc == 4 && str_eq(argv[1], "local") && (str_eq(argv[2], "make") || str_eq(argv[2], "remove"));
}

static int dispatch(struct runner *runner, const struct arguments *args, int argc, char **argv)
{
        const char *verb = argc > 1 ? argv[1] : "";
        int64_t id;
        struct archive_order order = {0};
        bool handed = args->handover != NULL;
        if (handed && argc == 3 && str_eq(verb, "operation") && parse_int(argv[2], 1, INT64_MAX, &id) == 0)
                return run_operation(runner, id);
        if (handed && read_archive(argc, argv, &order))
                return run_archive(runner, &order);
        if (handed && argc == 2 && str_eq(verb, "aws"))
                return run_aws_check(runner);
        if (handed && argc == 2 && str_eq(verb, "reconcile"))
                return run_reconcile(runner);
        if (argc == 2 && str_eq(verb, "check"))
                return run_check(runner);
        if (is_one(argc, argv))
                return run_one(runner, argv[2], argv[3]);
        if (argc > 4 && str_eq(verb, "vm") && str_eq(argv[2], "exec"))
                return run_exec(runner, argv[3], args->as_root, (const char *const *)argv + 4);
        if (argc == 4 && str_eq(verb, "vm") && str_eq(argv[2], "shell"))
                return run_exec(runner, argv[3], args->as_root, NULL);
        fprintf(stderr,
                "lablink-runner: say what to do: operation, archive, reconcile (with --handover), check, local make, local remove, vm exec or vm shell; "
                "--help tells more\n");
        return EXIT_USAGE;
}

static void runner_deinit(struct runner *runner)
{
        runner_unlock(runner);
        db_close(runner->db);
        if (runner->provider)
                runner->ops->close(runner->provider);
        config_free(runner->config);
        json_decref(runner->lines);
        free(runner->state_dir);
        free(runner->conninfo);
        free(runner->site_sql);
        free(runner->site);
        aws_credentials_clear(&runner->aws);
        free(runner->aws_region);
        free(runner->aws_change);
        free(runner->aws_holder);
}

int main(int argc, char **argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct arguments args = {0};
        struct runner runner = {.lock_fd = -1, .files_lock_fd = -1, .lines = json_array()};
        log_setup("runner", LOG_LEVEL_INFO);
        signal(SIGPIPE, SIG_IGN);
        token_init();
        int status = EXIT_USAGE;
        int r = parse(&args, &argc, argv, &error);
        if (r > 0)
                status = 0;
        if (r == 0)
                r = load(&runner, &args, &error);
        if (r == 0 && runner.config)
                r = choose_provider(&runner, is_one(argc, argv) ? argv[1] : NULL, &error);
        if (r == 0 && runner.config) {
                runner.state_dir = config_state_dir(runner.config);
                status = dispatch(&runner, &args, argc, argv);
        } else if (r < 0) {
                fprintf(stderr, "lablink-runner: %s\n", error_text(&error));
        }
        runner_deinit(&runner);
        return status;
}

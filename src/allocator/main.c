/* lablink-allocator: reads its configuration, becomes the supervisor; with the word `web-process`, the web process. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "allocator/supervisor.h"
#include "allocator/web_process.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/token.h"
#include "base/usage.h"

struct arguments {
        const char *config, *listen, *state_dir;
        struct opt_strings sets;
};

static int parse(struct arguments *args, int argc, char **argv)
{
        const struct opt options[] = {
                {"config", 'c', OPT_STRING, "FILE",
                 "The configuration; left out: /config/config.yaml, ./config.yaml or "
                 "/etc/lablink/config.yaml, whichever exists.",
                 &args->config},
                {"listen", 'l', OPT_STRING, "ADDR:PORT", "Where to listen; over listen.address.", &args->listen},
                {"state-dir", 's', OPT_STRING, "DIR", "What must survive a restart; over state_dir.", &args->state_dir},
                {"set", 0, OPT_STRINGS, "SECTION.KEY=VALUE", "Sets one key of the configuration; may be repeated.",
                 &args->sets},
                {0}};
        static const char *const synopses[] = {"[OPTION...]", NULL};
        static const char *const environment[][2] = {
                {"LABLINK_<SECTION>_<KEY>", "A key of the configuration, over the file; ..._FILE for secrets."},
                {"ENVIRONMENT", "Name of this deployment (top.environment)."},
                {NULL, NULL}};
        const struct usage usage = {
                .program = "lablink-allocator",
                .summary = "gives every participant of a workshop a machine of their own",
                .synopses = synopses,
                .description =
                        "Starts the lab: the web page for participants, the pages for instructors, and the embedded database. "
                        "Client VMs outlive it and are found again.\n\nSIGTERM or Ctrl-C stops it cleanly.",
                .options = options,
                .environment = environment,
                .exits =
                        "Exit status: 0 stopped as asked, 1 could not start, 2 the command line or the configuration is wrong."};
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = usage_parse(&usage, options, false, &argc, argv, &error);
        if (r == 0 && argc > 1)
                r = error_set(&error, -EINVAL, "unexpected word %s", argv[1]);
        if (r < 0)
                fprintf(stderr, "lablink-allocator: %s\n", error_text(&error));
        return r;
}

static int load(const struct arguments *args, struct config **ret)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        struct config_input input = {.file = args->config,
                                     .file_required = args->config != NULL,
                                     .sets = args->sets.n ? args->sets.values : NULL,
                                     .listen = args->listen,
                                     .state_dir = args->state_dir};
        int r = config_load(&input, ret, &problems);
        if (r == 0)
                r = config_check_allocator(*ret, &problems);
        if (r < 0)
                fprintf(stderr, "%s", buf_str(&problems));
        return r;
}

static void find_programs(struct supervisor *s)
{
        char path[4096];
        ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
        path[n > 0 ? n : 0] = '\0';
        s->runner_path = path_join(dirname(path), "lablink-runner");
}

int main(int argc, char **argv)
{
        struct arguments args = {0};
        struct supervisor supervisor = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        json_wipe_freed();
        if (argc == 3 && str_eq(argv[1], "web-process"))
                return web_process(argv[2]);
        log_setup("allocator", LOG_LEVEL_INFO);
        int r = parse(&args, argc, argv);
        if (r != 0)
                return r < 0 ? 2 : 0;
        token_init();
        if (load(&args, &supervisor.config) < 0)
                return 2;
        find_programs(&supervisor);
        r = supervisor_prepare(&supervisor, &error);
        int status = 1;
        if (r == 0)
                status = supervisor_run(&supervisor);
        else
                log_error("%s", error_text(&error));
        supervisor_deinit(&supervisor);
        config_free(supervisor.config);
        return status;
}

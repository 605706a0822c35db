/*
 * lablink-client. Under the names of deployed services (subscribe, update_inuse_status, check_gpu) the same program
 * runs that one job alone, with the words that these services were started with.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/token.h"
#include "base/usage.h"
#include "client/agent.h"
#include "client/gpu.h"
#include "client/in_use.h"
#include "client/report.h"
#include "client/ship.h"

#define EXIT_USAGE 2

static struct {
        const char *config, *url, *hostname, *token_file, *status;
        struct opt_strings sets;
        bool verbose;
} given;

static const struct opt options[] = {
        {"config", 'c', OPT_STRING, "FILE", "Read this file instead of /etc/lablink/client.yaml.", &given.config},
        {"set", 0, OPT_STRINGS, "SECTION.KEY=VALUE", "Set one key; may be given several times.", &given.sets},
        {"url", 0, OPT_STRING, "URL", "The allocator: http(s)://HOST[:PORT] or unix:/PATH.", &given.url},
        {"hostname", 0, OPT_STRING, "NAME", "This VM's name.", &given.hostname},
        {"token-file", 0, OPT_STRING, "FILE", "The file with this VM's own secret.", &given.token_file},
        {"status", 0, OPT_STRING, "STATUS", "With run: report this status at start, where no boot script does.",
         &given.status},
        {"verbose", 'v', OPT_FLAG, NULL, "Log what the agent does in detail.", &given.verbose},
        {NULL},
};

static const struct verb verbs[] = {
        {"run", "[WORD...]", "Run the agent until SIGTERM: wait for the seat, watch software and GPU, ship logs.",
         NULL},
        {"report status", "STATUS", "Tell the machine's status: initializing, running, available, error.", NULL},
        {"report metrics", "KEY=VALUE...", "Tell timings, as epoch seconds, ISO 8601 or numbers.", NULL},
        {"ship", NULL, "Send standard input's lines as this VM's log until its end, keeping what cannot be sent yet.",
         NULL},
        {"check gpu", NULL, "Print Healthy, Unhealthy or N/A, and why.", NULL},
        {"check in-use", NULL, "Print true or false: does the configured software run?", NULL},
        {NULL},
};

static const char *const environment[][2] = {
        {"ALLOCATOR_URL", "The allocator, when the configuration names none; ALLOCATOR_HOST is its host alone."},
        {"VM_NAME", "This VM's name."},
        {"SUBJECT_SOFTWARE", "The software whose use is watched."},
        {"CLOUD_INIT_LOG_GROUP", "The log group that shipped lines carry, or go to with logs.via: cloudwatch."},
        {"LABLINK_LOGS_VIA",
         "direct: lines go to the allocator; cloudwatch: to CloudWatch Logs, by the role of the instance."},
        {"AWS_REGION", "Where that log group is; left out: where this instance is."},
        {"LABLINK_CLIENT_TOKEN_FILE", "The file with this VM's own secret; LABLINK_CLIENT_TOKEN is the secret itself."},
        {"LABLINK_CLIENT_LOG_FILES", "Files whose lines are shipped, separated by commas."},
        {"LABLINK_CLIENT_KEY", "Any other key of the configuration's section client, in upper case."},
        {NULL, NULL},
};

static const struct usage usage = {
        .program = "lablink-client",
        .summary = "the agent on a LabLink client VM",
        .synopses = (const char *const[]){"[OPTION]... run [WORD...]", "[OPTION]... report status STATUS",
                                          "[OPTION]... report metrics KEY=VALUE...", "[OPTION]... ship",
                                          "[OPTION]... check gpu|in-use", NULL},
        .description =
                "Waits for its assignment and carries it out (Chrome Remote Desktop's start-host, then the program\n"
                "of client.on_assigned), reports whether the software is in use and whether the GPU is well, ships\n"
                "log lines and says that it lives. It tries for ever and never forgets what it has carried out.\n"
                "\n"
                "The words allocator.host=HOST, allocator.port=PORT and client.software=NAME of deployed VMs are\n"
                "understood. Under the names subscribe, update_inuse_status and check_gpu it runs that job alone.",
        .options = options,
        .verbs = verbs,
        .environment = environment,
        .exits =
                "0 when it was stopped or the report arrived, 1 when not, 2 for a wrong command line or configuration.",
};

static const struct deployed {
        const char *name;
        unsigned jobs;
} deployed[] = {{"subscribe", JOB_SUBSCRIBE}, {"update_inuse_status", JOB_IN_USE}, {"check_gpu", JOB_GPU}};

static const struct deployed *find_deployed(const char *argv0)
{
        const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;
        for (size_t i = 0; i < ARRAY_SIZE(deployed); i++)
                if (strcmp(name, deployed[i].name) == 0)
                        return &deployed[i];
        return NULL;
}

static int complain(const char *text)
{
        fprintf(stderr, "lablink-client: %s%s", text, str_ends(text, "\n") ? "" : "\n");
        return EXIT_USAGE;
}

/* 0, or EXIT_USAGE after the problems were told. */
static int load(const char *const *words, struct settings *ret)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        const char *sets[ARRAY_SIZE(given.sets.values) + 1] = {0};
        memcpy(sets, given.sets.values, given.sets.n * sizeof *sets);
        if (given.token_file) {
                setenv("LABLINK_CLIENT_TOKEN_FILE", given.token_file, 1);
                unsetenv("LABLINK_CLIENT_TOKEN");
        }
        struct settings_input input = {
                .file = given.config, .sets = sets, .words = words, .url = given.url, .hostname = given.hostname};
        return settings_load(&input, ret, &problems) < 0 ? complain(buf_str(&problems)) : 0;
}

static int run(unsigned jobs, const char *const *words)
{
        _cleanup_(settings_deinit) struct settings settings = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = load(words, &settings);
        if (r)
                return r;
        if (agent_run(&settings, jobs, given.status, &error) == 0)
                return EXIT_SUCCESS;
        log_error("%s", error_text(&error));
        return EXIT_FAILURE;
}

static int report(const char *path_format, json_t *body, const char *const *words)
{
        _cleanup_(settings_deinit) struct settings settings = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = load(words, &settings);
        if (r) {
                json_decref(body);
                return r;
        }
        _cleanup_free_ char *path = xasprintf("%s%s", path_format, str_ends(path_format, "/") ? settings.hostname : "");
        if (!json_object_size(body) || json_object_get(body, "status"))
                json_object_set_new(body, "hostname", json_string(settings.hostname));
        if (report_send(&settings, path, body, &error) == 0)
                return EXIT_SUCCESS;
        log_error("cannot report to the allocator: %s", error_text(&error));
        return EXIT_FAILURE;
}

static int report_verb(char **argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        const char *what = argv[0] ? argv[0] : "";
        if (strcmp(what, "status") == 0 && argv[1] && !argv[2])
                return report("/api/vm-status", json_pack("{s:s}", "status", argv[1]), NULL);
        if (strcmp(what, "metrics") != 0)
                return complain("report wants: status STATUS, or metrics KEY=VALUE...");
        json_t *body = report_metrics_body((const char *const *)argv + 1, &error);
        return body ? report("/api/vm-metrics/", body, NULL) : complain(error_text(&error));
}

static int ship_verb(void)
{
        _cleanup_(settings_deinit) struct settings settings = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = load(NULL, &settings);
        if (r)
                return r;
        if (ship_run(&settings, &error) == 0)
                return EXIT_SUCCESS;
        log_error("%s", error_text(&error));
        return EXIT_FAILURE;
}

static int check_in_use(void)
{
        _cleanup_(settings_deinit) struct settings settings = {0};
        int r = load(NULL, &settings);
        if (r)
                return r;
        puts(in_use_find("/proc", settings.software) ? "true" : "false");
        return EXIT_SUCCESS;
}

static int check_verb(char **argv)
{
        const char *what = argv[0] ? argv[0] : "";
        if (argv[0] && argv[1])
                what = "";
        if (strcmp(what, "in-use") == 0)
                return check_in_use();
        if (strcmp(what, "gpu") != 0)
                return complain("check wants: gpu or in-use");
        _cleanup_free_ char *why = NULL;
        puts(gpu_word(gpu_check(&why)));
        if (why)
                puts(why);
        return EXIT_SUCCESS;
}

static int dispatch(char **argv)
{
        const struct deployed *alone = find_deployed(argv[0]);
        if (alone)
                return run(alone->jobs, (const char *const *)argv + 1);
        const char *verb = argv[1] ? argv[1] : "";
        if (strcmp(verb, "run") == 0)
                return run(JOB_ALL, (const char *const *)argv + 2);
        if (strcmp(verb, "report") == 0)
                return report_verb(argv + 2);
        if (strcmp(verb, "ship") == 0 && !argv[2])
                return ship_verb();
        if (strcmp(verb, "check") == 0)
                return check_verb(argv + 2);
        if (!*verb) {
                usage_print(&usage, stderr);
                return EXIT_USAGE;
        }
        return complain("unknown command: run, report, ship and check are known; --help says more");
}

int main(int argc, char **argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        log_setup("lablink-client", LOG_LEVEL_INFO);
        int r = usage_parse(&usage, options, false, &argc, argv, &error);
        if (r > 0)
                return EXIT_SUCCESS;
        if (r < 0)
                return complain(error_text(&error));
        if (given.verbose)
                log_setup("lablink-client", LOG_LEVEL_DEBUG);
        argv[argc] = NULL;
        token_init();
        curl_global_init(CURL_GLOBAL_DEFAULT);
        r = dispatch(argv);
        curl_global_cleanup();
        return r;
}

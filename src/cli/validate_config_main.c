/*
 * lablink-validate-config: would an allocator start with this file? Workflows of deployed labs call it and read its
 * first line and its exit code, so both stay as they were. It starts nothing and writes nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/usage.h"
#include "config/config.h"

static bool verbose;

static const struct opt options[] = {
        {"verbose", 'v', OPT_FLAG, NULL, "Print every value and where it came from; secrets are masked.", &verbose},
        {NULL},
};

static const struct usage usage = {
        .program = "lablink-validate-config",
        .summary = "check a LabLink configuration file",
        .synopses = (const char *const[]){"[-v] [PATH]", NULL},
        .description =
                "Reads PATH (/config/config.yaml when left out; the file must be named config.yaml) with the\n"
                "environment's LABLINK_ variables over it, as an allocator would, and says whether that is valid.\n"
                "The first line begins with [PASS] or [FAIL]; after [FAIL] follows one line a problem, with its\n"
                "place, what is allowed and the nearest known key.",
        .options = options,
        .exits = "0 when the configuration is valid, 1 when not, 2 for a wrong command line.",
};

static int fail(const char *path, const char *problems)
{
        size_t n = 0;
        for (const char *c = problems; *c; c++)
                n += *c == '\n';
        printf("[FAIL] %s: %zu problem%s\n%s", path, n, n == 1 ? "" : "s", problems);
        return EXIT_FAILURE;
}

static void print_values(const struct config *config)
{
        _cleanup_json_ json_t *rows = config_show(config);
        size_t i;
        json_t *row;
        json_array_foreach (rows, i, row) {
                const char *place = json_get_string(row, "place");
                printf("%s = %s  (%s%s%s)\n", json_get_string(row, "key"), json_get_string(row, "value"),
                       json_get_string(row, "source"), *place ? " " : "", place);
        }
}

static int validate(const char *path)
{
        const char *slash = strrchr(path, '/');
        _cleanup_buf_ struct buf problems = BUF_NULL;
        _cleanup_config_ struct config *config = NULL;
        if (strcmp(slash ? slash + 1 : path, "config.yaml") != 0)
                buf_addf(&problems, "%s: the file must be named config.yaml\n", path);
        else if (config_load(&(struct config_input){.file = path}, &config, &problems) == 0)
                config_check_allocator(config, &problems);
        if (problems.len)
                return fail(path, buf_str(&problems));
        printf("[PASS] %s is valid\n", path);
        if (verbose)
                print_values(config);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        log_setup("lablink-validate-config", LOG_LEVEL_WARNING);
        int r = usage_parse(&usage, options, false, &argc, argv, &error);
        if (r > 0)
                return EXIT_SUCCESS;
        if (r == 0 && argc > 2)
                r = error_set(&error, -EINVAL, "only one path is taken; --help says more");
        if (r < 0) {
                fprintf(stderr, "lablink-validate-config: %s\n", error_text(&error));
                return 2;
        }
        return validate(argc == 2 ? argv[1] : "/config/config.yaml");
}

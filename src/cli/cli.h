/*
 * What every command gets: the options as they were given, and the two things that are made when a command first asks
 * for them, the configuration and the way to the allocator. A command returns an exit code, or a negative errno with a
 * sentence that main tells together with `hint`, what to do next.
 */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/usage.h"

/* Documented in --help and the manual (commands.c): scripts depend on them. */
enum cli_exit {
        CLI_GOOD = 0,
        CLI_FAILED = 1,      /* every other negative errno */
        CLI_USAGE = 2,       /* -EINVAL */
        CLI_UNREACHABLE = 3, /* -ENOTCONN */
        CLI_ENDED_BADLY = 4,
        CLI_DETACHED = 130,
};

struct options {
        const char *config_file, *state_dir, *url, *user, *password_file, *output;
        struct opt_strings sets;
        bool quiet;
        bool yes, detach, follow, as_root, secrets;
        const char *tail;
        struct opt_strings extensions, vms;
        const char *directory, *to;
        bool everything, names, collect;
};

struct config;
struct api;

struct cli {
        struct options opt;
        bool json; /* --output json */
        struct config *config;
        struct api *api;
        char *hint;
};

/* Loads the configuration at the first call; borrowed. Problems are printed; -EIO then. */
int cli_config(struct cli *cli, struct config **ret, struct error *error);
/* The allocator's state directory: of --state-dir, else of the configuration. Owned by the caller. */
int cli_state_dir(struct cli *cli, char **ret, struct error *error);
/* Path of one of LabLink's programs: beside this one, else its name alone for PATH. Owned by the caller. */
char *cli_program(const char *name);
/* What to do about the error that is being returned; replaces an older one. */
void cli_hint(struct cli *cli, const char *format, ...) _printf_(2, 3);
/* What was done, in a sentence, on standard output; nothing under -q or --output json. */
void cli_say(const struct cli *cli, const char *format, ...) _printf_(2, 3);
/* What was asked for: {"<key>": text} under --output json, else the text and a newline; -q does not silence it. */
void cli_fact(const struct cli *cli, const char *key, const char *text);
void cli_deinit(struct cli *cli);

/*
 * Everything `lablink` can do, once: the table drives parsing, --help, the manual page and the shells' completion.
 */
#pragma once

#include <stdio.h>

#include "cli/cli.h"

/* Options that a command takes beside the general ones. */
enum command_options {
        TAKES_YES = 1 << 0,
        TAKES_DETACH = 1 << 1,
        TAKES_TAIL = 1 << 2,
        TAKES_FOLLOW = 1 << 3,
        TAKES_ROOT = 1 << 4,
        TAKES_SECRETS = 1 << 5,
        TAKES_WISHES = 1 << 6,
        TAKES_COLLECT = 1 << 7,
};

#define ANY_WORDS 255

enum completes { COMPLETES_NOTHING, COMPLETES_VM, COMPLETES_COMMAND, COMPLETES_SHELL, COMPLETES_FILE };

struct command {
        const char *name;      /* "launch", or noun and verb: "vm exec" */
        const char *arguments; /* without the options; NULL: none */
        const char *help;      /* one sentence */
        int (*run)(struct cli *cli, int argc, char **argv, struct error *error); /* argv: the words, from 0 */
        unsigned options;                                                        /* TAKES_... */
        unsigned char least, most;                                               /* words */
        enum completes completes;                                                /* its first word */
        const char *more; /* paragraphs for its own help; may be NULL */
};

extern const struct command commands[]; /* ends with a NULL name */

/* The command that words[0] or words[0..1] name. *ret_words: how many of them did. NULL and a sentence that names the
 * nearest one otherwise. */
const struct command *command_find(int n, char *const *words, int *ret_words, struct error *error);

/* The options' table for one command (NULL: the general options only), each aimed at its place in `options`. */
#define COMMAND_OPTIONS_MAX 32
void command_options(const struct command *command, struct options *options, struct opt out[COMMAND_OPTIONS_MAX]);

/* What --help prints: of one command, or of all (NULL). The texts live in `room`. */
struct usage_room {
        struct usage usage;
        struct opt opts[COMMAND_OPTIONS_MAX];
        const char *synopses[3];
        char *program, *synopsis;
        struct verb *verbs;
        struct opt *verb_opts;
};
const struct usage *command_usage(const struct command *command, struct options *options, struct usage_room *room);
void usage_room_deinit(struct usage_room *room);

int run_status(struct cli *cli, int argc, char **argv, struct error *error);
int run_download(struct cli *cli, int argc, char **argv, struct error *error);
int run_launch(struct cli *cli, int argc, char **argv, struct error *error);
int run_destroy(struct cli *cli, int argc, char **argv, struct error *error);
int run_repair(struct cli *cli, int argc, char **argv, struct error *error);
int run_vm_list(struct cli *cli, int argc, char **argv, struct error *error);
int run_vm_show(struct cli *cli, int argc, char **argv, struct error *error);
int run_vm_watch(struct cli *cli, int argc, char **argv, struct error *error);
int run_vm_release(struct cli *cli, int argc, char **argv, struct error *error);
int run_vm_exec(struct cli *cli, int argc, char **argv, struct error *error);
int run_vm_shell(struct cli *cli, int argc, char **argv, struct error *error);
int run_operation_list(struct cli *cli, int argc, char **argv, struct error *error);
int run_operation_show(struct cli *cli, int argc, char **argv, struct error *error);
int run_operation_watch(struct cli *cli, int argc, char **argv, struct error *error);
int run_operation_cancel(struct cli *cli, int argc, char **argv, struct error *error);
int run_logs(struct cli *cli, int argc, char **argv, struct error *error);
int run_config_show(struct cli *cli, int argc, char **argv, struct error *error);
int run_config_check(struct cli *cli, int argc, char **argv, struct error *error);
int run_admin_password(struct cli *cli, int argc, char **argv, struct error *error);
int run_db_backup(struct cli *cli, int argc, char **argv, struct error *error);
int run_db_restore(struct cli *cli, int argc, char **argv, struct error *error);
int run_db_url(struct cli *cli, int argc, char **argv, struct error *error);
int run_doctor(struct cli *cli, int argc, char **argv, struct error *error);
int run_help(struct cli *cli, int argc, char **argv, struct error *error);
int run_completion(struct cli *cli, int argc, char **argv, struct error *error);

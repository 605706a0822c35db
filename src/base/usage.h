/*
 * What a program can do, told once: the same tables parse the command line and print --help and the man page.
 */
#pragma once

#include <stdio.h>

#include "base/error.h"

enum opt_kind { OPT_FLAG, OPT_STRING, OPT_STRINGS };

struct opt {
        const char *name; /* long name without dashes */
        char letter;      /* 0: none */
        enum opt_kind kind;
        const char *argument; /* name of the value in the help; NULL for a flag */
        const char *help;     /* one sentence */
        void *target;         /* bool *, const char ** or struct opt_strings * */
};

struct opt_strings {
        const char *values[64];
        size_t n;
};

struct verb {
        const char *name;      /* "launch", or noun and verb: "vm exec" */
        const char *arguments; /* "N", "NAME -- COMMAND..." */
        const char *help;
        const struct opt *options; /* of this verb alone, for the manual; ends with a NULL name; may be NULL */
};

struct usage {
        const char *program;
        const char *summary;                 /* one line */
        const char *const *synopses;         /* NULL-terminated, without the program's name */
        const char *description;             /* paragraphs separated by an empty line */
        const struct opt *options;           /* ends with a NULL name; --help, --version and --man are added */
        const struct verb *verbs;            /* ends with a NULL name; may be NULL */
        const char *const (*environment)[2]; /* name, sentence; ends with NULL; may be NULL */
        const char *exits;                   /* paragraph on exit codes */
};

/*
 * Parses options up to "--" or, when `stop_at_word`, up to the first word that is no option. What is left is moved to
 * the front of argv (argv[0] first) and counted in *argc. --help, --version and --man print and return 1: exit 0 then.
 * 0; -EINVAL with a sentence that names the option and the nearest known one.
 */
int usage_parse(const struct usage *usage, const struct opt *options, bool stop_at_word, int *argc, char **argv,
                struct error *error);
void usage_print(const struct usage *usage, FILE *out);
void usage_print_man(const struct usage *usage, FILE *out); /* roff, section 1 (8 for daemons) */

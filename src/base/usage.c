/* One table a program: it parses the command line and prints the help and the manual page. */
#include "base/usage.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

static const struct opt common[] = {
        {"help", 'h', OPT_FLAG, NULL, "Show this help and exit.", NULL},
        {"version", 0, OPT_FLAG, NULL, "Show the version and exit.", NULL},
        {"man", 0, OPT_FLAG, NULL, "Print the manual page (roff) and exit.", NULL},
};

static const struct opt *find_in(const struct opt *table, size_t n, const char *name, size_t len, char letter)
{
        for (size_t i = 0; i < n; i++)
                if (name ? strlen(table[i].name) == len && strncmp(table[i].name, name, len) == 0
                         : letter && table[i].letter == letter)
                        return &table[i];
        return NULL;
}

static size_t count_options(const struct opt *options)
{
        size_t n = 0;
        while (options && options[n].name)
                n++;
        return n;
}

static const struct opt *find_option(const struct opt *options, const char *name, size_t len, char letter)
{
        const struct opt *found = find_in(options, count_options(options), name, len, letter);
        return found ? found : find_in(common, ARRAY_SIZE(common), name, len, letter);
}

static int unknown_option(const struct opt *options, const char *word, struct error *error)
{
        const char *names[80];
        size_t n = 0;
        for (size_t i = 0; i < count_options(options) && n < 70; i++)
                names[n++] = options[i].name;
        for (size_t i = 0; i < ARRAY_SIZE(common); i++)
                names[n++] = common[i].name;
        names[n] = NULL;
        _cleanup_free_ char *bare = xstrdup(word + strspn(word, "-"));
        bare[strcspn(bare, "=")] = '\0';
        const char *near = text_nearest(bare, names);
        int shown = (int)MIN(strcspn(word, "="), (size_t)80); /* the value may be a secret */
        if (near)
                return error_set(error, -EINVAL, "unknown option %.*s; did you mean --%s?", shown, word, near);
        return error_set(error, -EINVAL, "unknown option %.*s; --help lists the options", shown, word);
}

static int store(const struct opt *opt, const char *value, struct error *error)
{
        struct opt_strings *list = opt->target;
        switch (opt->kind) {
        case OPT_FLAG:
                *(bool *)opt->target = true;
                break;
        case OPT_STRING:
                *(const char **)opt->target = value;
                break;
        case OPT_STRINGS:
                if (list->n + 1 >= ARRAY_SIZE(list->values))
                        return error_set(error, -EINVAL, "--%s is given too often", opt->name);
                list->values[list->n++] = value;
                break;
        }
        return 0;
}

static int print_common(const struct usage *usage, const struct opt *opt)
{
        if (opt == &common[0])
                usage_print(usage, stdout);
        else if (opt == &common[1])
                printf("%s %s\n", usage->program, LABLINK_VERSION);
        else
                usage_print_man(usage, stdout);
        return 1;
}

struct cursor {
        const struct usage *usage;
        const struct opt *options;
        int argc, at;
        char **argv;
};

/* One word that starts with a dash. 1: printed and done. */
static int take_option(struct cursor *c, struct error *error)
{
        char *word = c->argv[c->at];
        bool is_long = str_starts(word, "--");
        const char *equals = is_long ? strchr(word, '=') : NULL;
        size_t len = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
        const struct opt *opt = find_option(c->options, is_long ? word + 2 : NULL, len, is_long ? 0 : word[1]);
        if (!opt)
                return unknown_option(c->options, word, error);
        if (!opt->target)
                return print_common(c->usage, opt);
        if (opt->kind == OPT_FLAG) {
                if (equals || (!is_long && word[2]))
                        return error_set(error, -EINVAL, "--%s takes no value", opt->name);
                return store(opt, NULL, error);
        }
        if (equals)
                return store(opt, equals + 1, error);
        if (!is_long && word[2])
                return store(opt, word + 2, error);
        if (c->at + 1 >= c->argc)
                return error_set(error, -EINVAL, "--%s needs a value: %s", opt->name, opt->argument);
        return store(opt, c->argv[++c->at], error);
}

int usage_parse(const struct usage *usage, const struct opt *options, bool stop_at_word, int *argc, char **argv,
                struct error *error)
{
        struct cursor c = {.usage = usage, .options = options, .argc = *argc, .at = 1, .argv = argv};
        int kept = 1;
        for (; c.at < c.argc; c.at++) {
                char *word = argv[c.at];
                if (strcmp(word, "--") == 0) {
                        if (stop_at_word)
                                break;
                        c.at++;
                        break;
                }
                if (word[0] != '-' || !word[1]) {
                        if (stop_at_word)
                                break;
                        argv[kept++] = word;
                        continue;
                }
                int r = take_option(&c, error);
                if (r != 0)
                        return r;
        }
        while (c.at < c.argc)
                argv[kept++] = argv[c.at++];
        argv[kept] = NULL;
        *argc = kept;
        return 0;
}

static void print_option(FILE *out, const struct opt *opt)
{
        _cleanup_free_ char *left = xasprintf("%s%c%s--%s%s%s", opt->letter ? "-" : " ",
                                              opt->letter ? opt->letter : ' ', opt->letter ? ", " : "  ", opt->name,
                                              opt->argument ? " " : "", opt->argument ? opt->argument : "");
        if (strlen(left) > 30)
                fprintf(out, "  %s\n  %-30s %s\n", left, "", opt->help);
        else
                fprintf(out, "  %-30s %s\n", left, opt->help);
}

void usage_print(const struct usage *usage, FILE *out)
{
        fprintf(out, "%s - %s\n\n", usage->program, usage->summary);
        for (size_t i = 0; usage->synopses && usage->synopses[i]; i++)
                fprintf(out, "%s %s %s\n", i ? "      " : "Usage:", usage->program, usage->synopses[i]);
        if (usage->description)
                fprintf(out, "\n%s\n", usage->description);
        if (usage->verbs)
                fputs("\nCommands:\n", out);
        for (const struct verb *verb = usage->verbs; verb && verb->name; verb++) {
                _cleanup_free_ char *left = xasprintf("%s%s%s", verb->name, verb->arguments ? " " : "",
                                                      str_or(verb->arguments, ""));
                if (strlen(left) > 30)
                        fprintf(out, "  %s\n  %-30s %s\n", left, "", verb->help);
                else
                        fprintf(out, "  %-30s %s\n", left, verb->help);
        }
        fputs("\nOptions:\n", out);
        for (const struct opt *opt = usage->options; opt && opt->name; opt++)
                print_option(out, opt);
        for (size_t i = 0; i < ARRAY_SIZE(common); i++)
                print_option(out, &common[i]);
        if (usage->environment)
                fputs("\nEnvironment:\n", out);
        for (size_t i = 0; usage->environment && usage->environment[i][0]; i++)
                fprintf(out, "  %-30s %s\n", usage->environment[i][0], usage->environment[i][1]);
        if (usage->exits)
                fprintf(out, "\n%s\n", usage->exits);
}

/* roff: a leading dot or quote would be a request, a backslash an escape, a hyphen a line break. */
static void roff(FILE *out, const char *text)
{
        bool line_start = true;
        for (; *text; text++) {
                if (line_start && (*text == '.' || *text == '\''))
                        fputs("\\&", out);
                if (*text == '\\')
                        fputs("\\e", out);
                else if (*text == '-')
                        fputs("\\-", out);
                else if (*text == '\n' && text[1] == '\n')
                        fputs("\n.PP", out);
                else
                        fputc(*text, out);
                line_start = *text == '\n';
        }
}

static void man_option(FILE *out, const struct opt *opt)
{
        fputs(".TP\n\\fB", out);
        if (opt->letter)
                fprintf(out, "\\-%c\\fR, \\fB", opt->letter);
        fputs("\\-\\-", out);
        roff(out, opt->name);
        fprintf(out, "\\fR%s%s\n", opt->argument ? " " : "", str_or(opt->argument, ""));
        roff(out, opt->help);
        fputc('\n', out);
}

static void man_pair(FILE *out, const char *name, const char *arguments, const char *help)
{
        fputs(".TP\n\\fB", out);
        roff(out, name);
        fputs("\\fR ", out);
        roff(out, str_or(arguments, ""));
        fputc('\n', out);
        roff(out, help);
        fputc('\n', out);
}

static void man_verb(FILE *out, const struct verb *verb)
{
        man_pair(out, verb->name, verb->arguments, verb->help);
        if (!verb->options || !verb->options->name)
                return;
        fputs(".RS\n", out);
        for (const struct opt *opt = verb->options; opt->name; opt++)
                man_option(out, opt);
        fputs(".RE\n", out);
}

void usage_print_man(const struct usage *usage, FILE *out)
{
        bool daemon = str_eq(usage->program, "lablink-allocator") || str_eq(usage->program, "lablink-runner") ||
                      str_eq(usage->program, "lablink-client");
        fprintf(out, ".TH \"%s\" %d \"\" \"LabLink %s\"\n.SH NAME\n", usage->program, daemon ? 8 : 1, LABLINK_VERSION);
        roff(out, usage->program);
        fputs(" \\- ", out);
        roff(out, usage->summary);
        fputs("\n.SH SYNOPSIS\n", out);
        for (size_t i = 0; usage->synopses && usage->synopses[i]; i++) {
                fputs(".B ", out);
                roff(out, usage->program);
                fputs("\n", out);
                roff(out, usage->synopses[i]);
                fputs("\n.br\n", out);
        }
        if (usage->description) {
                fputs(".SH DESCRIPTION\n", out);
                roff(out, usage->description);
                fputc('\n', out);
        }
        if (usage->verbs)
                fputs(".SH COMMANDS\n", out);
        for (const struct verb *verb = usage->verbs; verb && verb->name; verb++)
                man_verb(out, verb);
        fputs(".SH OPTIONS\n", out);
        for (const struct opt *opt = usage->options; opt && opt->name; opt++)
                man_option(out, opt);
        for (size_t i = 0; i < ARRAY_SIZE(common); i++)
                man_option(out, &common[i]);
        if (usage->environment)
                fputs(".SH ENVIRONMENT\n", out);
        for (size_t i = 0; usage->environment && usage->environment[i][0]; i++)
                man_pair(out, usage->environment[i][0], NULL, usage->environment[i][1]);
        if (usage->exits) {
                fputs(".SH EXIT STATUS\n", out);
                roff(out, usage->exits);
                fputc('\n', out);
        }
}

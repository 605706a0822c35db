/*
 * lablink: the operator's command line. The general options may stand before the command and behind it. Every error is
 * told here, once: what is so, then what to do about it.
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/term.h"

static int exit_code(int code)
{
        return code == -EINVAL ? CLI_USAGE : code == -ENOTCONN ? CLI_UNREACHABLE : CLI_FAILED;
}

static void tell(const struct cli *cli, const struct error *error)
{
        fflush(stdout);
        fputs("lablink: ", stderr);
        term_put(stderr, error_text(error));
        fputc('\n', stderr);
        if (cli->hint) {
                fputs("  ", stderr);
                term_put(stderr, cli->hint);
                fputc('\n', stderr);
        }
}

static int check_options(struct cli *cli, struct error *error)
{
        const struct options *opt = &cli->opt;
        const char *output = str_or(opt->output, "text");
        cli->json = str_eq(output, "json");
        if (!cli->json && !str_eq(output, "text"))
                return error_set(error, -EINVAL, "--output takes text or json, not %.80s", output);
        if (!opt->url && (opt->user || opt->password_file))
                return error_set(error, -EINVAL, "--user and --password-file go with --url");
        return 0;
}

/* Puts the words behind the command's name where parsing wants them, parses again and checks their number. */
static int parse_words(const struct command *command, struct cli *cli, int *argc, char **argv, int named,
                       struct error *error)
{
        _cleanup_(usage_room_deinit) struct usage_room room = {0};
        const struct usage *usage = command_usage(command, &cli->opt, &room);
        memmove(argv + 1, argv + 1 + named, (size_t)(*argc - named) * sizeof(*argv));
        *argc -= named;
        int r = usage_parse(usage, usage->options, false, argc, argv, error);
        if (r != 0)
                return r;
        int words = *argc - 1;
        if (words < command->least || (command->most != ANY_WORDS && words > command->most))
                r = error_set(error, -EINVAL, "lablink %s takes %s%s", command->name,
                              words < command->least ? "" : "only ", str_or(command->arguments, "options"));
        if (r < 0)
                cli_hint(cli, "`lablink help %s` says more", command->name);
        return r < 0 ? r : check_options(cli, error);
}

static int run(struct cli *cli, int argc, char **argv, struct error *error)
{
        _cleanup_(usage_room_deinit) struct usage_room room = {0};
        const struct usage *usage = command_usage(NULL, &cli->opt, &room);
        int r = usage_parse(usage, usage->options, true, &argc, argv, error);
        if (r != 0)
                return MIN(r, CLI_GOOD);
        if (argc < 2) {
                usage_print(usage, stderr);
                return -EINVAL;
        }
        int named;
        const struct command *command = command_find(argc - 1, argv + 1, &named, error);
        if (!command)
                return -EINVAL;
        r = parse_words(command, cli, &argc, argv, named, error);
        return r != 0 ? MIN(r, CLI_GOOD) : command->run(cli, argc - 1, argv + 1, error);
}

int main(int argc, char **argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_(cli_deinit) struct cli cli = {0};
        setlocale(LC_CTYPE, "");
        log_setup("lablink", LOG_LEVEL_WARNING);
        int r = run(&cli, argc, argv, &error);
        if (r != 0 && error.code)
                tell(&cli, &error);
        if (r < 0)
                r = exit_code(r);
        if (fflush(stdout) != 0 && r == CLI_GOOD && errno != EPIPE)
                r = CLI_FAILED;
        return r;
}

/* lablink help and lablink completion: the table of commands, read aloud. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"

int run_help(struct cli *cli, int argc, char **argv, struct error *error)
{
        _cleanup_(usage_room_deinit) struct usage_room room = {0};
        const struct command *command = NULL;
        int named = 0;
        if (argc > 0) {
                command = command_find(argc, argv, &named, error);
                if (!command || named < argc)
                        return command ? error_set(error, -EINVAL, "`lablink %s` has no part %.80s", command->name,
                                                   argv[named])
                                       : -EINVAL;
        }
        usage_print(command_usage(command, &cli->opt, &room), stdout);
        return CLI_GOOD;
}

static void print_options(const struct command *command, struct options *options)
{
        struct opt table[COMMAND_OPTIONS_MAX];
        command_options(command, options, table);
        for (const struct opt *opt = table; opt->name; opt++)
                printf(" --%s", opt->name);
        fputs(" --help", stdout);
}

/* First words, each once: commands of one noun stand together in the table. */
static void print_nouns(void)
{
        size_t last = 0;
        const char *before = "";
        for (const struct command *command = commands; command->name; command++) {
                size_t n = strcspn(command->name, " ");
                if (n != last || strncmp(before, command->name, n) != 0)
                        printf(" %.*s", (int)n, command->name);
                before = command->name;
                last = n;
        }
}

static void print_verbs(void)
{
        const char *before = "";
        for (const struct command *command = commands; command->name; command++) {
                size_t n = strcspn(command->name, " ");
                if (!command->name[n])
                        continue;
                bool same = strncmp(before, command->name, n + 1) == 0;
                if (!same)
                        printf("%s        '%.*s ') words='", *before ? "' ;;\n" : "", (int)n, command->name);
                printf("%s%s", same ? " " : "", command->name + n + 1);
                before = command->name;
        }
        fputs("' ;;\n", stdout);
}

static const char *first_word(const struct command *command)
{
        switch (command->completes) {
        case COMPLETES_VM:
                return "$(lablink vm list 2>/dev/null | awk 'NR > 1 {print $1}')";
        case COMPLETES_SHELL:
                return "bash zsh";
        default:
                return "";
        }
}

/* The words typed so far, each followed by a blank, choose a branch. */
static void print_script(struct options *options)
{
        fputs("_lablink() {\n"
              "        local word=${COMP_WORDS[COMP_CWORD]} words=\n"
              "        case ${COMP_WORDS[COMP_CWORD - 1]} in\n"
              "        --config | --password-file | -c) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
              "        --state-dir) COMPREPLY=($(compgen -d -- \"$word\")); return ;;\n"
              "        --output | -o) COMPREPLY=($(compgen -W 'text json' -- \"$word\")); return ;;\n"
              "        esac\n"
              "        case \"${COMP_WORDS[*]:1:COMP_CWORD-1} \" in\n"
              "        ' ' | 'help ') words='",
              stdout);
        print_nouns();
        fputs("' ;;\n", stdout);
        print_verbs();
        for (const struct command *command = commands; command->name; command++) {
                printf("        '%s '*) [[ $word == -* ]] && words='", command->name);
                print_options(command, options);
                if (command->completes == COMPLETES_FILE)
                        puts("' || { COMPREPLY=($(compgen -f -- \"$word\")); return; } ;;");
                else
                        printf("' || words=\"%s\" ;;\n", first_word(command));
        }
        fputs("        esac\n"
              "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
              "}\n"
              "complete -F _lablink lablink\n",
              stdout);
}

int run_completion(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        bool zsh = str_eq(argv[0], "zsh");
        if (!zsh && !str_eq(argv[0], "bash"))
                return error_set(error, -EINVAL, "completion takes bash or zsh, not %.80s", argv[0]);
        if (zsh)
                puts("autoload -U +X bashcompinit && bashcompinit");
        print_script(&cli->opt);
        return CLI_GOOD;
}

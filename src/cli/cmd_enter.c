/*
 * lablink vm exec and vm shell: this program becomes lablink-runner, which alone knows how each provider is entered.
 */
#include <errno.h>
#include <string.h>

#include "cli/api.h"
#include "cli/commands.h"

struct words {
        const char **list;
        size_t n;
};

static void add(struct words *words, const char *word)
{
        words->list = xreallocarray(words->list, words->n + 2, sizeof(char *));
        words->list[words->n++] = word;
        words->list[words->n] = NULL;
}

static void add_option(struct words *words, const char *option, const char *value)
{
        if (!value)
                return;
        add(words, option);
        add(words, value);
}

static void words_free(struct words *words)
{
        free(words->list);
}

static int enter(struct cli *cli, const char *verb, const char *name, char **command, struct error *error)
{
        int r = api_check_name(name, error);
        if (r < 0)
                return r;
        if (cli->opt.url)
                return error_set(error, -EINVAL, "a VM is entered on the machine of the lab, not through --url");
        if (geteuid() != 0) {
                cli_hint(cli, "sudo lablink vm %s ...", verb);
                return error_set(error, -EPERM, "only root can enter a VM");
        }
        _cleanup_free_ char *program = cli_program("lablink-runner");
        _cleanup_(words_free) struct words words = {0};
        add(&words, program);
        add_option(&words, "--config", cli->opt.config_file);
        add_option(&words, "--state-dir", cli->opt.state_dir);
        for (size_t i = 0; i < cli->opt.sets.n; i++)
                add_option(&words, "--set", cli->opt.sets.values[i]);
        add(&words, "vm");
        add(&words, verb);
        if (cli->opt.as_root)
                add(&words, "--root");
        add(&words, name);
        if (command)
                add(&words, "--");
        for (; command && *command; command++)
                add(&words, *command);
        execvp(program, (char **)words.list);
        if (errno == ENOENT)
                cli_hint(cli, "it belongs beside this program or in PATH");
        return error_errno(error, errno, "cannot start %s", program);
}

int run_vm_exec(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        return enter(cli, "exec", argv[0], argv + 1, error);
}

int run_vm_shell(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        return enter(cli, "shell", argv[0], NULL, error);
}

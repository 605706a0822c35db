/* A script that forgot --yes is told so before anything is asked of the allocator. */
#include "cli/confirm.h"

#include <errno.h>
#include <string.h>

#include "cli/term.h"

int confirm_possible(struct cli *cli, const char *what, struct error *error)
{
        if (cli->opt.yes)
                return 1;
        if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
                return 0;
        cli_hint(cli, "--yes says so on the command line");
        return error_set(error, -EINVAL, "%s wants the word yes and there is no terminal to ask on", what);
}

int confirm(struct error *error, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *question = xvasprintf(format, args);
        va_end(args);
        _cleanup_buf_ struct buf safe = BUF_NULL;
        term_escape(question, strlen(question), true, &safe);
        return term_ask_yes(buf_str(&safe)) ? 0 : error_set(error, -ECANCELED, "nothing was done");
}

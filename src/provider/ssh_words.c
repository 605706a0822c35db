/* Quoting for ssh (ssh_words.h). */
#include "provider/ssh_words.h"

#include <errno.h>
#include <string.h>

void ssh_quote(const char *word, struct buf *out)
{
        buf_addc(out, '\'');
        for (; *word; word++) {
                if (*word == '\'')
                        buf_adds(out, "'\\''");
                else
                        buf_addc(out, *word);
        }
        buf_addc(out, '\'');
}

int ssh_path_option(const char *key, const char *path, struct buf *out, struct error *error)
{
        if (!path || strpbrk(path, "\r\n") || strstr(path, "${"))
                return error_set(error, -EINVAL, "the path of %s cannot be given to ssh", key);
        buf_addf(out, "%s \"", key);
        for (; *path; path++) {
                if (strchr("\"'\\", *path))
                        buf_addc(out, '\\');
                buf_addf(out, *path == '%' ? "%%%%" : "%c", *path);
        }
        buf_addc(out, '"');
        return 0;
}

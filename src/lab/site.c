/* The name of the allocator's state directory (site.h). */
#include "lab/site.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "base/token.h"

#define FILE_NAME "site"

static bool is_name(const char *text)
{
        size_t len = strlen(text);
        return len > 0 && len < SITE_SIZE && strspn(text, "0123456789abcdef") == len;
}

int site_open(const char *state_dir, char ret[SITE_SIZE], struct error *error)
{
        _cleanup_free_ char *path = path_join(state_dir, FILE_NAME);
        _cleanup_buf_ struct buf text = BUF_NULL;
        char token[TOKEN_LENGTH + 1], hash[TOKEN_HASH_LENGTH + 1];
        if (file_read(path, 1024, &text, NULL) == 0) {
                _cleanup_free_ char *name = str_trim(xstrdup(buf_str(&text)));
                if (!is_name(name))
                        return error_set(error, -EINVAL, "%s holds no name of a site", path);
                snprintf(ret, SITE_SIZE, "%s", name);
                return 0;
        }
        token_random(token);
        token_hash(token, hash);
        snprintf(ret, SITE_SIZE, "%.16s", hash);
        _cleanup_free_ char *line = xasprintf("%s\n", ret);
        return file_write(path, line, strlen(line), 0644, error);
}

char *site_sql(const char *site)
{
        return xasprintf("set lablink.site = '%s'", site);
}

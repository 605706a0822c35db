/* Connection strings, put together and taken apart. libpq marks its secrets itself (dispchar '*'). */
#include "db/conninfo.h"

#include <errno.h>
#include <libpq-fe.h>

#include "base/text.h"

void conninfo_add(struct buf *out, const char *keyword, const char *value)
{
        buf_addf(out, "%s%s='", out->len ? " " : "", keyword);
        for (; *value; value++) {
                if (*value == '\'' || *value == '\\')
                        buf_addc(out, '\\');
                buf_addc(out, *value);
        }
        buf_addc(out, '\'');
}

int conninfo_split(const char *conninfo, char **ret_open, char **ret_password, struct error *error)
{
        char *why = NULL;
        PQconninfoOption *options = PQconninfoParse(conninfo, &why);
        PQfreemem(why); /* not told: it may hold the password */
        if (!options)
                return error_set(error, -EINVAL, "the database's connection string cannot be read");
        struct buf out = BUF_NULL;
        _cleanup_free_ char *password = NULL;
        int r = 0;
        for (const PQconninfoOption *option = options; option->keyword; option++) {
                if (!option->val)
                        continue;
                if (*option->dispchar != '*')
                        conninfo_add(&out, option->keyword, option->val);
                else if (str_eq(option->keyword, "password"))
                        str_replace(&password, option->val);
                else if (ret_password)
                        r = error_set(error, -EINVAL, "%s cannot be handed to another program unseen", option->keyword);
        }
        PQconninfoFree(options);
        *ret_open = buf_steal(&out);
        if (ret_password)
                *ret_password = STEAL(password);
        return r;
}

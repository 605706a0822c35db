/* The agent's token would let a participant's program speak for the VM, so it stays here. */
#include "client/child_env.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

extern char **environ;

static bool same_name(const char *a, const char *b)
{
        size_t len = strcspn(a, "=");
        return len == strcspn(b, "=") && strncmp(a, b, len) == 0;
}

static void put(char **list, size_t *n, char *entry)
{
        for (size_t i = 0; i < *n; i++)
                if (same_name(list[i], entry)) {
                        free(list[i]);
                        list[i] = entry;
                        return;
                }
        list[(*n)++] = entry;
}

char **child_env(const struct person *as, const char *const *more)
{
        size_t room = 8, n = 0;
        for (char **entry = environ; *entry; entry++)
                room++;
        for (size_t i = 0; more && more[i]; i++)
                room++;
        char **list = xcalloc(room, sizeof *list);
        for (char **entry = environ; *entry; entry++)
                if (!str_starts(*entry, "LABLINK_CLIENT_TOKEN"))
                        put(list, &n, xstrdup(*entry));
        if (as) {
                put(list, &n, xasprintf("HOME=%s", as->home));
                put(list, &n, xasprintf("USER=%s", as->name));
                put(list, &n, xasprintf("LOGNAME=%s", as->name));
                put(list, &n, xasprintf("SHELL=%s", as->shell));
        }
        for (size_t i = 0; more && more[i]; i++)
                put(list, &n, xstrdup(more[i]));
        return list;
}

static bool executable(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *find_program(const char *name)
{
        if (strchr(name, '/'))
                return executable(name) ? xstrdup(name) : NULL;
        const char *path = getenv("PATH");
        _cleanup_strv_ char **places = str_split(path && *path ? path : PATH_DEFAULT, ':');
        for (char **place = places; *place; place++) {
                _cleanup_free_ char *found = path_join(**place ? *place : ".", name);
                if (executable(found))
                        return STEAL(found);
        }
        return NULL;
}

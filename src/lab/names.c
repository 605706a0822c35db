/* One place that says what a host name and a status may be (contract, "Small print" and "Client VMs"). */
#include "lab/names.h"

#include <string.h>

static bool is_alnum(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool hostname_valid(const char *name)
{
        size_t len = strlen(name);
        if (len == 0 || len > HOSTNAME_MAX || !is_alnum(name[0]))
                return false;
        for (size_t i = 1; i < len; i++)
                if (!is_alnum(name[i]) && !strchr("._-", name[i]))
                        return false;
        return true;
}

bool status_valid(const char *status)
{
        static const char *const words[] = {"initializing", "running", "error", "available", "assigned", "unknown"};
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (strcmp(status, words[i]) == 0)
                        return true;
        return false;
}

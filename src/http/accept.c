/*
 * Weights in Accept and Accept-Encoding (RFC 9110, 12.4.2). Only what is named counts: a wildcard names nothing,
 * because each route says itself what it answers when nothing is asked for.
 */
#include <string.h>
#include <strings.h>

#include "http/internal.h"

static const char *skip_blanks(const char *at)
{
        return at + strspn(at, " \t");
}

/* "0.75" -> 750; what is not well formed counts as 1. */
static unsigned read_weight(const char *at)
{
        unsigned weight = 0, unit = 100;
        if (at[0] != '0')
                return 1000;
        if (at[1] != '.')
                return 0;
        for (at += 2; *at >= '0' && *at <= '9' && unit > 0; at++, unit /= 10)
                weight += (unsigned)(*at - '0') * unit;
        return weight;
}

static unsigned weight_of(const char *parameters, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                if (parameters[i] != ';')
                        continue;
                const char *name = skip_blanks(parameters + i + 1);
                if ((name[0] == 'q' || name[0] == 'Q') && name[1] == '=')
                        return read_weight(name + 2);
        }
        return 1000;
}

unsigned accept_weight(const char *header, const char *name)
{
        size_t name_len = strlen(name);
        for (const char *at = header ? header : ""; *at;) {
                at = skip_blanks(at);
                size_t len = strcspn(at, ","), range = strcspn(at, ",; \t");
                if (range == name_len && strncasecmp(at, name, name_len) == 0)
                        return weight_of(at + range, len - range);
                at += len;
                at += *at == ',';
        }
        return 0;
}

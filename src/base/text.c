/* Strict readers of short texts: what is not wholly right is refused, so that no caller sees half a value. */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>

bool str_eq(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

bool str_starts(const char *text, const char *prefix)
{
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *text, const char *suffix)
{
        size_t n = strlen(text), m = strlen(suffix);
        return n >= m && strcmp(text + n - m, suffix) == 0;
}

static bool is_blank(char c)
{
        return c == ' ' || (c >= '\t' && c <= '\r');
}

bool str_plain(const char *text, size_t len)
{
        for (size_t i = 0; i < len; i++)
                if (text[i] < ' ' || text[i] > '~')
                        return false;
        return true;
}

char *str_trim(char *text)
{
        size_t n = strlen(text), skip = 0;
        while (n && is_blank(text[n - 1]))
                n--;
        while (skip < n && is_blank(text[skip]))
                skip++;
        memmove(text, text + skip, n - skip);
        text[n - skip] = '\0';
        return text;
}

void str_lower(char *text)
{
        for (; *text; text++)
                if (*text >= 'A' && *text <= 'Z')
                        *text += 'a' - 'A';
}

char **str_split(const char *text, char separator)
{
        size_t pieces = 1;
        for (const char *c = text; *c; c++)
                pieces += *c == separator;
        char **list = xcalloc(pieces + 1, sizeof(char *));
        for (size_t i = 0; i < pieces; i++) {
                const char *end = strchrnul(text, separator);
                list[i] = xstrndup(text, (size_t)(end - text));
                text = end + 1;
        }
        return list;
}

/* Length of the valid character at `p` (RFC 3629), or 0. */
static size_t utf8_char(const unsigned char *p, size_t left)
{
        if (p[0] < 0x80)
                return 1;
        size_t n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
        if (n == 0 || n > left)
                return 0;
        for (size_t i = 1; i < n; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
        bool surrogate = p[0] == 0xed && p[1] > 0x9f;
        bool beyond = p[0] == 0xf4 && p[1] > 0x8f;
        return overlong || surrogate || beyond ? 0 : n;
}

bool utf8_valid(const char *data, size_t len)
{
        for (size_t i = 0; i < len;) {
                size_t n = utf8_char((const unsigned char *)data + i, len - i);
                if (n == 0)
                        return false;
                i += n;
        }
        return true;
}

void utf8_scrub(const char *data, size_t len, struct buf *out)
{
        size_t from = 0;
        buf_reserve(out, len);
        for (size_t i = 0; i < len;) {
                size_t n = utf8_char((const unsigned char *)data + i, len - i);
                bool good = n > 0 && data[i] != '\0';
                if (!good) {
                        buf_add(out, data + from, i - from);
                        buf_adds(out, "\xef\xbf\xbd");
                        from = i + 1;
                }
                i += good ? n : 1;
        }
        buf_add(out, data + from, len - from);
}

size_t utf8_cut(const char *data, size_t len, size_t max)
{
        if (len <= max)
                return len;
        size_t at = max;
        while (at > 0 && max - at < 4 && ((unsigned char)data[at] & 0xc0) == 0x80)
                at--;
        return ((unsigned char)data[at] & 0xc0) == 0x80 ? max : at; /* no character is that long: not UTF-8 */
}

int parse_int(const char *text, int64_t min, int64_t max, int64_t *ret)
{
        const char *digits = text + (*text == '-' || *text == '+');
        if (!isdigit((unsigned char)*digits))
                return -EINVAL;
        char *end;
        errno = 0;
        long long value = strtoll(text, &end, 10);
        if (*end)
                return -EINVAL;
        if (errno == ERANGE || value < min || value > max)
                return -ERANGE;
        *ret = value;
        return 0;
}

int parse_double(const char *text, double *ret)
{
        if (!*text || is_blank(*text) || strlen(text) > 64 || strpbrk(text, "xXpP"))
                return -EINVAL;
        char *end;
        double value = strtod(text, &end);
        if (*end)
                return -EINVAL;
        if (!isfinite(value))
                return -ERANGE;
        *ret = value;
        return 0;
}

int parse_bool(const char *text, bool *ret)
{
        static const char *const words[][2] = {{"true", "false"}, {"yes", "no"}, {"on", "off"}, {"1", "0"}};
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                for (int no = 0; no < 2; no++)
                        if (strcasecmp(text, words[i][no]) == 0) {
                                *ret = !no;
                                return 0;
                        }
        return -EINVAL;
}

struct unit {
        const char *name;
        int64_t factor;
};

/* A non-negative integer followed by one of the units. */
static int parse_scaled(const char *text, const struct unit *units, size_t n_units, int64_t *ret)
{
        size_t digits = strspn(text, "0123456789");
        if (digits == 0)
                return -EINVAL;
        if (digits > 18)
                return -ERANGE;
        int64_t value = strtoll(text, NULL, 10);
        for (size_t i = 0; i < n_units; i++) {
                if (strcasecmp(text + digits, units[i].name) != 0)
                        continue;
                return __builtin_mul_overflow(value, units[i].factor, ret) ? -ERANGE : 0;
        }
        return -EINVAL;
}

int parse_duration(const char *text, int64_t *ret_ms)
{
        static const struct unit units[] = {{"", 1000},   {"ms", 1},      {"s", 1000},
                                            {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
        return parse_scaled(text, units, ARRAY_SIZE(units), ret_ms);
}

int parse_size(const char *text, int64_t *ret_bytes)
{
        static const struct unit units[] = {{"", 1},           {"B", 1},          {"K", 1 << 10},   {"KB", 1 << 10},
                                            {"KiB", 1 << 10},  {"M", 1 << 20},    {"MB", 1 << 20},  {"MiB", 1 << 20},
                                            {"G", 1 << 30},    {"GB", 1 << 30},   {"GiB", 1 << 30}, {"T", 1LL << 40},
                                            {"TB", 1LL << 40}, {"TiB", 1LL << 40}};
        return parse_scaled(text, units, ARRAY_SIZE(units), ret_bytes);
}

/* Levenshtein distance of two short words. */
static size_t distance(const char *a, const char *b)
{
        size_t n = strlen(a), m = strlen(b), row[65];
        if (n > 64 || m > 64)
                return SIZE_MAX;
        for (size_t j = 0; j <= m; j++)
                row[j] = j;
        for (size_t i = 1; i <= n; i++) {
                size_t diagonal = row[0];
                row[0] = i;
                for (size_t j = 1; j <= m; j++) {
                        size_t change = diagonal + (a[i - 1] != b[j - 1]);
                        diagonal = row[j];
                        row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
                }
        }
        return row[m];
}

const char *text_nearest(const char *word, const char *const *list)
{
        const char *best = NULL;
        size_t best_distance = MAX(strlen(word) / 3, (size_t)2) + 1;
        for (; *list; list++) {
                size_t d = distance(word, *list);
                if (d < best_distance && d < strlen(*list)) {
                        best = *list;
                        best_distance = d;
                }
        }
        return best;
}

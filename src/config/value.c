/* Reading, checking and printing one value. All that differs between the types is in this file. */
#include "config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"

#define TEXT_MAX 4096
#define LIST_MAX 256

void config_quote(struct buf *out, const char *text)
{
        size_t len = strlen(text), keep = utf8_cut(text, len, 60);
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(text, keep, &clean);
        buf_addc(out, '"');
        for (const char *c = buf_str(&clean); *c; c++) {
                if ((unsigned char)*c < 0x20 || *c == 0x7f)
                        buf_addf(out, "\\x%02x", (unsigned char)*c);
                else
                        buf_addc(out, *c);
        }
        buf_adds(out, keep < len ? "...\"" : "\"");
}

void config_problem(struct buf *problems, const char *place, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sentence = xvasprintf(format, args);
        va_end(args);
        for (char *c = sentence; *c; c++)
                if ((unsigned char)*c < 0x20 || *c == 0x7f)
                        *c = ' ';
        buf_addf(problems, "%s%s%s\n", place ? place : "", place ? ": " : "", sentence);
}

static void print_duration(int64_t ms, struct buf *out)
{
        static const struct {
                const char *unit;
                int64_t ms;
        } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
        for (size_t i = 0; i < ARRAY_SIZE(units); i++)
                if (ms && ms % units[i].ms == 0) {
                        buf_addf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
                        return;
                }
        buf_addf(out, "%" PRId64 "ms", ms);
}

static void print_size(int64_t bytes, struct buf *out)
{
        static const char units[] = "TGMK";
        for (int i = 0; units[i]; i++)
                if (bytes && bytes % (1LL << (40 - 10 * i)) == 0) {
                        buf_addf(out, "%" PRId64 "%c", bytes >> (40 - 10 * i), units[i]);
                        return;
                }
        buf_addf(out, "%" PRId64, bytes);
}

static void print_number(enum config_type type, int64_t number, struct buf *out)
{
        if (type == CONFIG_DURATION)
                print_duration(number, out);
        else if (type == CONFIG_SIZE)
                print_size(number, out);
        else
                buf_addf(out, "%" PRId64, number);
}

void config_print(const struct config *config, const struct config_key *key, struct buf *out)
{
        const void *slot = config_slot(config, key);
        switch (key->type) {
        case CONFIG_TEXT:
                buf_adds(out, *(char *const *)slot);
                break;
        case CONFIG_BOOL:
                buf_adds(out, *(const bool *)slot ? "true" : "false");
                break;
        case CONFIG_LIST:
                for (char *const *item = *(char **const *)slot; *item; item++)
                        buf_addf(out, "%s%s", item == *(char **const *)slot ? "" : ", ", *item);
                break;
        case CONFIG_INT:
        case CONFIG_DURATION:
        case CONFIG_SIZE:
                print_number(key->type, *(const int64_t *)slot, out);
                break;
        }
}

bool config_is_set(const struct config *config, enum config_key_id id)
{
        const struct config_key *key = config_key(id);
        const void *slot = config_slot(config, key);
        switch (key->type) {
        case CONFIG_TEXT:
                return **(char *const *)slot;
        case CONFIG_BOOL:
                return *(const bool *)slot;
        case CONFIG_LIST:
                return **(char **const *)slot;
        default:
                return *(const int64_t *)slot != 0;
        }
}

void config_allowed(enum config_key_id id, struct buf *out)
{
        static const char *const words[] = {
                [CONFIG_TEXT] = "a text",
                [CONFIG_INT] = "a whole number",
                [CONFIG_BOOL] = "true or false",
                [CONFIG_DURATION] = "a duration such as 250ms, 30s, 5m, 2h or 7d",
                [CONFIG_SIZE] = "a size such as 512M or 4G",
                [CONFIG_LIST] = "a list of texts, or one text with commas",
        };
        const struct config_key *key = config_key(id);
        if (key->choices) {
                for (const char *c = key->choices; *c; c++)
                        if (*c == '|')
                                buf_adds(out, strchr(c + 1, '|') ? ", " : " or ");
                        else
                                buf_addc(out, *c);
                return;
        }
        const char *form = config_form(id);
        buf_addf(out, "%s%s", key->type == CONFIG_LIST && form ? "a list of " : "", form ? form : words[key->type]);
        if (key->ranged) {
                buf_adds(out, ", ");
                print_number(key->type, key->min, out);
                buf_adds(out, " to ");
                print_number(key->type, key->max, out);
        }
}

static bool is_choice(const char *choices, const char *text)
{
        _cleanup_strv_ char **list = str_split(choices, '|');
        for (char **choice = list; *choice; choice++)
                if (strcmp(*choice, text) == 0)
                        return true;
        return false;
}

static bool has_control(const char *text)
{
        for (; *text; text++)
                if ((unsigned char)*text < 0x20 || *text == 0x7f)
                        return true;
        return false;
}

/* What is wrong with a text for this key: a sentence to follow the key's name, or NULL. */
static const char *text_fault(enum config_key_id id, const char *text)
{
        const struct config_key *key = config_key(id);
        if (strlen(text) > TEXT_MAX)
                return "is longer than 4096 bytes";
        if (!utf8_valid(text, strlen(text)))
                return "is not valid UTF-8";
        if (has_control(text))
                return "holds a control character or a line break";
        if (key->choices && !is_choice(key->choices, text))
                return "";
        return config_form_ok(id, text) ? NULL : "";
}

static void refuse(enum config_key_id id, const char *text, const char *fault, const struct config_from *from,
                   struct buf *problems)
{
        const struct config_key *key = config_key(id);
        _cleanup_buf_ struct buf sentence = BUF_NULL;
        if (*fault) {
                buf_addf(&sentence, "%s %s", config_path(key), fault);
        } else {
                buf_addf(&sentence, "%s takes ", config_path(key));
                config_allowed(id, &sentence);
                if (!config_is_secret(key)) {
                        buf_adds(&sentence, ", not ");
                        config_quote(&sentence, text);
                }
        }
        if (key->choices && !*fault) {
                _cleanup_strv_ char **list = str_split(key->choices, '|');
                const char *near = text_nearest(text, (const char *const *)list);
                if (near)
                        buf_addf(&sentence, "; did you mean %s?", near);
        }
        config_problem(problems, from->place, "%s", buf_str(&sentence));
}

static int read_number(const struct config_key *key, const char *text, int64_t *ret)
{
        int r = key->type == CONFIG_DURATION ? parse_duration(text, ret)
                : key->type == CONFIG_SIZE   ? parse_size(text, ret)
                                             : parse_int(text, INT64_MIN, INT64_MAX, ret);
        if (r == 0 && key->ranged && (*ret < key->min || *ret > key->max))
                return -ERANGE;
        return r;
}

static void remember(struct config *config, enum config_key_id id, const struct config_from *from)
{
        config->origins[id].source = from->source;
        str_replace(&config->origins[id].place, from->place);
}

/* A text that is not empty, into its place. False: refused. */
static bool store(struct config *config, enum config_key_id id, const char *text)
{
        const struct config_key *key = config_key(id);
        void *slot = config_slot(config, key);
        switch (key->type) {
        case CONFIG_TEXT:
                str_replace(slot, text);
                return true;
        case CONFIG_BOOL:
                return parse_bool(text, slot) == 0;
        default: {
                int64_t number;
                if (read_number(key, text, &number) < 0)
                        return false;
                *(int64_t *)slot = number;
                return true;
        }
        }
}

static char **split_items(const char *text)
{
        char **items = str_split(text, ',');
        size_t kept = 0;
        for (size_t i = 0; items[i]; i++) {
                str_trim(items[i]);
                if (*items[i])
                        items[kept++] = items[i];
                else
                        free(items[i]);
        }
        items[kept] = NULL;
        return items;
}

static void set_items(struct config *config, enum config_key_id id, const char *text, const struct config_from *from,
                      struct buf *problems)
{
        _cleanup_strv_ char **items = split_items(text);
        config_set_list(config, id, items, from, problems);
}

void config_set(struct config *config, enum config_key_id id, const char *text, const struct config_from *from,
                struct buf *problems)
{
        const struct config_key *key = config_key(id);
        static const struct config_from by_default = {.source = CONFIG_DEFAULT};
        if (!*text) {
                text = key->fallback;
                from = &by_default;
        }
        if (key->type == CONFIG_LIST) {
                set_items(config, id, text, from, problems);
                return;
        }
        const char *fault = *text ? text_fault(id, text) : NULL;
        if (!fault && !store(config, id, text))
                fault = "";
        if (fault)
                refuse(id, text, fault, from, problems);
        else
                remember(config, id, from);
}

void config_set_list(struct config *config, enum config_key_id id, char *const *items, const struct config_from *from,
                     struct buf *problems)
{
        size_t n = 0;
        for (; items[n]; n++) {
                const char *fault = n < LIST_MAX ? text_fault(id, items[n]) : "holds more than 256 items";
                if (fault) {
                        refuse(id, items[n], fault, from, problems);
                        return;
                }
        }
        char ***slot = config_slot(config, config_key(id));
        strv_free(*slot);
        *slot = xcalloc(n + 1, sizeof(char *));
        for (size_t i = 0; i < n; i++)
                (*slot)[i] = xstrdup(items[i]);
        remember(config, id, from);
}

void config_set_defaults(struct config *config)
{
        const struct config_from from = {.source = CONFIG_DEFAULT};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++)
                config_set(config, id, "", &from, &problems);
        if (problems.len)
                abort(); /* keys.def holds a default that its own rules refuse */
}

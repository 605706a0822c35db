/* Columns are as wide as their widest cell, except the last one, which is never padded. */
#include "cli/table.h"

#include <ctype.h>
#include <string.h>

#include "base/text.h"
#include "cli/term.h"

struct table {
        const char *const *heads;
        size_t columns;
        char **cells;
        size_t n, room;
};

struct table *table_new(const char *const *heads)
{
        struct table *table = xcalloc(1, sizeof(*table));
        table->heads = heads;
        while (heads && heads[table->columns])
                table->columns++;
        if (!heads)
                table->columns = 2;
        return table;
}

struct table *table_free(struct table *table)
{
        for (size_t i = 0; table && i < table->n; i++)
                free(table->cells[i]);
        if (table)
                free(table->cells);
        free(table);
        return NULL;
}

void table_add(struct table *table, const char *text)
{
        if (table->n == table->room) {
                table->room = table->room ? table->room * 2 : 64;
                table->cells = xreallocarray(table->cells, table->room, sizeof(char *));
        }
        table->cells[table->n++] = xstrdup(str_or(text, ""));
}

void table_addf(struct table *table, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        table_add(table, text);
}

void table_add_json(struct table *table, const json_t *object, const char *key)
{
        const json_t *value = json_object_get(object, key);
        if (json_is_boolean(value)) {
                table_add(table, json_is_true(value) ? "yes" : "no");
        } else if (json_is_integer(value)) {
                table_addf(table, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        } else if (json_is_real(value)) {
                table_addf(table, "%.1f", json_real_value(value));
        } else if (json_is_object(value) || json_is_array(value)) {
                _cleanup_free_ char *text = json_text(value);
                table_add(table, text);
        } else {
                table_add(table, json_string_value(value));
        }
}

size_t table_rows(const struct table *table)
{
        return table->columns ? table->n / table->columns : 0;
}

static json_t *cell_json(const struct table *table, size_t i)
{
        return json_stringn_nocheck(table->cells[i], strlen(table->cells[i]));
}

static json_t *row_json(const struct table *table, size_t row)
{
        json_t *object = json_object();
        for (size_t i = 0; i < table->columns; i++) {
                _cleanup_free_ char *key = xstrdup(table->heads[i]);
                str_lower(key);
                for (char *c = key; *c; c++)
                        if (*c == ' ')
                                *c = '_';
                json_object_set_new(object, key, cell_json(table, row * table->columns + i));
        }
        return object;
}

static void print_json(const struct table *table, FILE *out)
{
        _cleanup_json_ json_t *value = table->heads ? json_array() : json_object();
        for (size_t row = 0; row < table_rows(table); row++) {
                if (table->heads)
                        json_array_append_new(value, row_json(table, row));
                else
                        json_object_set_new_nocheck(value, table->cells[row * 2], cell_json(table, row * 2 + 1));
        }
        json_put(value, out);
}

static char *shown(const char *cell)
{
        struct buf safe = BUF_NULL;
        term_escape(*cell ? cell : "-", *cell ? strlen(cell) : 1, false, &safe);
        return buf_steal(&safe);
}

static void print_row(const struct table *table, const char *const *cells, const size_t *widths, FILE *out)
{
        for (size_t i = 0; i < table->columns; i++) {
                _cleanup_free_ char *cell = shown(cells[i]);
                size_t padding = i + 1 < table->columns ? widths[i] - term_columns(cell) + 2 : 0;
                fprintf(out, "%s%*s", cell, (int)padding, "");
        }
        fputc('\n', out);
}

void table_print(const struct table *table, bool as_json, FILE *out)
{
        if (as_json) {
                print_json(table, out);
                return;
        }
        _cleanup_free_ size_t *widths = xcalloc(table->columns, sizeof(size_t));
        for (size_t i = 0; table->heads && i < table->columns; i++)
                widths[i] = strlen(table->heads[i]);
        for (size_t i = 0; table->columns && i < table->n; i++) {
                _cleanup_free_ char *cell = shown(table->cells[i]);
                widths[i % table->columns] = MAX(widths[i % table->columns], term_columns(cell));
        }
        if (table->heads)
                print_row(table, table->heads, widths, out);
        for (size_t row = 0; row < table_rows(table); row++)
                print_row(table, (const char *const *)table->cells + row * table->columns, widths, out);
}

void json_put(const json_t *value, FILE *out)
{
        bool pretty = isatty(fileno(out));
        _cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY | (pretty ? JSON_INDENT(2) : JSON_COMPACT) |
                                                              (pretty ? JSON_ENSURE_ASCII : 0));
        fprintf(out, "%s\n", str_or(text, "null"));
}

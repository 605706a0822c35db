/*
 * One row, column by column. Everything travels as text, because text is what all types of PostgreSQL have in common;
 * only db_object() looks at types, so that a JSON answer has numbers where the table has numbers.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"

/* Of pg_type; fixed for ever. */
enum {
        OID_BOOL = 16,
        OID_INT8 = 20,
        OID_INT2 = 21,
        OID_INT4 = 23,
        OID_OID = 26,
        OID_JSON = 114,
        OID_FLOAT4 = 700,
        OID_FLOAT8 = 701,
        OID_TIMESTAMPTZ = 1184,
        OID_NUMERIC = 1700,
        OID_JSONB = 3802,
};

bool db_null(const struct db_row *row, int column)
{
        return column >= PQnfields(row->result) || PQgetisnull(row->result, row->row, column);
}

const char *db_text(const struct db_row *row, int column)
{
        return db_null(row, column) ? NULL : PQgetvalue(row->result, row->row, column);
}

int64_t db_int(const struct db_row *row, int column)
{
        const char *text = db_text(row, column);
        return text ? strtoll(text, NULL, 10) : 0;
}

double db_double(const struct db_row *row, int column)
{
        const char *text = db_text(row, column);
        return text ? strtod(text, NULL) : 0;
}

bool db_bool(const struct db_row *row, int column)
{
        const char *text = db_text(row, column);
        return text && text[0] == 't';
}

static json_t *json_from_real(double value)
{
        return isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_from_stored(const char *text)
{
        json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
        return value ? value : json_null();
}

/* "2026-11-25 03:30:22.123+00" -> "2026-11-25T03:30:22.123Z": connections are set to UTC and ISO. */
static json_t *json_from_time(const char *text)
{
        size_t n = strlen(text);
        if (n < 14 || text[10] != ' ' || strcmp(text + n - 3, "+00") != 0)
                return json_string(text);
        _cleanup_free_ char *copy = xstrdup(text);
        copy[10] = 'T';
        copy[n - 3] = 'Z';
        copy[n - 2] = '\0';
        return json_string(copy);
}

static json_t *json_from_column(const struct db_row *row, int column)
{
        const char *text = db_text(row, column);
        if (!text)
                return json_null();
        switch (PQftype(row->result, column)) {
        case OID_BOOL:
                return json_boolean(text[0] == 't');
        case OID_INT2:
        case OID_INT4:
        case OID_INT8:
        case OID_OID:
                return json_integer(strtoll(text, NULL, 10));
        case OID_FLOAT4:
        case OID_FLOAT8:
        case OID_NUMERIC:
                return json_from_real(strtod(text, NULL));
        case OID_JSON:
        case OID_JSONB:
                return json_from_stored(text);
        case OID_TIMESTAMPTZ:
                return json_from_time(text);
        default:
                return json_string(text);
        }
}

json_t *db_object(const struct db_row *row)
{
        json_t *object = json_object();
        for (int column = 0; column < PQnfields(row->result); column++)
                json_object_set_new(object, PQfname(row->result, column), json_from_column(row, column));
        return object;
}

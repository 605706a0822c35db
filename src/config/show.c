/* The whole configuration as JSON: masked for people, whole for a child process and back. */
#include <errno.h>
#include <string.h>

#include "config/value.h"

static const char *const source_names[] = {"default", "file", "environment", "flag"};

json_t *config_show(const struct config *config)
{
        json_t *rows = json_array();
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++) {
                const struct config_key *key = config_key(id);
                const struct config_origin *origin = &config->origins[id];
                _cleanup_buf_ struct buf value = BUF_NULL;
                config_print(config, key, &value);
                const char *shown = !config_is_secret(key) ? buf_str(&value) : value.len ? "********" : "";
                json_array_append_new(rows,
                                      json_pack("{s:s, s:s, s:s, s:s, s:b}", "key", config_path(key), "value", shown,
                                                "source", source_names[origin->source], "place",
                                                origin->place ? origin->place : "", "secret", config_is_secret(key)));
        }
        return rows;
}

static json_t *value_json(const struct config *config, const struct config_key *key)
{
        const void *slot = config_slot(config, key);
        json_t *list;
        switch (key->type) {
        case CONFIG_TEXT:
                return json_string(*(char *const *)slot);
        case CONFIG_BOOL:
                return json_boolean(*(const bool *)slot);
        case CONFIG_LIST:
                list = json_array();
                for (char *const *item = *(char **const *)slot; *item; item++)
                        json_array_append_new(list, json_string(*item));
                return list;
        default:
                return json_integer(*(const int64_t *)slot);
        }
}

static json_t *text_or_null(const char *text)
{
        return text ? json_string(text) : json_null();
}

json_t *config_to_json(const struct config *config)
{
        json_t *keys = json_object();
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++) {
                const struct config_key *key = config_key(id);
                const struct config_origin *origin = &config->origins[id];
                json_object_set_new(keys, key->path,
                                    json_pack("{s:o, s:i, s:o}", "value", value_json(config, key), "source",
                                              (int)origin->source, "place", text_or_null(origin->place)));
        }
        return json_pack("{s:o, s:o, s:o}", "file", text_or_null(config->file), "public_address",
                         text_or_null(config->public_address), "keys", keys);
}

static int take_list(char ***slot, const json_t *value)
{
        size_t n = json_array_size(value);
        if (!json_is_array(value))
                return -EINVAL;
        strv_free(*slot);
        *slot = xcalloc(n + 1, sizeof(char *));
        for (size_t i = 0; i < n; i++) {
                const char *item = json_string_value(json_array_get(value, i));
                (*slot)[i] = xstrdup(item ? item : "");
        }
        return 0;
}

static int take_value(struct config *config, const struct config_key *key, const json_t *value)
{
        void *slot = config_slot(config, key);
        if (key->type == CONFIG_LIST)
                return take_list(slot, value);
        if (key->type == CONFIG_TEXT && json_is_string(value))
                str_replace(slot, json_string_value(value));
        else if (key->type == CONFIG_BOOL && json_is_boolean(value))
                *(bool *)slot = json_is_true(value);
        else if (key->type != CONFIG_TEXT && key->type != CONFIG_BOOL && json_is_integer(value))
                *(int64_t *)slot = json_integer_value(value);
        else
                return -EINVAL;
        return 0;
}

static int take_key(struct config *config, enum config_key_id id, const json_t *row)
{
        json_int_t source = json_integer_value(json_object_get(row, "source"));
        if (source < CONFIG_DEFAULT || source > CONFIG_FLAG)
                return -EINVAL;
        config->origins[id].source = (enum config_source)source;
        str_replace(&config->origins[id].place, json_get_string(row, "place"));
        return take_value(config, config_key(id), json_object_get(row, "value"));
}

int config_from_json(const json_t *json, struct config **ret, struct error *error)
{
        _cleanup_config_ struct config *config = xcalloc(1, sizeof(*config));
        config_set_defaults(config);
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++) {
                const char *path = config_key(id)->path;
                if (take_key(config, id, json_object_get(json_object_get(json, "keys"), path)) < 0)
                        return error_set(error, -EINVAL, "the configuration handed over has no valid %s", path);
        }
        str_replace(&config->file, json_get_string(json, "file"));
        str_replace(&config->public_address, json_get_string(json, "public_address"));
        *ret = STEAL(config);
        return 0;
}

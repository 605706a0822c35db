/*
 * libfyaml's events, not its documents: a document would resolve aliases, and a bomb of them never ends. The reader is
 * recursive, so its depth is limited; the number of nodes is too.
 */
#include "config/yaml.h"

#include <libfyaml.h>
#include <string.h>

#include "base/text.h"
#include "config/value.h"

#define DEPTH_MAX 16
#define NODES_MAX 5000

struct reader {
        const char *label, *data;
        size_t len;
        struct fy_parser *parser;
        struct fy_event *event; /* the one that was read last */
        struct buf *problems;
        size_t nodes;
        bool broken; /* nothing more can be read */
};

static void problem_at(struct reader *reader, int line, int column, const char *format, ...) _printf_(4, 5);
static void problem_at(struct reader *reader, int line, int column, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sentence = xvasprintf(format, args);
        va_end(args);
        _cleanup_free_ char *place = xasprintf("%s:%d:%d", reader->label, line, column);
        config_problem(reader->problems, place, "%s", sentence);
}

/* Where the present event begins; libfyaml may leave the opening quote of a scalar out. */
static void mark(struct reader *reader, int *line, int *column)
{
        const struct fy_mark *start = fy_event_start_mark(reader->event);
        *line = start ? start->line + 1 : 1;
        *column = start ? start->column + 1 : 1;
        bool scalar = start && reader->event->type == FYET_SCALAR && start->input_pos > 0;
        enum fy_node_style style = scalar ? fy_event_get_node_style(reader->event) : FYNS_ANY;
        char quote = style == FYNS_SINGLE_QUOTED ? '\'' : style == FYNS_DOUBLE_QUOTED ? '"' : '\0';
        if (quote && start->input_pos <= reader->len && reader->data[start->input_pos - 1] == quote)
                --*column;
}

static void problem_here(struct reader *reader, const char *sentence)
{
        int line, column;
        mark(reader, &line, &column);
        problem_at(reader, line, column, "%s", sentence);
}

/* The next event; false at the end or when the text is broken. */
static bool advance(struct reader *reader)
{
        if (reader->event)
                fy_parser_event_free(reader->parser, reader->event);
        reader->event = reader->broken ? NULL : fy_parser_parse(reader->parser);
        if (!reader->event)
                reader->broken = true;
        return reader->event;
}

static void stop(struct reader *reader, const char *sentence)
{
        problem_here(reader, sentence);
        reader->broken = true;
}

static bool is_null(const char *text)
{
        return !*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
               strcmp(text, "NULL") == 0;
}

static void check_decoration(struct reader *reader)
{
        struct fy_token *tag = fy_event_get_tag_token(reader->event);
        if (fy_event_get_anchor_token(reader->event))
                problem_here(reader, "anchors (&name) are not used in this file: write the value out");
        if (tag)
                problem_here(reader, "tags (!name) are not used in this file");
}

static void read_scalar(struct reader *reader, struct yaml_node *node)
{
        struct fy_token *token = reader->event->scalar.value;
        size_t len = 0;
        const char *text = token ? fy_token_get_text(token, &len) : "";
        enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
        if (!text || memchr(text, '\0', len)) {
                problem_here(reader, "the value holds a NUL character");
                text = "";
                len = 0;
        }
        if ((style == FYSS_LITERAL || style == FYSS_FOLDED) && len && text[len - 1] == '\n')
                len--;
        node->text = xstrndup(text, len);
        node->kind = style == FYSS_PLAIN && is_null(node->text) ? YAML_NULL : YAML_SCALAR;
}

static struct yaml_node *add_item(struct reader *reader, struct yaml_node *parent)
{
        if ((parent->n & (parent->n - 1)) == 0)
                parent->items = xreallocarray(parent->items, parent->n ? parent->n * 2 : 1, sizeof(*parent->items));
        struct yaml_node *node = &parent->items[parent->n++];
        *node = (struct yaml_node){.line = parent->line, .column = parent->column};
        if (++reader->nodes > NODES_MAX)
                stop(reader, "the file holds too many values");
        return node;
}

static void read_node(struct reader *reader, struct yaml_node *node, int depth);

static void read_list(struct reader *reader, struct yaml_node *list, int depth)
{
        list->kind = YAML_LIST;
        while (advance(reader) && reader->event->type != FYET_SEQUENCE_END)
                read_node(reader, add_item(reader, list), depth + 1);
}

static void check_key(struct reader *reader, const struct yaml_node *map, const struct yaml_node *item)
{
        if (strcmp(item->key, "<<") == 0)
                problem_at(reader, item->key_line, item->key_column,
                           "merge keys (<<) are not used in this file: write the values out");
        for (size_t i = 0; i + 1 < map->n; i++) {
                const struct yaml_node *other = &map->items[i];
                if (!str_eq(other->key, item->key))
                        continue;
                _cleanup_buf_ struct buf name = BUF_NULL;
                config_quote(&name, item->key);
                problem_at(reader, item->key_line, item->key_column, "%s is already given in line %d", buf_str(&name),
                           other->key_line);
                return;
        }
}

static void read_key(struct reader *reader, struct yaml_node *map, struct yaml_node *item)
{
        struct yaml_node key = {.kind = YAML_NULL};
        mark(reader, &item->key_line, &item->key_column);
        if (reader->event->type != FYET_SCALAR) {
                stop(reader, "a key must be a plain text");
                return;
        }
        check_decoration(reader);
        read_scalar(reader, &key);
        item->key = STEAL(key.text);
        check_key(reader, map, item);
}

static void read_map(struct reader *reader, struct yaml_node *map, int depth)
{
        map->kind = YAML_MAP;
        while (advance(reader) && reader->event->type != FYET_MAPPING_END) {
                struct yaml_node *item = add_item(reader, map);
                read_key(reader, map, item);
                if (advance(reader))
                        read_node(reader, item, depth + 1);
        }
}

/* The node that begins with the present event. */
static void read_node(struct reader *reader, struct yaml_node *node, int depth)
{
        if (reader->broken)
                return;
        mark(reader, &node->line, &node->column);
        if (depth >= DEPTH_MAX && reader->event->type != FYET_SCALAR && reader->event->type != FYET_ALIAS) {
                stop(reader, "the file is nested too deeply here");
                return;
        }
        check_decoration(reader);
        switch (reader->event->type) {
        case FYET_SCALAR:
                read_scalar(reader, node);
                break;
        case FYET_SEQUENCE_START:
                read_list(reader, node, depth);
                break;
        case FYET_MAPPING_START:
                read_map(reader, node, depth);
                break;
        case FYET_ALIAS:
                problem_here(reader, "aliases (*name) are not used in this file: write the value out");
                break;
        default:
                stop(reader, "something unexpected stands here");
        }
}

static void read_stream(struct reader *reader, struct yaml_node *root)
{
        int documents = 0;
        while (advance(reader) && reader->event->type != FYET_STREAM_END) {
                if (reader->event->type != FYET_DOCUMENT_START)
                        continue;
                if (documents++) {
                        stop(reader, "the file holds more than one document (---)");
                        return;
                }
                if (advance(reader) && reader->event->type != FYET_DOCUMENT_END)
                        read_node(reader, root, 0);
        }
}

static void tell_syntax(struct reader *reader, struct fy_diag *diag)
{
        void *cursor = NULL;
        struct fy_diag_error *error = fy_diag_errors_iterate(diag, &cursor);
        if (error)
                problem_at(reader, error->line, error->column, "%s", str_or(error->msg, "this is no YAML"));
        else
                problem_at(reader, 1, 1, "this is no YAML");
}

/* libfyaml would take UTF-16 for a file of nothing. Told with the line; false: do not go on. */
static bool check_text(const char *label, const char *data, size_t len, struct buf *problems)
{
        int line = 1;
        for (const char *start = data, *end; start < data + len; start = end + 1, line++) {
                size_t left = (size_t)(data + len - start);
                end = memchr(start, '\n', left);
                end = end ? end : data + len;
                size_t n = (size_t)(end - start);
                if (utf8_valid(start, n) && !memchr(start, '\0', n))
                        continue;
                _cleanup_free_ char *place = xasprintf("%s:%d:1", label, line);
                config_problem(problems, place, "this line is not UTF-8 text");
                return false;
        }
        return true;
}

void yaml_read(const char *label, const char *data, size_t len, struct yaml_node *root, struct buf *problems)
{
        *root = (struct yaml_node){.kind = YAML_NULL, .line = 1, .column = 1};
        if (!check_text(label, data, len, problems))
                return;
        struct fy_diag_cfg diag_cfg;
        fy_diag_cfg_default(&diag_cfg);
        diag_cfg.fp = NULL;
        diag_cfg.level = FYET_ERROR;
        struct fy_diag *diag = fy_diag_create(&diag_cfg);
        fy_diag_set_collect_errors(diag, true);
        const struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_JSON_NONE, .diag = diag};
        struct reader reader = {
                .label = label, .data = data, .len = len, .problems = problems, .parser = fy_parser_create(&cfg)};
        if (len && reader.parser && fy_parser_set_string(reader.parser, data, len) == 0)
                read_stream(&reader, root);
        if (fy_diag_got_error(diag))
                tell_syntax(&reader, diag);
        if (reader.event)
                fy_parser_event_free(reader.parser, reader.event);
        fy_parser_destroy(reader.parser);
        fy_diag_destroy(diag);
}

void yaml_free(struct yaml_node *root)
{
        for (size_t i = 0; i < root->n; i++)
                yaml_free(&root->items[i]);
        free(root->items);
        free(root->text);
        free(root->key);
        *root = (struct yaml_node){.kind = YAML_NULL};
}

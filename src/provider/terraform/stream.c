/*
 * The engine's words on their way into an operation. With -json each line is an object: what is being made becomes
 * progress, diagnostics become sentences. Anything else (a module's own programs print what they like) is plain text.
 * All of it is cleaned for a terminal, limited, and freed of the VMs' secrets.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ansi.h"
#include "base/clock.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

#define TEXT_MAX 4096   /* of one line of output */
#define LINES_MAX 20000 /* of one run of the engine */
#define DETAIL_LINES 40 /* of one diagnostic */
#define TROUBLES_MAX 3  /* that the operation's error names */
#define DEPTH_MAX 64

/* --- lines --------------------------------------------------------------------------------------------------------- */

/* Tokens are letters, digits, '-' and '_' and of one length: a hostile module that prints one gets stars. */
static bool mask(const struct tf_stream *s, char *text)
{
        const char *name;
        json_t *token;
        bool masked = false;
        json_object_foreach ((json_t *)s->tokens, name, token) {
                const char *secret = json_string_value(token);
                if (!secret || !*secret)
                        continue;
                for (char *at = text; (at = strstr(at, secret)); masked = true)
                        memset(at, '*', strlen(secret));
        }
        return masked;
}

static void say(struct tf_stream *s, const char *text, size_t len)
{
        _cleanup_buf_ struct buf plain = BUF_NULL, coloured = BUF_NULL;
        size_t kept = utf8_cut(text, len, TEXT_MAX);
        if (s->lines >= LINES_MAX) {
                s->dropped++;
                return;
        }
        ansi_strip(text, kept, &plain);
        ansi_colours(text, kept, &coloured);
        /* A colour in the middle of a secret would hide it from the mask: such a line goes without. */
        struct buf *line = s->tokens && plain.len && mask(s, plain.data) ? &plain : &coloured;
        if (len > TEXT_MAX)
                buf_adds(line, " [cut]");
        s->lines++;
        if (s->sink && s->sink->line)
                s->sink->line(s->sink->userdata, buf_str(line));
}

/* A text of several lines. */
static void say_lines(struct tf_stream *s, const char *indent, const char *text, size_t max)
{
        _cleanup_strv_ char **lines = str_split(text, '\n');
        for (size_t i = 0; lines[i]; i++) {
                if (i == max) {
                        say(s, "    ...", 7);
                        return;
                }
                if (!*lines[i] && !lines[i + 1])
                        return;
                _cleanup_free_ char *line = xasprintf("%s%s", indent, lines[i]);
                say(s, line, strlen(line));
        }
}

/* --- VMs ----------------------------------------------------------------------------------------------------------- */

char *tf_vm_name(const char *environment, const char *resource, const json_t *key)
{
        if (!str_eq(resource, VM_RESOURCE))
                return NULL;
        if (json_is_integer(key))
                return xasprintf("lablink-vm-%s-%lld", environment, (long long)json_integer_value(key) + 1);
        return json_is_string(key) ? xstrdup(json_string_value(key)) : NULL;
}

static char *vm_of(const struct tf_stream *s, const json_t *hook)
{
        const json_t *resource = json_object_get(hook, "resource");
        return tf_vm_name(s->environment, json_get_string(resource, "resource_name"),
                          json_object_get(resource, "resource_key"));
}

static double when(const json_t *message)
{
        double at;
        const char *text = json_get_string(message, "@timestamp");
        return text && clock_parse_iso(text, &at) == 0 ? at : clock_now();
}

static void show_progress(struct tf_stream *s)
{
        if (s->sink && s->sink->progress)
                s->sink->progress(s->sink->userdata, MIN(s->done, s->total), s->total);
}

static void on_start(struct tf_stream *s, const json_t *message, const json_t *hook)
{
        _cleanup_free_ char *name = vm_of(s, hook);
        if (name && str_eq(json_get_string(hook, "action"), "create"))
                json_object_set_new(s->started, name, json_real(when(message)));
}

static void on_complete(struct tf_stream *s, const json_t *message, const json_t *hook)
{
        _cleanup_free_ char *name = vm_of(s, hook);
        bool created = str_eq(json_get_string(hook, "action"), "create");
        if (!name || created == s->destroying)
                return;
        s->done++;
        show_progress(s);
        if (!created || !s->sink || !s->sink->created)
                return;
        const json_t *started = json_object_get(s->started, name);
        double ended = when(message);
        s->sink->created(s->sink->userdata, name, started ? json_real_value(started) : ended, ended);
}

/* --- diagnostics --------------------------------------------------------------------------------------------------- */

/* "ID:        3e6b...", on a line of its own in the words about a lock. */
static const char *find_id(const char *detail)
{
        for (const char *line = detail; line; line = strchr(line, '\n')) {
                line += strspn(line, " \t\r\n");
                if (str_starts(line, "ID:"))
                        return line + strlen("ID:") + strspn(line + strlen("ID:"), " \t");
        }
        return NULL;
}

static void find_lock(struct tf_stream *s, const char *summary, const char *detail)
{
        if (!strstr(summary, "state lock"))
                return;
        s->locked = true;
        const char *id = detail ? find_id(detail) : NULL;
        if (!id)
                return;
        free(s->lock_id);
        s->lock_id = xstrndup(id, strcspn(id, " \t\r\n"));
}

/* Without -json the engine draws a frame around its words. */
static size_t frame_length(const char *text, size_t len)
{
        static const char *const bars[] = {"\xe2\x95\xb7", "\xe2\x94\x82", "\xe2\x95\xb5"};
        size_t n = 0;
        for (size_t i = 0; i < ARRAY_SIZE(bars); i++)
                if (len >= 3 && memcmp(text, bars[i], 3) == 0)
                        n = 3;
        while (n && n < len && text[n] == ' ')
                n++;
        return n;
}

static void note_trouble(struct tf_stream *s, const char *text, size_t len)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        ansi_strip(text, utf8_cut(text, len, 400), &clean);
        if (clean.len && s->tokens)
                mask(s, clean.data);
        if (clean.len && s->troubles++ < TROUBLES_MAX)
                buf_addf(&s->trouble, "%s%s", s->trouble.len ? "; " : "", buf_str(&clean));
}

/* "Invalid count argument: The \"count\" value ..." and no more than the first line of the detail. */
static char *one_sentence(const char *summary, const char *detail)
{
        size_t n = detail ? strcspn(detail, "\n") : 0;
        return n ? xasprintf("%s: %.*s", summary, (int)MIN(n, (size_t)300), detail) : xstrdup(summary);
}

/* That a reset is confined to one VM is meant so. */
static bool is_about_targets(const char *summary)
{
        return str_eq(summary, "Resource targeting is in effect") ||
               str_eq(summary, "Applied changes may be incomplete");
}

static void on_diagnostic(struct tf_stream *s, const json_t *message)
{
        const json_t *d = json_object_get(message, "diagnostic");
        const json_t *range = json_object_get(d, "range");
        const char *summary = str_or(json_get_string(d, "summary"), "no summary");
        const char *detail = json_get_string(d, "detail");
        const char *address = json_get_string(d, "address");
        const char *file = json_get_string(range, "filename");
        bool is_error = str_eq(json_get_string(d, "severity"), "error");
        if (!is_error && is_about_targets(summary))
                return;
        _cleanup_free_ char *head = xasprintf("%s: %s", is_error ? "Error" : "Warning", summary);
        say_lines(s, "", head, DETAIL_LINES);
        if (detail && *detail)
                say_lines(s, "    ", detail, DETAIL_LINES);
        if (file) {
                _cleanup_free_ char *place = xasprintf(
                        "    (%s%s%s line %lld)", str_or(address, ""), address ? ", " : "", file,
                        (long long)json_integer_value(json_object_get(json_object_get(range, "start"), "line")));
                say(s, place, strlen(place));
        }
        if (!is_error)
                return;
        find_lock(s, summary, detail);
        _cleanup_free_ char *sentence = one_sentence(summary, detail);
        note_trouble(s, sentence, strlen(sentence));
}

/* --- messages ------------------------------------------------------------------------------------------------------ */

static bool is_shown(const struct tf_stream *s, const char *type)
{
        static const char *const quiet[] = {"version", "outputs", "refresh_complete", "provision_start",
                                            "provision_complete"};
        if (str_eq(type, "planned_change"))
                return s->planning;
        for (size_t i = 0; i < ARRAY_SIZE(quiet); i++)
                if (str_eq(type, quiet[i]))
                        return false;
        return true;
}

static void on_message(struct tf_stream *s, const json_t *message, const char *type)
{
        const json_t *hook = json_object_get(message, "hook");
        const char *text = json_get_string(message, "@message");
        if (str_eq(type, "diagnostic")) {
                on_diagnostic(s, message);
                return;
        }
        if (text && is_shown(s, type))
                say_lines(s, "", text, DETAIL_LINES);
        if (str_eq(type, "apply_start"))
                on_start(s, message, hook);
        else if (str_eq(type, "apply_complete"))
                on_complete(s, message, hook);
}

static json_t *read_message(const char *line, size_t len)
{
        if (len == 0 || line[0] != '{' || len > ENGINE_LINE_MAX)
                return NULL;
        json_error_t unused;
        return json_loadb(line, len, JSON_REJECT_DUPLICATES, &unused);
}

void tf_stream_line(void *stream, const char *line, size_t len, bool is_stderr)
{
        struct tf_stream *s = stream;
        _cleanup_json_ json_t *message = is_stderr ? NULL : read_message(line, len);
        const char *type = json_get_string(message, "type");
        if (!s->started)
                s->started = json_object();
        if (type && json_get_string(message, "@message"))
                on_message(s, message, type);
        else if (len)
                say(s, line, len);
        size_t frame = frame_length(line, len);
        if (is_stderr && len > frame)
                note_trouble(s, line + frame, len - frame);
}

void tf_stream_end(struct tf_stream *s)
{
        if (!s->dropped)
                return;
        _cleanup_free_ char *text = xasprintf("(%zu more lines of output were left out)", s->dropped);
        if (s->sink && s->sink->line)
                s->sink->line(s->sink->userdata, text);
}

void tf_stream_deinit(struct tf_stream *s)
{
        buf_deinit(&s->trouble);
        free(s->lock_id);
        json_decref(s->started);
}

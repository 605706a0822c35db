/* A collected file as a value and as a line of a list. Its path is whatever a participant chose; JSON holds UTF-8 only. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/text.h"
#include "harvest/store.h"
#include "lab/selection.h"

#define LINE_BYTES_MAX ((size_t)64 << 10)

void entry_clear(struct entry *entry)
{
        free(entry->path);
        *entry = (struct entry){0};
}

void entries_clear(struct entries *entries)
{
        for (size_t i = 0; i < entries->n; i++)
                entry_clear(&entries->list[i]);
        free(entries->list);
        *entries = (struct entries){0};
}

void entries_add(struct entries *entries, struct entry *entry)
{
        if (entries->n == entries->room) {
                entries->room = entries->room ? entries->room * 2 : 16;
                entries->list = xreallocarray(entries->list, entries->room, sizeof *entries->list);
        }
        entries->list[entries->n++] = *entry;
        *entry = (struct entry){0};
        entries->sorted = false;
}

static int compare_paths(const void *a, const void *b)
{
        return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

const struct entry *entries_find(struct entries *entries, const char *path)
{
        struct entry wanted = {.path = (char *)path};
        if (!entries->sorted && entries->n)
                qsort(entries->list, entries->n, sizeof *entries->list, compare_paths);
        entries->sorted = true;
        return entries->n ? bsearch(&wanted, entries->list, entries->n, sizeof *entries->list, compare_paths) : NULL;
}

char *path_base64(const char *path)
{
        size_t len = strlen(path), room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
        char *out = xmalloc(room);
        return sodium_bin2base64(out, room, (const unsigned char *)path, len, sodium_base64_VARIANT_ORIGINAL);
}

json_t *entry_json(const struct entry *entry)
{
        json_t *json = json_pack("{s:I, s:I, s:i, s:s, s:f}", "size", (json_int_t)entry->size, "mtime_ns",
                                 (json_int_t)entry->mtime_ns, "mode", (int)entry->mode, "sha256", entry->hash, "at",
                                 entry->at);
        if (utf8_valid(entry->path, strlen(entry->path))) {
                json_object_set_new(json, "path", json_string(entry->path));
        } else {
                _cleanup_free_ char *text = path_base64(entry->path);
                json_object_set_new(json, "path_base64", json_string(text));
        }
        return json;
}

static char *path_of(const json_t *json)
{
        const char *path = json_get_string(json, "path"), *encoded = json_get_string(json, "path_base64");
        if (path)
                return xstrdup(path);
        if (!encoded)
                return NULL;
        size_t room = strlen(encoded), len = 0;
        char *out = xcalloc(room + 1, 1);
        if (sodium_base642bin((unsigned char *)out, room, encoded, room, NULL, &len, NULL,
                              sodium_base64_VARIANT_ORIGINAL) == 0 &&
            !memchr(out, '\0', len))
                return out;
        free(out);
        return NULL;
}

int entry_read(const json_t *json, struct entry *ret)
{
        const char *hash = json_get_string(json, "sha256");
        _cleanup_free_ char *path = path_of(json);
        json_int_t size = json_integer_value(json_object_get(json, "size"));
        if (!path || !path_is_safe(path, strlen(path)) || !hash || strlen(hash) != HASH_LENGTH || size < 0)
                return -EINVAL;
        *ret = (struct entry){
                .path = STEAL(path),
                .size = size,
                .mtime_ns = json_integer_value(json_object_get(json, "mtime_ns")),
                .mode = (unsigned)json_integer_value(json_object_get(json, "mode")) & 0777,
                .at = json_number_value(json_object_get(json, "at")),
        };
        memcpy(ret->hash, hash, HASH_LENGTH + 1);
        return 0;
}

/* --- lists --------------------------------------------------------------------------------------------------------- */

static int take_line(const char *line, size_t len, const struct list_reader *reader, struct error *error)
{
        _cleanup_json_ json_t *json = len <= LINE_BYTES_MAX ? json_read(line, len, NULL) : NULL;
        if (!json)
                return error_set(error, -EBADMSG, "a line of the list cannot be read");
        return reader->take(reader->userdata, json, error);
}

/* A line counts once its newline is there: what follows the last one is still being written. */
int list_read(const char *path, const struct list_reader *reader, struct error *error)
{
        FILE *file = fopen(path, "re");
        if (!file)
                return error_errno(error, errno, "cannot read %s", path);
        char *line = NULL;
        size_t room = 0;
        int r = 0;
        for (off_t at = 0; r == 0;) {
                ssize_t n = getline(&line, &room, file);
                if (n > 0 && line[n - 1] == '\n') {
                        at += n;
                        r = take_line(line, (size_t)n - 1, reader, error);
                        continue;
                }
                if (ferror(file))
                        r = error_errno(error, errno, "cannot read %s", path);
                else if (!reader->follow || !reader->follow(reader->userdata))
                        break;
                clearerr(file);
                fseeko(file, at, SEEK_SET);
        }
        free(line);
        fclose(file);
        return r;
}

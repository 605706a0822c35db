/* manifest.json and manifest.csv (manifest.h). */
#include "harvest/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

static FILE *open_nameless(const struct store *store)
{
        int fd = openat(store->top, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        if (fd < 0) { /* a file system that has none */
                FILE *file = tmpfile();
                return file;
        }
        return fdopen(fd, "w+");
}

int manifest_open(const struct store *store, struct manifest *ret, struct error *error)
{
        *ret = (struct manifest){.json = open_nameless(store), .csv = open_nameless(store)};
        if (!ret->json || !ret->csv) {
                int number = errno;
                manifest_close(ret);
                return error_errno(error, number, "cannot write the manifest");
        }
        fputs("{\"files\": [", ret->json);
        fputs("status,folder,vm,email,file,path,size,sha256,modified,collected,reason\r\n", ret->csv);
        return 0;
}

static json_t *utf8_json(const char *text)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        if (!text)
                return json_null();
        utf8_scrub(text, strlen(text), &clean);
        return json_string(buf_str(&clean));
}

/* RFC 4180; and no cell begins with what a spreadsheet takes for a formula. */
static void put_cell(FILE *csv, const char *text, bool last)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(str_or(text, ""), strlen(str_or(text, "")), &clean);
        const char *cell = buf_str(&clean);
        bool formula = *cell && strchr("=+-@\t\r", *cell);
        fputc('"', csv);
        if (formula)
                fputc('\'', csv);
        for (const char *c = cell; *c; c++) {
                if (*c == '"')
                        fputc('"', csv);
                fputc(*c, csv);
        }
        fputs(last ? "\"\r\n" : "\",", csv);
}

void manifest_add(struct manifest *manifest, const struct manifest_row *row)
{
        char size[24], modified[CLOCK_ISO_SIZE] = "", at[CLOCK_ISO_SIZE] = "";
        const struct entry *entry = row->entry;
        _cleanup_json_ json_t *json = json_pack("{s:s, s:s, s:s, s:o}", "status", row->status, "folder", row->folder,
                                                "vm", row->hostname, "email", utf8_json(row->email));
        snprintf(size, sizeof size, "%lld", (long long)row->size);
        if (row->name)
                json_object_set_new(json, "file", json_string(row->name));
        if (row->path) {
                json_object_set_new(json, "path", utf8_json(row->path));
                json_object_set_new(json, "size", json_integer(row->size));
        }
        if (row->path && !utf8_valid(row->path, strlen(row->path))) {
                _cleanup_free_ char *raw = path_base64(row->path);
                json_object_set_new(json, "path_base64", json_string(raw));
        }
        if (entry) {
                clock_iso((double)entry->mtime_ns / 1e9, modified);
                clock_iso(entry->at, at);
                json_object_set_new(json, "sha256", json_string(entry->hash));
                json_object_set_new(json, "modified", json_string(modified));
                json_object_set_new(json, "collected", json_string(at));
        }
        if (row->reason)
                json_object_set_new(json, "reason", utf8_json(row->reason));
        _cleanup_free_ char *text = json_text(json);
        fprintf(manifest->json, "%s\n%s", manifest->rows++ ? "," : "", text);
        const char *cells[] = {row->status,
                               row->folder,
                               row->hostname,
                               row->email,
                               row->name,
                               row->path,
                               row->path ? size : "",
                               entry ? entry->hash : "",
                               modified,
                               at,
                               row->reason};
        for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
                put_cell(manifest->csv, cells[i], i == ARRAY_SIZE(cells) - 1);
}

int manifest_end(struct manifest *manifest, const json_t *about, struct error *error)
{
        const char *key;
        json_t *value;
        fputs("\n]", manifest->json);
        json_object_foreach ((json_t *)about, key, value) {
                _cleanup_free_ char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
                fprintf(manifest->json, ",\n\"%s\": %s", key, str_or(text, "null"));
        }
        fputs("}\n", manifest->json);
        if (fflush(manifest->json) != 0 || fflush(manifest->csv) != 0)
                return error_errno(error, errno, "cannot write the manifest");
        rewind(manifest->json);
        rewind(manifest->csv);
        return 0;
}

void manifest_close(struct manifest *manifest)
{
        if (manifest->json)
                fclose(manifest->json);
        if (manifest->csv)
                fclose(manifest->csv);
        *manifest = (struct manifest){0};
}

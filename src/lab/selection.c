/* What is wanted of a VM (selection.h). */
#include "lab/selection.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "config/config.h"
#include "lab/names.h"

#define EXTENSIONS_MAX 16
#define EXTENSION_BYTES_MAX 32
#define VMS_MAX 1000

void selection_clear(struct selection *selection)
{
        strv_free(selection->extensions);
        strv_free(selection->exclude);
        strv_free(selection->vms);
        free(selection->directory);
        *selection = (struct selection){0};
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

static bool extension_is_good(const char *text)
{
        size_t len = strlen(text);
        return len > 0 && len <= EXTENSION_BYTES_MAX && text[0] != '.' &&
               strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-") == len;
}

static int compare_texts(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_extension(struct selection *selection, size_t *n, const char *text, struct error *error)
{
        text += text && *text == '.';
        if (!text || !extension_is_good(text))
                return error_set(error, -EINVAL, "\"%.40s\" is no extension: letters and digits, such as slp",
                                 str_or(text, ""));
        for (size_t i = 0; i < *n; i++)
                if (str_eq(selection->extensions[i], text))
                        return 0;
        if (*n == EXTENSIONS_MAX)
                return error_set(error, -EINVAL, "at most %d extensions can be asked for", EXTENSIONS_MAX);
        selection->extensions[(*n)++] = xstrdup(text);
        return 0;
}

static int read_extensions(struct selection *selection, const json_t *list, const char *fallback, struct error *error)
{
        size_t n = 0, index;
        json_t *item;
        int r = 0;
        selection->extensions = xcalloc(EXTENSIONS_MAX + 1, sizeof *selection->extensions);
        if (json_array_size(list) == 0)
                return add_extension(selection, &n, fallback, error);
        json_array_foreach (list, index, item)
                if (r == 0)
                        r = add_extension(selection, &n, json_string_value(item), error);
        qsort(selection->extensions, n, sizeof *selection->extensions, compare_texts);
        return r;
}

static int read_directory(struct selection *selection, const char *text, struct error *error)
{
        _cleanup_free_ char *path = str_trim(xstrdup(text));
        size_t len = strlen(path);
        while (len > 1 && path[len - 1] == '/')
                path[--len] = '\0';
        const char *relative = path + (*path == '/');
        if (!path_is_safe(relative, strlen(relative)) || strchr(path, '\n'))
                return error_set(error, -EINVAL, "\"%.80s\" is no directory that can be asked for", text);
        selection->directory = STEAL(path);
        return 0;
}

static char **copy_list(char *const *list)
{
        size_t n = 0;
        while (list && list[n])
                n++;
        char **copy = xcalloc(n + 1, sizeof *copy);
        for (size_t i = 0; i < n; i++)
                copy[i] = xstrdup(list[i]);
        return copy;
}

static int read_vms(struct selection *selection, const json_t *list, struct error *error)
{
        size_t n = 0, index;
        json_t *item;
        if (json_array_size(list) == 0)
                return 0;
        if (json_array_size(list) > VMS_MAX)
                return error_set(error, -EINVAL, "at most %d VMs can be named", VMS_MAX);
        selection->vms = xcalloc(json_array_size(list) + 1, sizeof *selection->vms);
        json_array_foreach (list, index, item) {
                const char *name = str_or(json_string_value(item), "");
                if (!hostname_valid(name))
                        return error_set(error, -EINVAL, "\"%.80s\" is no VM's name", name);
                selection->vms[n++] = xstrdup(name);
        }
        qsort(selection->vms, n, sizeof *selection->vms, compare_texts);
        return 0;
}

int selection_read(const json_t *arguments, const struct config *config, struct selection *ret, struct error *error)
{
        _cleanup_selection_ struct selection selection = {0};
        const char *directory = json_get_string(arguments, "directory");
        int r = 0;
        if (json_is_true(json_object_get(arguments, "everything"))) {
                selection.everything = true;
        } else if (directory && *directory) {
                r = read_directory(&selection, directory, error);
        } else {
                r = read_extensions(&selection, json_object_get(arguments, "extensions"), config->machine.extension,
                                    error);
                selection.exclude = copy_list(config->harvest.exclude);
        }
        if (r == 0)
                r = read_vms(&selection, json_object_get(arguments, "vms"), error);
        if (r < 0)
                return r;
        *ret = selection;
        selection = (struct selection){0};
        return 0;
}

/* --- telling ------------------------------------------------------------------------------------------------------- */

static json_t *list_json(char *const *list)
{
        json_t *array = json_array();
        for (; *list; list++)
                json_array_append_new(array, json_string(*list));
        return array;
}

char *selection_text(const struct selection *selection)
{
        _cleanup_json_ json_t *value = json_object();
        if (selection->everything)
                json_object_set_new(value, "everything", json_true());
        else if (selection->directory)
                json_object_set_new(value, "directory", json_string(selection->directory));
        else
                json_object_set_new(value, "extensions", list_json(selection->extensions));
        if (selection->vms)
                json_object_set_new(value, "vms", list_json(selection->vms));
        return json_text(value);
}

char *selection_words(const struct selection *selection)
{
        if (selection->everything)
                return xstrdup("everything under the participants' homes");
        if (selection->directory)
                return xasprintf("everything under %s", selection->directory);
        _cleanup_buf_ struct buf out = BUF_NULL;
        for (char **extension = selection->extensions; *extension; extension++)
                buf_addf(&out, "%s.%s", out.len ? ", " : "", *extension);
        buf_adds(&out, " files");
        return buf_steal(&out);
}

/* --- asking -------------------------------------------------------------------------------------------------------- */

bool path_is_safe(const char *path, size_t len)
{
        size_t depth = 0;
        if (len == 0 || len > PATH_BYTES_MAX || memchr(path, '\0', len))
                return false;
        for (size_t at = 0; at <= len;) {
                const char *slash = memchr(path + at, '/', len - at);
                size_t part = slash ? (size_t)(slash - path) - at : len - at;
                if (part == 0 || part > 255 || (part == 1 && path[at] == '.') ||
                    (part == 2 && path[at] == '.' && path[at + 1] == '.') || ++depth > PATH_DEPTH_MAX)
                        return false;
                at += part + 1;
        }
        return true;
}

bool selection_takes_vm(const struct selection *selection, const char *hostname)
{
        if (!selection->vms)
                return true;
        for (char **name = selection->vms; *name; name++)
                if (str_eq(*name, hostname))
                        return true;
        return false;
}

bool selection_excludes(const struct selection *selection, const char *name)
{
        for (char **one = selection->exclude; one && *one; one++)
                if (str_eq(*one, name))
                        return true;
        return false;
}

static bool below_excluded(const struct selection *selection, const char *path)
{
        for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
                _cleanup_free_ char *part = xstrndup(path, (size_t)(slash - path));
                if (selection_excludes(selection, part))
                        return true;
        }
        return false;
}

bool selection_takes(const struct selection *selection, const char *path)
{
        if (!selection->extensions)
                return true;
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        for (char **extension = selection->extensions; *extension; extension++) {
                size_t len = strlen(name), tail = strlen(*extension);
                if (len > tail && name[len - tail - 1] == '.' && str_eq(name + len - tail, *extension))
                        return !below_excluded(selection, path);
        }
        return false;
}

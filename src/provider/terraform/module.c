/*
 * The module that makes the VMs. It is copied into the state directory, because the engine writes beside it and its own
 * place may be read-only; an override file says where the state is, whatever the module itself says.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

#define DEPTH_MAX 8
#define FILE_BYTES_MAX ((size_t)4 << 20)
#define FILES_MAX 2000
#define OVERRIDE "lablink_override.tf"

/* --- finding it ---------------------------------------------------------------------------------------------------- */

static bool is_directory(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Beside the build directory, or where `install` puts it. */
static char *shipped(void)
{
        static const char *const places[] = {"../terraform/client-vms", "../share/lablink/terraform/client-vms"};
        char exe[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
        char *slash = n > 0 ? memrchr(exe, '/', (size_t)n) : NULL;
        if (slash)
                *slash = '\0';
        for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
                char *path = path_join(exe, places[i]);
                if (is_directory(path))
                        return path;
                free(path);
        }
        return xstrdup("/usr/share/lablink/terraform/client-vms");
}

char *module_find(const struct config *config)
{
        return *config->terraform.directory ? xstrdup(config->terraform.directory) : shipped();
}

/* --- what it says -------------------------------------------------------------------------------------------------- */

static bool is_configuration(const char *name)
{
        return str_ends(name, ".tf") || str_ends(name, ".tofu") || str_ends(name, ".tf.json");
}

/* `variable "NAME"`, or "NAME": { below "variable" in the JSON form, outside of comments that begin a line. */
static bool text_declares(char *text, const char *variable)
{
        _cleanup_free_ char *quoted = xasprintf("\"%s\"", variable);
        _cleanup_strv_ char **lines = str_split(text, '\n');
        for (char **line = lines; *line; line++) {
                char *words = str_trim(*line);
                const char *at = strstr(words, quoted);
                if (!at || words[0] == '#' || str_starts(words, "//"))
                        continue;
                size_t before = (size_t)(at - words);
                while (before && strchr(" \t", words[before - 1]))
                        before--;
                if (before == strlen("variable") && str_starts(words, "variable"))
                        return true;
                if (before == 0 && words[strlen(quoted)] == ':')
                        return true;
        }
        return false;
}

int module_declares(const char *directory, const char *variable, bool *ret, struct error *error)
{
        *ret = false;
        DIR *dir = opendir(directory);
        if (!dir)
                return error_errno(error, errno, "the module %s cannot be read", directory);
        int r = 0;
        for (struct dirent *entry; r == 0 && !*ret && (entry = readdir(dir));) {
                _cleanup_buf_ struct buf text = BUF_NULL;
                _cleanup_free_ char *path = path_join(directory, entry->d_name);
                if (!is_configuration(entry->d_name))
                        continue;
                r = file_read(path, FILE_BYTES_MAX, &text, error);
                if (r == 0 && text.len)
                        *ret = text_declares(text.data, variable);
        }
        closedir(dir);
        return r;
}

/* --- where its state is -------------------------------------------------------------------------------------------- */

static char *s3_file(const struct provider *p)
{
        return xasprintf("backend-client-%s.hcl", p->environment);
}

enum tf_backend module_backend(const struct provider *p)
{
        const char *said = p->config->terraform.state;
        if (*said)
                return str_eq(said, "s3") ? TF_S3 : str_eq(said, "module") ? TF_MODULE : TF_LOCAL;
        _cleanup_free_ char *name = s3_file(p);
        _cleanup_free_ char *path = path_join(p->source, name);
        return access(path, F_OK) == 0 ? TF_S3 : TF_LOCAL;
}

static int write_override(const struct provider *p, const char *directory, struct error *error)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        _cleanup_free_ char *path = path_join(directory, OVERRIDE);
        _cleanup_free_ char *name = xasprintf("%s.tfstate", p->environment);
        _cleanup_free_ char *state = tf_path(p, name);
        switch (module_backend(p)) {
        case TF_MODULE:
                return 0;
        case TF_S3:
                buf_adds(&text, "terraform {\n  backend \"s3\" {}\n}\n");
                break;
        case TF_LOCAL:
                buf_adds(&text, "terraform {\n  backend \"local\" {\n    path = ");
                hcl_quote(state, &text);
                buf_adds(&text, "\n  }\n}\n");
        }
        return file_write(path, buf_str(&text), text.len, 0600, error);
}

/* --- the copy ------------------------------------------------------------------------------------------------------ */

struct copy {
        size_t files;
        uint64_t hash;
};

static void mix(struct copy *copy, const void *data, size_t len)
{
        for (size_t i = 0; i < len; i++)
                copy->hash = (copy->hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
}

/* What an engine that was run there by hand has left is none of the module. */
static bool is_left_out(const char *name)
{
        return str_eq(name, ".") || str_eq(name, "..") || str_eq(name, ".terraform") || str_eq(name, ".git") ||
               str_eq(name, OVERRIDE) || str_eq(name, TFVARS_NAME) || strstr(name, ".tfstate");
}

static int copy_tree(struct copy *copy, const char *from, const char *to, int depth, struct error *error);

static int copy_file(struct copy *copy, const char *from, const char *to, mode_t mode, struct error *error)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (++copy->files > FILES_MAX)
                return error_set(error, -E2BIG, "the module has more than %d files", FILES_MAX);
        int r = file_read(from, FILE_BYTES_MAX, &text, error);
        if (r < 0)
                return r;
        mix(copy, to, strlen(to) + 1);
        mix(copy, buf_str(&text), text.len);
        return file_write(to, buf_str(&text), text.len, mode & 0100 ? 0700 : 0600, error);
}

static int copy_entry(struct copy *copy, const char *from, const char *to, int depth, struct error *error)
{
        struct stat st;
        if (stat(from, &st) < 0)
                return error_errno(error, errno, "cannot read %s", from);
        if (S_ISDIR(st.st_mode))
                return copy_tree(copy, from, to, depth + 1, error);
        return S_ISREG(st.st_mode) ? copy_file(copy, from, to, st.st_mode, error) : 0;
}

static int copy_tree(struct copy *copy, const char *from, const char *to, int depth, struct error *error)
{
        struct dirent **entries = NULL;
        if (depth > DEPTH_MAX)
                return error_set(error, -ELOOP, "the module's folders are more than %d deep", DEPTH_MAX);
        int r = dir_make(to, 0700, error);
        int n = r < 0 ? 0 : scandir(from, &entries, NULL, alphasort);
        if (n < 0)
                return error_errno(error, errno, "the module %s cannot be read", from);
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *source = path_join(from, entries[i]->d_name);
                _cleanup_free_ char *target = path_join(to, entries[i]->d_name);
                if (r == 0 && !is_left_out(entries[i]->d_name))
                        r = copy_entry(copy, source, target, depth, error);
                free(entries[i]);
        }
        free(entries);
        return r;
}

/* Versions that `init` has chosen stay chosen, unless the module says them itself. A state that could not be sent stays
 * until it is. */
static void keep_from(const char *old, const char *new)
{
        static const char *const names[] = {".terraform.lock.hcl", "errored.tfstate", TFVARS_NAME};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_free_ char *from = path_join(old, names[i]);
                _cleanup_free_ char *to = path_join(new, names[i]);
                if (access(to, F_OK) < 0)
                        rename(from, to);
        }
}

static int swap(struct provider *p, const char *fresh, struct error *error)
{
        keep_from(p->work, fresh);
        int r = dir_remove(p->work, error);
        if (r == 0 && rename(fresh, p->work) < 0)
                r = error_errno(error, errno, "cannot put the module into its place");
        return r;
}

int module_prepare(struct provider *p, char **ret_stamp, struct error *error)
{
        struct copy copy = {.hash = 0xcbf29ce484222325u};
        _cleanup_free_ char *fresh = tf_path(p, "module.new");
        int r = is_directory(p->source)
                        ? dir_make(p->dir, 0700, error)
                        : error_set(error, -ENOENT, "there is no module %s (terraform.directory)", p->source);
        if (r == 0)
                r = dir_remove(fresh, error);
        if (r == 0)
                r = copy_tree(&copy, p->source, fresh, 0, error);
        if (r == 0)
                r = write_override(p, fresh, error);
        if (r == 0)
                r = swap(p, fresh, error);
        if (r == 0)
                *ret_stamp = xasprintf("%016llx %s %s %d %s %s\n", (unsigned long long)copy.hash, p->engine,
                                       p->environment, module_backend(p), p->config->top.bucket_name,
                                       p->config->app.region);
        return r;
}

/*
 * LABLINK_<SECTION>_<KEY>, LABLINK_<SECTION>_<KEY>_FILE for secrets, and the names that deployed labs already set. An
 * empty variable counts as not given: that is what an unset one looks like after a container's start script.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/address.h"
#include "config/layers.h"

#define SECRET_MAX 4096

/* Names of deployed labs: weaker than the file, because they are set for other reasons too. */
static const struct deployed {
        const char *variable;
        enum config_key_id id;
} deployed[] = {
        {"ENVIRONMENT", CONFIG_KEY_top_environment},
        {"ALLOCATOR_URL", CONFIG_KEY_client_url},
        {"VM_NAME", CONFIG_KEY_client_hostname},
        {"SUBJECT_SOFTWARE", CONFIG_KEY_client_software},
};

const char *environment_get(const char *const *environment, const char *name)
{
        size_t n = strlen(name);
        for (; *environment; environment++)
                if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
                        return (*environment)[n + 1] ? *environment + n + 1 : NULL;
        return NULL;
}

static int read_secret(const char *path, struct buf *out, struct error *error)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(error, errno, "cannot read %s", path);
        if (S_ISREG(st.st_mode) && st.st_mode & S_IROTH)
                log_warning("%s holds a secret and can be read by every user of this machine: chmod 600 it", path);
        int r = fd_read_all(fd, SECRET_MAX, out);
        if (r == -EFBIG)
                return error_set(error, r, "%s is larger than %d bytes", path, SECRET_MAX);
        if (r < 0)
                return error_errno(error, -r, "cannot read %s", path);
        if (out->len && memchr(out->data, '\0', out->len))
                return error_set(error, -EINVAL, "%s holds a NUL character", path);
        return 0;
}

static void strip_newline(struct buf *text)
{
        if (text->len && text->data[text->len - 1] == '\n')
                buf_truncate(text, text->len - 1);
        if (text->len && text->data[text->len - 1] == '\r')
                buf_truncate(text, text->len - 1);
}

static void take_secret_file(struct config *config, enum config_key_id id, const char *variable, const char *path,
                             struct buf *problems)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (read_secret(path, &text, &error) < 0) {
                config_problem(problems, variable, "%s", error_text(&error));
                return;
        }
        strip_newline(&text);
        _cleanup_free_ char *place = xasprintf("%s (%s)", variable, path);
        if (!text.len)
                config_problem(problems, place, "the file is empty");
        else
                config_set(config, id, buf_str(&text), &(struct config_from){CONFIG_ENVIRONMENT, place}, problems);
}

static void take_key(struct config *config, enum config_key_id id, const char *const *environment, struct buf *problems)
{
        const struct config_key *key = config_key(id);
        _cleanup_free_ char *variable = config_variable(key);
        const char *value = environment_get(environment, variable);
        if (value)
                config_set(config, id, value, &(struct config_from){CONFIG_ENVIRONMENT, variable}, problems);
        if (!config_is_secret(key))
                return;
        _cleanup_free_ char *file_variable = xasprintf("%s_FILE", variable);
        const char *path = environment_get(environment, file_variable);
        if (path && value)
                config_problem(problems, file_variable, "set either this or %s, not both", variable);
        else if (path)
                take_secret_file(config, id, file_variable, path, problems);
}

/* The section whose variables begin like this one; the longest, for names with an underscore. NULL: none. */
static const char *section_of(const char *rest)
{
        const char *best = NULL;
        for (size_t i = 0; i < config_n_sections; i++) {
                const char *name = config_sections[i].name;
                size_t n = strlen(name);
                if (config_is_section(name) && strncasecmp(rest, name, n) == 0 && rest[n] == '_' &&
                    (!best || n > strlen(best)))
                        best = name;
        }
        return best;
}

static bool is_known(const char *variable)
{
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++) {
                const struct config_key *key = config_key(id);
                _cleanup_free_ char *name = config_variable(key);
                if (!str_starts(variable, name))
                        continue;
                const char *rest = variable + strlen(name);
                if (!*rest || (config_is_secret(key) && strcmp(rest, "_FILE") == 0))
                        return true;
        }
        return false;
}

/* A variable for no key, whose name begins like a section's: most likely a slip of the pen. */
static void check_variable(const char *entry, struct buf *problems)
{
        _cleanup_free_ char *variable = xstrndup(entry, strcspn(entry, "="));
        const char *section = section_of(variable + strlen("LABLINK_"));
        if (!section || is_known(variable))
                return;
        _cleanup_free_ char *name = xstrdup(variable + strlen("LABLINK_") + strlen(section) + 1);
        str_lower(name);
        _cleanup_buf_ struct buf hint = BUF_NULL;
        if (str_ends(name, "_file")) {
                name[strlen(name) - strlen("_file")] = '\0';
                if (config_find(section, name) != CONFIG_KEY_COUNT) {
                        config_problem(problems, variable, "%s.%s is no secret and has no variable that ends in _FILE",
                                       section, name);
                        return;
                }
        }
        config_suggest(section, name, &hint);
        config_problem(problems, variable, "no key belongs to this variable%s", buf_str(&hint));
}

static void take_deployed(struct config *config, const char *const *environment, struct buf *problems)
{
        for (size_t i = 0; i < ARRAY_SIZE(deployed); i++) {
                const char *value = environment_get(environment, deployed[i].variable);
                if (value && config->origins[deployed[i].id].source == CONFIG_DEFAULT)
                        config_set(config, deployed[i].id, value,
                                   &(struct config_from){CONFIG_ENVIRONMENT, deployed[i].variable}, problems);
        }
}

/* Deployed hosts write "N/A" where they know no address. */
static void take_public_address(struct config *config, const char *const *environment, struct buf *problems)
{
        const char *value = environment_get(environment, "ALLOCATOR_PUBLIC_IP");
        if (!value || strcmp(value, "N/A") == 0)
                return;
        _cleanup_free_ char *url = xasprintf(strchr(value, ':') ? "http://[%s]" : "http://%s", value);
        _cleanup_free_ char *host = url_host(url);
        if (str_eq(host, value))
                str_replace(&config->public_address, value);
        else
                config_problem(problems, "ALLOCATOR_PUBLIC_IP", "this must be one IP address or host name");
}

void config_take_environment(struct config *config, const char *const *environment, struct buf *problems)
{
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++)
                take_key(config, id, environment, problems);
        for (const char *const *entry = environment; *entry; entry++)
                if (str_starts(*entry, "LABLINK_"))
                        check_variable(*entry, problems);
        take_deployed(config, environment, problems);
        take_public_address(config, environment, problems);
}

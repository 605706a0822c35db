/*
 * Order of belief, later over earlier: deployed words, deployed environment, our configuration (file, environment,
 * flags). A URL is taken apart by libcurl's own parser, so that what was checked is what is called.
 */
#include "client/settings.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "config/config.h"

#define CONFIG_FILE_DEFAULT "/etc/lablink/client.yaml"
#define LOG_GROUP_DEFAULT "lablink-client"
#define STATE_FILE_DEFAULT "/var/lib/lablink-client/state.json"

struct words {
        const char *host, *port, *software;
};

static const char *env_get(const struct settings_input *input, const char *name)
{
        size_t len = strlen(name);
        const char *found = input->environment ? NULL : getenv(name);
        for (size_t i = 0; input->environment && input->environment[i]; i++)
                if (strncmp(input->environment[i], name, len) == 0 && input->environment[i][len] == '=')
                        found = input->environment[i] + len + 1;
        return found && *found ? found : NULL;
}

static const char *first_of(const char *a, const char *b, const char *c)
{
        if (a && *a)
                return a;
        if (b && *b)
                return b;
        return c && *c ? c : NULL;
}

static bool hostname_valid(const char *hostname)
{
        static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-";
        size_t len = strlen(hostname);
        return len >= 1 && len <= 255 && strspn(hostname, alphabet) == len && !strchr("._-", hostname[0]);
}

static bool take_word(const char *word, const char *key, const char **value)
{
        if (!str_starts(word, key))
                return false;
        *value = word + strlen(key);
        return true;
}

static void take_words(const char *const *list, struct words *words, struct buf *problems)
{
        for (size_t i = 0; list && list[i]; i++)
                if (!take_word(list[i], "allocator.host=", &words->host) &&
                    !take_word(list[i], "allocator.port=", &words->port) &&
                    !take_word(list[i], "client.software=", &words->software))
                        buf_addf(
                                problems,
                                "unknown word %s: allocator.host=H, allocator.port=N and client.software=S are known\n",
                                list[i]);
}

static void url_cleanup(CURLU **url)
{
        curl_url_cleanup(*url);
}

static void curl_string_free(char **text)
{
        curl_free(*text);
}

static int check_part(CURLU *parts, CURLUPart part, const char *what, struct error *error)
{
        _cleanup_(curl_string_free) char *text = NULL;
        if (curl_url_get(parts, part, &text, 0) == CURLUE_OK)
                return error_set(error, -EINVAL, "the allocator's URL must not have %s", what);
        return 0;
}

static int drop_leading_dot(CURLU *parts, struct error *error)
{
        _cleanup_(curl_string_free) char *host = NULL;
        if (curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK || !host[strspn(host, ".")])
                return error_set(error, -EINVAL, "the allocator's URL has no host");
        if (host[0] == '.' && curl_url_set(parts, CURLUPART_HOST, host + strspn(host, "."), 0) != CURLUE_OK)
                return error_set(error, -EINVAL, "the allocator's host is not a name");
        return 0;
}

static int check_scheme(CURLU *parts, struct error *error)
{
        _cleanup_(curl_string_free) char *scheme = NULL;
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
        if (str_eq(scheme, "http") || str_eq(scheme, "https"))
                return 0;
        return error_set(error, -EINVAL, "the allocator's URL must begin with http://, https:// or unix:");
}

static int read_http_url(struct settings *settings, const char *text, struct error *error)
{
        _cleanup_(url_cleanup) CURLU *parts = curl_url();
        _cleanup_free_ char *whole = strstr(text, "://") ? xstrdup(text) : xasprintf("https://%s", text);
        _cleanup_(curl_string_free) char *clean = NULL;
        CURLUcode code = curl_url_set(parts, CURLUPART_URL, whole, CURLU_NON_SUPPORT_SCHEME);
        if (code != CURLUE_OK)
                return error_set(error, -EINVAL, "the allocator's URL cannot be read: %s", curl_url_strerror(code));
        if (check_scheme(parts, error) < 0 || drop_leading_dot(parts, error) < 0 ||
            check_part(parts, CURLUPART_USER, "a user name", error) < 0 ||
            check_part(parts, CURLUPART_PASSWORD, "a password", error) < 0 ||
            check_part(parts, CURLUPART_QUERY, "a query", error) < 0 ||
            check_part(parts, CURLUPART_FRAGMENT, "a fragment", error) < 0)
                return -EINVAL;
        if (curl_url_get(parts, CURLUPART_URL, &clean, 0) != CURLUE_OK)
                return error_set(error, -EINVAL, "the allocator's URL cannot be written");
        settings->url = xstrdup(clean);
        for (size_t len = strlen(settings->url); len && settings->url[len - 1] == '/'; len--)
                settings->url[len - 1] = '\0';
        return 0;
}

int settings_url(struct settings *settings, const char *text, struct error *error)
{
        if (!str_starts(text, "unix:"))
                return read_http_url(settings, text, error);
        const char *path = text + 5;
        path += str_starts(path, "///") ? 2 : 0; /* unix:///PATH as others write it */
        if (*path != '/' || strlen(path) > 107)
                return error_set(error, -EINVAL, "unix: wants an absolute path of at most 107 bytes");
        settings->socket = xstrdup(path);
        return 0;
}

/* A private copy of the loader's texts: the loader's struct is not needed afterwards. */
static void copy_texts(struct settings *s, const struct settings_input *input, const struct config *config,
                       const struct words *words)
{
        s->hostname = xstrdup(first_of(input->hostname, config->client.hostname, env_get(input, "VM_NAME")));
        s->software = xstrdup(
                str_or(first_of(config->client.software, env_get(input, "SUBJECT_SOFTWARE"), words->software), ""));
        s->token = xstrdup(first_of(config->client.token, NULL, NULL));
        s->start_host = xstrdup(config->client.start_host);
        s->on_assigned = xstrdup(config->client.on_assigned);
        s->state_file = xstrdup(config->client.state_file);
        s->cloudwatch = str_eq(config->logs.via, "cloudwatch");
        s->log_group = xstrdup(str_or(env_get(input, "CLOUD_INIT_LOG_GROUP"), LOG_GROUP_DEFAULT));
        s->desktop_socket = xstrdup(config->client.desktop_socket);
        s->ca_file = xstrdup(env_get(input, "SSL_CERT_FILE"));
        s->heartbeat_ms = config->client.heartbeat;
        s->inuse_ms = config->client.inuse_interval;
        size_t n = 0;
        while (config->client.log_files[n])
                n++;
        s->log_files = xcalloc(n + 1, sizeof *s->log_files);
        for (size_t i = 0; i < n; i++)
                s->log_files[i] = xstrdup(config->client.log_files[i]);
}

/* The usual place belongs to root; whoever else runs the agent gets one of his own. */
static void settle_state_file(struct settings *s, const struct settings_input *input)
{
        const char *home = env_get(input, "HOME"), *state = env_get(input, "XDG_STATE_HOME");
        if (geteuid() == 0 || !str_eq(s->state_file, STATE_FILE_DEFAULT) ||
            access("/var/lib/lablink-client", W_OK) == 0)
                return;
        if (!state && !home)
                return;
        free(s->state_file);
        s->state_file = state ? xasprintf("%s/lablink-client/state.json", state)
                              : xasprintf("%s/.local/state/lablink-client/state.json", home);
}

static void settle_url(struct settings *s, const struct settings_input *input, const struct config *config,
                       const struct words *words, struct buf *problems)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        const char *host = first_of(words->host, env_get(input, "ALLOCATOR_HOST"), NULL);
        _cleanup_free_ char *url = xstrdup(first_of(input->url, config->client.url, env_get(input, "ALLOCATOR_URL")));
        if (!url && host)
                url = xasprintf("http://%s:%s", host, str_or(first_of(words->port, NULL, NULL), "80"));
        if (!url)
                buf_adds(problems, "the allocator's URL is missing: give client.url or $ALLOCATOR_URL\n");
        else if (settings_url(s, url, &error) < 0)
                buf_addf(problems, "%s\n", error_text(&error));
}

static bool header_safe(const char *token)
{
        for (; *token; token++)
                if ((unsigned char)*token <= 0x20 || (unsigned char)*token >= 0x7f)
                        return false;
        return true;
}

static void check(const struct settings *s, struct buf *problems)
{
        if (!s->hostname)
                buf_adds(problems, "this VM's name is missing: give client.hostname or $VM_NAME\n");
        else if (!hostname_valid(s->hostname))
                buf_adds(problems, "this VM's name is not well-formed: letters, digits, '.', '_' and '-' are allowed, "
                                   "255 at most, a letter or digit first\n");
        if (s->token && !header_safe(s->token))
                buf_adds(problems, "the token holds a character that no token has\n");
        if (s->state_file[0] != '/')
                buf_adds(problems, "client.state_file must be an absolute path\n");
        if (s->cloudwatch && str_eq(s->log_group, LOG_GROUP_DEFAULT))
                buf_adds(problems, "logs.via: cloudwatch wants the log group's name in $CLOUD_INIT_LOG_GROUP\n");
        for (size_t i = 0; s->log_files[i]; i++)
                if (s->log_files[i][0] != '/')
                        buf_addf(problems, "client.log_files: %s is not an absolute path\n", s->log_files[i]);
}

/* The agent has a file of its own: an allocator's configuration that happens to lie about is none of its business. */
static const char *file_of(const struct settings_input *input)
{
        if (input->file)
                return input->file;
        return access(CONFIG_FILE_DEFAULT, F_OK) == 0 ? CONFIG_FILE_DEFAULT : "/dev/null";
}

int settings_load(const struct settings_input *input, struct settings *ret, struct buf *problems)
{
        struct config_input source = {.file = file_of(input), .sets = input->sets, .environment = input->environment};
        _cleanup_config_ struct config *config = NULL;
        struct words words = {0};
        *ret = (struct settings){0};
        take_words(input->words, &words, problems);
        if (config_load(&source, &config, problems) < 0)
                return -EINVAL;
        copy_texts(ret, input, config, &words);
        settle_state_file(ret, input);
        settle_url(ret, input, config, &words, problems);
        check(ret, problems);
        return problems->len ? -EINVAL : 0;
}

void settings_deinit(struct settings *settings)
{
        if (settings->token)
                explicit_bzero(settings->token, strlen(settings->token));
        free(settings->url);
        free(settings->socket);
        free(settings->ca_file);
        free(settings->hostname);
        free(settings->token);
        free(settings->software);
        strv_free(settings->log_files);
        free(settings->log_group);
        free(settings->start_host);
        free(settings->on_assigned);
        free(settings->state_file);
        free(settings->desktop_socket);
        *settings = (struct settings){0};
}

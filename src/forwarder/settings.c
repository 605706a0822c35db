/*
 * API_ENDPOINT of deployed functions often has no scheme. They post by http then, and the proxy before an allocator with
 * TLS sends them on to https; a token must not travel that way in clear.
 */
#include "forwarder/settings.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

#define SECRET_MAX 4096

void settings_clear(struct settings *settings)
{
        free(settings->endpoint);
        if (settings->token)
                explicit_bzero(settings->token, strlen(settings->token));
        free(settings->token);
        free(settings->ca_file);
        free(settings->runtime);
        *settings = (struct settings){0};
}

static const char *variable(const char *name)
{
        const char *value = getenv(name);
        return value && *value ? value : NULL;
}

static void free_url(CURLU **url)
{
        curl_url_cleanup(*url);
}

static char *part(CURLU *url, CURLUPart what)
{
        char *text = NULL;
        curl_url_get(url, what, &text, 0);
        char *copy = xstrdup(text);
        curl_free(text);
        return copy;
}

char *settings_endpoint(const char *text, bool token, struct error *error)
{
        const char *scheme = strstr(text, "://") ? "" : token ? "https://" : "http://";
        _cleanup_free_ char *whole = xasprintf("%s%s", scheme, text);
        _cleanup_(free_url) CURLU *url = curl_url();
        if (!url)
                abort();
        /* The address itself is not repeated: it may hold what it should not. */
        if (curl_url_set(url, CURLUPART_URL, whole, 0) != CURLUE_OK) {
                error_set(error, -EINVAL, "API_ENDPOINT is no address: http(s)://HOST/api/vm-logs is wanted");
                return NULL;
        }
        _cleanup_free_ char *used = part(url, CURLUPART_SCHEME), *user = part(url, CURLUPART_USER);
        _cleanup_free_ char *path = part(url, CURLUPART_PATH);
        if (!str_eq(used, "https") && !str_eq(used, "http")) {
                error_set(error, -EINVAL, "API_ENDPOINT must begin with https:// or http://");
                return NULL;
        }
        if (user) {
                error_set(error, -EINVAL, "API_ENDPOINT holds a user name: the token is LABLINK_SECURITY_LOG_TOKEN");
                return NULL;
        }
        if (!path || str_eq(path, "/"))
                curl_url_set(url, CURLUPART_PATH, "/api/vm-logs", 0);
        curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
        return part(url, CURLUPART_URL);
}

static int read_token(char **ret, struct error *error)
{
        const char *given = variable("LABLINK_SECURITY_LOG_TOKEN"), *file = variable("LABLINK_SECURITY_LOG_TOKEN_FILE");
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        if (!given && file) {
                int r = file_read(file, SECRET_MAX, &text, error);
                if (r < 0)
                        return error_wrap(error, "LABLINK_SECURITY_LOG_TOKEN_FILE");
                if (text.len && strlen(text.data) != text.len)
                        return error_set(error, -EINVAL, "LABLINK_SECURITY_LOG_TOKEN_FILE holds a NUL character");
                given = str_trim(text.data ? text.data : "");
        }
        if (!given)
                return 0;
        for (const char *c = given; *c; c++)
                if (*c <= ' ' || *c > '~')
                        return error_set(error, -EINVAL,
                                         "LABLINK_SECURITY_LOG_TOKEN holds a blank, a control character "
                                         "or a letter outside ASCII");
        if (!*given)
                return error_set(error, -EINVAL, "the file that LABLINK_SECURITY_LOG_TOKEN_FILE names is empty");
        *ret = xstrdup(given);
        return 0;
}

/* The runtime's own certificates are kept up to date by AWS; those that the function carries are as old as it is. */
static char *find_ca_file(const char *root)
{
        static const char *const places[] = {"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"};
        if (variable("SSL_CERT_FILE"))
                return xstrdup(variable("SSL_CERT_FILE"));
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
                _cleanup_free_ char *path = xasprintf("%s%s", root, places[i]);
                if (access(path, R_OK) == 0)
                        return STEAL(path);
        }
        _cleanup_free_ char *own = path_join(str_or(variable("LAMBDA_TASK_ROOT"), "/var/task"), "ca-certificates.crt");
        return access(own, R_OK) == 0 ? STEAL(own) : NULL;
}

int settings_read(const char *root, struct settings *ret, struct error *error)
{
        *ret = (struct settings){.runtime = xstrdup(variable("AWS_LAMBDA_RUNTIME_API"))};
        const char *endpoint = variable("API_ENDPOINT");
        int r = read_token(&ret->token, error);
        if (r < 0)
                return r;
        if (!endpoint)
                return error_set(error, -EINVAL, "API_ENDPOINT is not set: http(s)://HOST/api/vm-logs is wanted");
        ret->endpoint = settings_endpoint(endpoint, ret->token, error);
        ret->ca_file = find_ca_file(root);
        return ret->endpoint ? 0 : -EINVAL;
}

/* Facts that follow from several keys, so that no two programs work them out differently. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "config/address.h"
#include "config/table.h"

static bool is_this_machine(const char *host)
{
        return url_host_is_loopback(host) || !*host;
}

bool config_db_embedded(const struct config *config)
{
        if (*config->db.mode)
                return strcmp(config->db.mode, "embedded") == 0;
        return !*config->db.url && is_this_machine(config->db.host);
}

/* libpq: a value in single quotes, with \ before ' and \. */
static void add_parameter(struct buf *out, const char *name, const char *value)
{
        if (!*value)
                return;
        buf_addf(out, "%s%s='", out->len ? " " : "", name);
        for (; *value; value++) {
                if (*value == '\'' || *value == '\\')
                        buf_addc(out, '\\');
                buf_addc(out, *value);
        }
        buf_addc(out, '\'');
}

char *config_db_conninfo(const struct config *config)
{
        if (*config->db.url)
                return xstrdup(config->db.url);
        _cleanup_buf_ struct buf out = BUF_NULL;
        _cleanup_free_ char *port = xasprintf("%d", (int)config->db.port);
        add_parameter(&out, "host", config->db.host);
        add_parameter(&out, "port", port);
        add_parameter(&out, "dbname", config->db.dbname);
        add_parameter(&out, "user", config->db.user);
        add_parameter(&out, "password", config->db.password);
        return buf_steal(&out);
}

socklen_t config_listen_address(const struct config *config, struct sockaddr_storage *ret)
{
        return address_parse(config->listen.address, ret);
}

/* A proxy on this machine, or a public URL, brings strangers to a loopback address. */
bool config_loopback_only(const struct config *config)
{
        struct sockaddr_storage address;
        if (!config_listen_address(config, &address) || !address_is_loopback(&address))
                return false;
        if (*config->listen.trusted_proxies)
                return false;
        _cleanup_free_ char *host = url_host(config->listen.public_url);
        return !host || url_host_is_loopback(host);
}

char *config_environment(const struct config *config)
{
        char *name = xstrdup(*config->top.environment ? config->top.environment : "prod");
        str_lower(name);
        for (char *c = name; *c; c++)
                if (*c == ' ')
                        *c = '-';
        return name;
}

char *config_dns_name(const struct config *config)
{
        if (!config->dns.enabled)
                return NULL;
        const char *domain = config->dns.domain;
        if (strcmp(config->dns.pattern, "custom") == 0)
                return *config->dns.custom_subdomain ? xasprintf("%s.%s", config->dns.custom_subdomain, domain)
                                                     : xstrdup(domain);
        _cleanup_free_ char *environment = config_environment(config);
        if (strcmp(config->dns.pattern, "app-only") == 0 || strcmp(environment, "prod") == 0)
                return xasprintf("%s.%s", config->dns.app_name, domain);
        return xasprintf("%s.%s.%s", environment, config->dns.app_name, domain);
}

static char *url_of(const char *scheme, const char *host)
{
        return xasprintf(strchr(host, ':') ? "%s://[%s]" : "%s://%s", scheme, host);
}

/* The listen address as others would write it: the machine's name where it listens on every address. */
static char *listen_url(const struct config *config)
{
        struct sockaddr_storage address;
        char name[HOST_NAME_MAX + 1] = "localhost";
        config_listen_address(config, &address);
        if (!address_is_wildcard(&address))
                return xasprintf("http://%s", config->listen.address);
        gethostname(name, sizeof(name) - 1);
        return xasprintf("http://%s:%d", name, address_port(&address));
}

char *config_public_url(const struct config *config)
{
        if (*config->listen.public_url) {
                char *url = xstrdup(config->listen.public_url);
                for (size_t n = strlen(url); n && url[n - 1] == '/'; n--)
                        url[n - 1] = '\0';
                return url;
        }
        bool tls = strcmp(config->ssl.provider, "none") != 0 && !config->ssl.staging;
        _cleanup_free_ char *dns_name = config_dns_name(config);
        const char *host = dns_name ? dns_name : config->public_address;
        return host ? url_of(tls ? "https" : "http", host) : listen_url(config);
}

char *config_state_dir(const struct config *config)
{
        return xstrdup(config->top.state_dir);
}

static bool there(const char *path)
{
        return access(path, F_OK) == 0;
}

/* As written, seen from the file's directory; from the one above (a checkout with config/config.yaml); as mounted. */
char *config_startup_script(const struct config *config)
{
        if (!config->startup_script.enabled)
                return NULL;
        const char *path = config->startup_script.path;
        const char *slash = config->file ? strrchr(config->file, '/') : NULL;
        _cleanup_free_ char *directory = slash ? xstrndup(config->file, (size_t)(slash - config->file)) : xstrdup(".");
        if (path[0] == '/')
                return xstrdup(path);
        char *beside = path_join(directory, path);
        _cleanup_free_ char *parent = path_join(directory, "..");
        _cleanup_free_ char *above = path_join(parent, path);
        const char *mounted = "/config/custom-startup.sh";
        const char *other = there(above) ? above : there(mounted) ? mounted : NULL;
        if (!there(beside) && other)
                str_replace(&beside, other);
        return beside;
}

const char *config_software(const struct config *config)
{
        if (config->origins[CONFIG_KEY_machine_software].source == CONFIG_DEFAULT &&
            strcmp(config->provider.kind, "local") == 0)
                return "terminal";
        return config->machine.software;
}

const char *config_client_auth(const struct config *config)
{
        return *config->security.client_auth ? config->security.client_auth : "open";
}

const char *config_access_code(const struct config *config)
{
        const char *code = config->security.access_code;
        return *code && strcmp(code, "none") != 0 ? code : NULL;
}

/* For local VMs, which see this machine's /usr. */
const char *config_desktop_mode(const struct config *config)
{
        if (*config->desktop.mode)
                return config->desktop.mode;
        bool able = strcmp(config->provider.kind, "local") == 0 && there("/usr/bin/Xvnc") && there("/usr/bin/openbox");
        return able ? "browser" : "crd";
}

bool config_desktop_browser(const struct config *config)
{
        return strcmp(config_desktop_mode(config), "crd") != 0;
}

bool config_desktop_crd(const struct config *config)
{
        return strcmp(config_desktop_mode(config), "browser") != 0;
}

/*
 * What must hold between keys before an allocator starts. One row a rule; each tells its problem at the key that one
 * would change. An empty file, and no file at all, break none of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/text.h"
#include "config/value.h"

struct checker {
        const struct config *config;
        struct buf *problems;
        bool open; /* others than this machine's users can come */
};

/* At the place where the key was given, else at the file. */
static void tell(struct checker *c, enum config_key_id id, const char *format, ...) _printf_(3, 4);
static void tell(struct checker *c, enum config_key_id id, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sentence = xvasprintf(format, args);
        va_end(args);
        const char *place = c->config->origins[id].place;
        config_problem(c->problems, place ? place : c->config->file, "%s", sentence);
}

/* "listen.address 0.0.0.0:5000" and so on: why others can come. */
static char *why_open(const struct config *config)
{
        if (*config->listen.trusted_proxies)
                return xstrdup("a reverse proxy (listen.trusted_proxies) brings others to the lab");
        struct buf out = BUF_NULL;
        bool url = *config->listen.public_url;
        buf_addf(&out, "%s ", url ? "listen.public_url" : "listen.address");
        buf_addf(&out, "%s can be reached from other machines",
                 url ? config->listen.public_url : config->listen.address);
        return buf_steal(&out);
}

static void check_dns(struct checker *c)
{
        if (c->config->dns.enabled && !*c->config->dns.domain)
                tell(c, CONFIG_KEY_dns_enabled, "dns.enabled is true, so dns.domain must name the domain");
        const struct config *config = c->config;
        _cleanup_free_ char *name = *config->dns.domain ? config_dns_name(config) : NULL;
        if (name && (strlen(name) > 253 || strchr(name, '_')))
                tell(c, CONFIG_KEY_dns_domain, "the allocator's name would be %s, which is no DNS name", name);
}

static void check_ssl(struct checker *c)
{
        const struct config *config = c->config;
        if (strcmp(config->ssl.provider, "acm") == 0 && !*config->ssl.certificate_arn)
                tell(c, CONFIG_KEY_ssl_provider,
                     "ssl.provider is acm, so ssl.certificate_arn must hold the ARN of the certificate");
        if (strcmp(config->ssl.provider, "letsencrypt") == 0 && config->dns.enabled && !config->ssl.staging &&
            !*config->ssl.email)
                tell(c, CONFIG_KEY_ssl_provider,
                     "ssl.provider is letsencrypt and dns.enabled is true, so ssl.email must hold an address for Let's "
                     "Encrypt (or write \"provider: none\", or \"staging: true\" while testing)");
}

static void check_startup_script(struct checker *c)
{
        struct stat st;
        _cleanup_free_ char *path = config_startup_script(c->config);
        if (!path)
                return;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                tell(c, CONFIG_KEY_startup_script_path, "startup_script.enabled is true, but %s cannot be read: %s",
                     path, strerror(errno));
        else if (!S_ISREG(st.st_mode))
                tell(c, CONFIG_KEY_startup_script_path, "startup_script.enabled is true, but %s is no file", path);
}

static bool is_known_password(const char *password)
{
        static const char *const known[] = {"admin",    "admin123", "administrator", "changeme", "change-me",
                                            "default",  "lablink",  "letmein",       "password", "passwort",
                                            "qwerty",   "root",     "password1",     "secret",   "test",
                                            "12345678", "123456"};
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (strcasecmp(password, known[i]) == 0)
                        return true;
        return strncmp(password, "PLACEHOLDER_", strlen("PLACEHOLDER_")) == 0;
}

static void check_passwords(struct checker *c)
{
        const struct config *config = c->config;
        _cleanup_free_ char *why = why_open(config);
        if (!c->open)
                return;
        const char *password = config->app.admin_password;
        if (*password && (is_known_password(password) || strcmp(password, config->app.admin_user) == 0))
                tell(c, CONFIG_KEY_app_admin_password,
                     "app.admin_password is a placeholder or one that everybody tries, and %s: choose another, or "
                     "leave "
                     "it out and one is made",
                     why);
        if (!config_db_embedded(config) && is_known_password(config->db.password))
                tell(c, CONFIG_KEY_db_password,
                     "db.password is a placeholder or one that everybody tries, and %s: choose another", why);
}

static void check_choices(struct checker *c)
{
        const struct config *config = c->config;
        _cleanup_free_ char *why = why_open(config);
        if (!c->open)
                return;
        if (!*config->security.client_auth)
                tell(c, CONFIG_KEY_security_client_auth,
                     "security.client_auth must be chosen, because %s: write \"client_auth: token\" (each VM proves "
                     "itself) or \"client_auth: open\" (VMs are believed by name) below \"security:\"",
                     why);
        if (!*config->security.access_code)
                tell(c, CONFIG_KEY_security_access_code,
                     "security.access_code must be chosen, because %s: write \"access_code: WORD\" (participants type "
                     "it beside their e-mail) or \"access_code: none\" (whoever finds the page gets a seat) below "
                     "\"security:\"",
                     why);
}

static void check_database(struct checker *c)
{
        const struct config *config = c->config;
        bool host_given = config->origins[CONFIG_KEY_db_host].source != CONFIG_DEFAULT;
        if (strcmp(config->db.mode, "external") == 0 && !*config->db.url && !host_given)
                tell(c, CONFIG_KEY_db_mode, "db.mode is external, so db.url or db.host must say where the database is");
        if (strcmp(config->db.mode, "embedded") == 0 && *config->db.url)
                tell(c, CONFIG_KEY_db_mode, "db.mode is embedded, but db.url names an external database: remove one");
}

static void check_provider(struct checker *c)
{
        const struct config *config = c->config;
        struct stat st;
        if (strcmp(config->provider.kind, "terraform") != 0)
                return;
        const char *directory = config->terraform.directory;
        if (*directory && (stat(directory, &st) < 0 || !S_ISDIR(st.st_mode)))
                tell(c, CONFIG_KEY_terraform_directory, "terraform.directory %s is no directory", directory);
        if (strcmp(config->terraform.state, "s3") == 0 && !*config->top.bucket_name)
                tell(c, CONFIG_KEY_terraform_state, "terraform.state is s3, so bucket_name must name the bucket");
}

int config_check_allocator(const struct config *config, struct buf *problems)
{
        static void (*const rules[])(struct checker *) = {check_dns,       check_ssl,     check_startup_script,
                                                          check_passwords, check_choices, check_database,
                                                          check_provider};
        _cleanup_buf_ struct buf mine = BUF_NULL;
        struct checker c = {.config = config, .problems = &mine, .open = !config_loopback_only(config)};
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
                rules[i](&c);
        if (problems)
                buf_add(problems, mine.data, mine.len);
        return mine.len ? -EINVAL : 0;
}

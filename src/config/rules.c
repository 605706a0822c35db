/*
 * Forms: texts that are more than a text, each with a test and the words for it. The same words stand in the problem
 * and in the reference. What must hold between keys is in check.c.
 */
#include <string.h>

#include "base/text.h"
#include "config/address.h"
#include "config/value.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool only(const char *text, const char *alphabet, size_t max)
{
        size_t n = strlen(text);
        return n >= 1 && n <= max && strspn(text, alphabet) == n;
}

static bool is_listen_address(const char *text)
{
        struct sockaddr_storage unused;
        return address_parse(text, &unused) != 0;
}

static bool is_web_url(const char *text)
{
        _cleanup_free_ char *host = url_host(text);
        return host && !strpbrk(text, "?#");
}

static bool is_agent_url(const char *text)
{
        return (str_starts(text, "unix:/") && text[6]) || str_starts(text, "http://") || str_starts(text, "https://");
}

static bool is_postgres_url(const char *text)
{
        const char *rest = str_starts(text, "postgresql://") ? text + 13
                           : str_starts(text, "postgres://") ? text + 11
                                                             : NULL;
        return rest && *rest && !strchr(rest, ' ');
}

static bool is_identifier(const char *text)
{
        return only(text, LETTERS DIGITS "_", 63) && !strchr(DIGITS, text[0]);
}

static bool is_role(const char *text)
{
        return strlen(text) <= 63;
}

static bool is_pin(const char *text)
{
        return strlen(text) >= 6 && only(text, DIGITS, 10);
}

static bool is_user(const char *text)
{
        return strlen(text) <= 128 && !strchr(text, ':');
}

static bool is_cpus(const char *text)
{
        double number;
        return only(text, DIGITS ".", 16) && parse_double(text, &number) == 0 && number > 0 && number <= 4096;
}

static bool is_environment(const char *text)
{
        return only(text, LETTERS DIGITS "._- ", 64) && strchr(LETTERS DIGITS, text[0]);
}

static bool is_domain(const char *text)
{
        return only(text, LETTERS DIGITS ".-", 253) && text[0] != '.' && text[0] != '-' && !strstr(text, "..") &&
               !str_ends(text, ".");
}

static bool is_extension(const char *text)
{
        return only(text, LETTERS DIGITS "._-", 32);
}

static bool is_repository(const char *text)
{
        return text[0] != '-' && !strstr(text, "::") && !strpbrk(text, " \"'`$\\<>|;");
}

static bool is_hostname(const char *text)
{
        return only(text, LETTERS DIGITS "._-", 255) && strchr(LETTERS DIGITS, text[0]);
}

static bool is_unix_user(const char *text)
{
        return only(text, LETTERS DIGITS "._-", 32) && text[0] != '-';
}

static bool is_absolute(const char *text)
{
        return text[0] == '/';
}

static const struct form {
        bool (*ok)(const char *text);
        const char *words;
} forms[CONFIG_KEY_COUNT] = {
        [CONFIG_KEY_top_environment] = {is_environment, "letters, digits, blanks, '.', '_' and '-', at most 64"},
        [CONFIG_KEY_listen_address] = {is_listen_address,
                                       "IPV4:PORT, [IPV6]:PORT or localhost:PORT (no other host names)"},
        [CONFIG_KEY_listen_public_url] = {is_web_url, "http://HOST[:PORT] or https://HOST[:PORT]"},
        [CONFIG_KEY_listen_trusted_proxies] = {address_is_ip, "IP addresses"},
        [CONFIG_KEY_db_url] = {is_postgres_url, "a URL like postgresql://USER:PASSWORD@HOST:PORT/DATABASE"},
        [CONFIG_KEY_db_dbname] = {is_role, "a name of at most 63 bytes"},
        [CONFIG_KEY_db_user] = {is_role, "a name of at most 63 bytes"},
        [CONFIG_KEY_db_table_name] = {is_identifier, "letters, digits and '_', no digit first, at most 63"},
        [CONFIG_KEY_db_message_channel] = {is_identifier, "letters, digits and '_', no digit first, at most 63"},
        [CONFIG_KEY_machine_repository] = {is_repository, "the URL of a Git repository"},
        [CONFIG_KEY_machine_extension] = {is_extension, "letters, digits, '.', '_' and '-', at most 32"},
        [CONFIG_KEY_app_admin_user] = {is_user, "a name without ':', at most 128 bytes"},
        [CONFIG_KEY_app_pin] = {is_pin, "6 to 10 digits"},
        [CONFIG_KEY_dns_domain] = {is_domain, "a domain name such as example.org"},
        [CONFIG_KEY_dns_app_name] = {is_domain, "a part of a domain name"},
        [CONFIG_KEY_dns_custom_subdomain] = {is_domain, "a part of a domain name"},
        [CONFIG_KEY_local_cpus] = {is_cpus, "a number above 0, such as 2 or 0.5"},
        [CONFIG_KEY_terraform_directory] = {is_absolute, "an absolute path"},
        [CONFIG_KEY_terraform_ssh_user] = {is_unix_user, "letters, digits, '.', '_' and '-', at most 32"},
        [CONFIG_KEY_client_url] = {is_agent_url, "http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH"},
        [CONFIG_KEY_client_hostname] = {is_hostname, "letters, digits, '.', '_' and '-', at most 255"},
        [CONFIG_KEY_client_log_files] = {is_absolute, "absolute paths"},
};

bool config_form_ok(enum config_key_id id, const char *text)
{
        return !forms[id].ok || forms[id].ok(text);
}

const char *config_form(enum config_key_id id)
{
        return forms[id].words;
}

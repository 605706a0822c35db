/* docs/configuration.md, printed from the table: a key cannot exist without being in it. */
#include <string.h>

#include "config/value.h"

static const char intro[] =
        "<!-- Printed from src/config/keys.def. tests/unit/config/test_reference.c compares. -->\n"
        "# Configuration\n\n"
        "Every setting has a default: an empty file, and no file at all, are valid. Values come from four places, "
        "later\n"
        "ones over earlier ones:\n\n"
        "1. the default, as the tables below say;\n"
        "2. the file: `--config FILE`, else the first of `/config/config.yaml`, `./config.yaml` and\n"
        "   `/etc/lablink/config.yaml`;\n"
        "3. the environment: `LABLINK_<SECTION>_<KEY>`, for example `LABLINK_DB_HOST`; for a secret also\n"
        "   `LABLINK_<SECTION>_<KEY>_FILE`, the path of a file that holds it;\n"
        "4. the command line: `--set section.key=value`, `--listen ADDRESS:PORT`, `--state-dir DIRECTORY`.\n\n"
        "`lablink config show` prints every value and where it came from, secrets masked. `lablink-validate-config`\n"
        "checks a file without starting anything.\n\n"
        "```yaml\n"
        "listen:\n"
        "  address: \"0.0.0.0:5000\"\n"
        "security:\n"
        "  client_auth: token\n"
        "  access_code: none\n"
        "machine:\n"
        "  repository: https://github.com/example/course.git\n"
        "  software: sleap\n"
        "```\n\n"
        "An empty value, or `null`, means the default. A number may stand in quotes. A list is a YAML list or one "
        "text\n"
        "with commas. Durations are written `250ms`, `30s`, `5m`, `2h`, `7d`; sizes `512M`, `4G` (powers of 1024).\n"
        "Anchors, aliases, tags, merge keys and duplicate keys are refused, and so is a key that is not listed "
        "here.\n\n"
        "Off loopback (another `listen.address`, a `listen.public_url` of another host, or `listen.trusted_proxies`)\n"
        "`security.client_auth` and `security.access_code` must be chosen, and placeholder passwords are refused.\n\n"
        "Deployed labs set a few variables of other names, which are believed when nothing else gives the value:\n"
        "`ENVIRONMENT` (`environment`), `ALLOCATOR_URL` (`client.url`), `VM_NAME` (`client.hostname`),\n"
        "`SUBJECT_SOFTWARE` (`client.software`); and `ALLOCATOR_PUBLIC_IP`, the host in the lab's URL where DNS is "
        "off.\n";

/* A table's cell: no bar may end it. */
static void cell(struct buf *out, const char *text)
{
        for (; *text; text++) {
                if (*text == '|')
                        buf_addc(out, '\\');
                if (*text == '<')
                        buf_adds(out, "&lt;");
                else
                        buf_addc(out, *text);
        }
}

static void row(struct buf *out, enum config_key_id id)
{
        const struct config_key *key = config_key(id);
        _cleanup_free_ char *variable = config_variable(key);
        _cleanup_buf_ struct buf allowed = BUF_NULL;
        config_allowed(id, &allowed);
        buf_addf(out, "| `%s` | ", config_path(key));
        if (*key->fallback)
                buf_addf(out, "`%s`", key->fallback);
        buf_adds(out, " | ");
        cell(out, buf_str(&allowed));
        buf_adds(out, " | ");
        cell(out, key->sentence);
        buf_addf(out, "%s | `%s`%s |\n", config_is_secret(key) ? " (secret)" : "", variable,
                 config_is_secret(key) ? ", `..._FILE`" : "");
}

static void section(struct buf *out, const struct config_section *section)
{
        if (strcmp(section->name, "top") == 0)
                buf_addf(out, "\n## %s\n\n", section->sentence);
        else
                buf_addf(out, "\n## %s\n\n%s.\n\n", section->name, section->sentence);
        buf_adds(out, "| Key | Default | Takes | Meaning | Variable |\n|---|---|---|---|---|\n");
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++)
                if (strcmp(config_key(id)->section, section->name) == 0)
                        row(out, id);
}

void config_reference(struct buf *out)
{
        buf_adds(out, intro);
        for (size_t i = 0; i < config_n_sections; i++)
                section(out, &config_sections[i]);
}

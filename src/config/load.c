/*
 * The layers put on one another: default, file, environment, flags. Every layer is read to its end whatever was wrong
 * in it, so that all problems are told at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/layers.h"
#include "config/yaml.h"

#define PROBLEMS_MAX 100

static const char *const usual_places[] = {"/config/config.yaml", "./config.yaml", "/etc/lablink/config.yaml"};

struct file_layer {
        struct config *config;
        const char *label;
        struct buf *problems;
};

static void tell(struct file_layer *layer, int line, int column, const char *sentence)
{
        _cleanup_free_ char *place = xasprintf("%s:%d:%d", layer->label, line, column);
        config_problem(layer->problems, place, "%s", sentence);
}

static void tell_unknown(struct file_layer *layer, const char *section, const struct yaml_node *node)
{
        _cleanup_buf_ struct buf sentence = BUF_NULL;
        buf_adds(&sentence, "unknown key ");
        config_quote(&sentence, node->key);
        config_suggest(section, node->key, &sentence);
        tell(layer, node->key_line, node->key_column, buf_str(&sentence));
}

static void tell_kind(struct file_layer *layer, enum config_key_id id, const struct yaml_node *node)
{
        _cleanup_buf_ struct buf sentence = BUF_NULL;
        buf_addf(&sentence, "%s takes ", config_path(config_key(id)));
        config_allowed(id, &sentence);
        buf_adds(&sentence, node->kind == YAML_MAP ? ", not a mapping" : ", not a list");
        tell(layer, node->line, node->column, buf_str(&sentence));
}

static void take_items(struct file_layer *layer, enum config_key_id id, const struct yaml_node *node,
                       const struct config_from *from)
{
        _cleanup_strv_ char **items = xcalloc(node->n + 1, sizeof(char *));
        for (size_t i = 0; i < node->n; i++) {
                if (node->items[i].kind != YAML_SCALAR) {
                        tell(layer, node->items[i].line, node->items[i].column,
                             "each item of this list must be a text");
                        return;
                }
                items[i] = xstrdup(node->items[i].text);
        }
        config_set_list(layer->config, id, items, from, layer->problems);
}

static void take_value(struct file_layer *layer, enum config_key_id id, const struct yaml_node *node)
{
        _cleanup_free_ char *place = xasprintf("%s:%d:%d", layer->label, node->line, node->column);
        const struct config_from from = {CONFIG_FILE, place};
        if (node->kind == YAML_NULL || node->kind == YAML_SCALAR)
                config_set(layer->config, id, node->kind == YAML_NULL ? "" : node->text, &from, layer->problems);
        else if (node->kind == YAML_LIST && config_key(id)->type == CONFIG_LIST)
                take_items(layer, id, node, &from);
        else
                tell_kind(layer, id, node);
}

static void take_pairs(struct file_layer *layer, const char *section, const struct yaml_node *map)
{
        for (size_t i = 0; i < map->n; i++) {
                const struct yaml_node *node = &map->items[i];
                if (!node->key || strcmp(node->key, "<<") == 0)
                        continue;
                enum config_key_id id = config_find(section, node->key);
                if (id == CONFIG_KEY_COUNT)
                        tell_unknown(layer, section, node);
                else
                        take_value(layer, id, node);
        }
}

static void take_section(struct file_layer *layer, const struct yaml_node *node)
{
        if (node->kind == YAML_MAP) {
                take_pairs(layer, node->key, node);
        } else if (node->kind != YAML_NULL) {
                _cleanup_buf_ struct buf sentence = BUF_NULL;
                buf_addf(&sentence, "%s is a section: its keys stand below it, indented, as \"key: value\"", node->key);
                tell(layer, node->line, node->column, buf_str(&sentence));
        }
}

static void take_root(struct file_layer *layer, const struct yaml_node *root)
{
        if (root->kind == YAML_NULL)
                return;
        if (root->kind != YAML_MAP) {
                tell(layer, root->line, root->column, "the file must hold sections and keys, \"section:\" first");
                return;
        }
        for (size_t i = 0; i < root->n; i++) {
                const struct yaml_node *node = &root->items[i];
                if (node->key && config_is_section(node->key))
                        take_section(layer, node);
                else
                        take_pairs(layer, "top", &(struct yaml_node){.items = &root->items[i], .n = 1});
        }
}

/* 0: read; -ENOENT: there is none; otherwise told. */
static int read_file(const char *path, struct buf *text, struct buf *problems)
{
        struct stat st;
        _cleanup_error_ struct error error = ERROR_NULL;
        if (stat(path, &st) < 0) {
                if (errno == ENOENT || errno == ENOTDIR)
                        return -ENOENT;
                error_errno(&error, errno, "cannot read %s", path);
                config_problem(problems, NULL, "%s", error_text(&error));
                return -EINVAL;
        }
        if (S_ISDIR(st.st_mode)) {
                config_problem(problems, NULL, "%s is a directory, not a file", path);
                return -EINVAL;
        }
        if (file_read(path, YAML_MAX, text, &error) < 0) {
                config_problem(problems, NULL, "%s", error_text(&error));
                return -EINVAL;
        }
        return 0;
}

void config_take_text(struct config *config, const char *label, const char *text, size_t len, struct buf *problems)
{
        struct yaml_node root;
        yaml_read(label, text, len, &root, problems);
        take_root(&(struct file_layer){config, label, problems}, &root);
        yaml_free(&root);
}

void config_take_file(struct config *config, const struct config_input *input, struct buf *problems)
{
        const char *const *places = input->file ? &input->file : usual_places;
        size_t n = input->file ? 1 : ARRAY_SIZE(usual_places);
        for (size_t i = 0; i < n; i++) {
                _cleanup_buf_ struct buf text = BUF_NULL;
                int r = read_file(places[i], &text, problems);
                if (r == -ENOENT)
                        continue;
                if (r < 0)
                        return;
                char absolute[PATH_MAX];
                str_replace(&config->file, realpath(places[i], absolute) ? absolute : places[i]);
                config_take_text(config, places[i], buf_str(&text), text.len, problems);
                return;
        }
        if (input->file)
                config_problem(problems, NULL, "there is no file %s", input->file);
        else if (input->file_required)
                config_problem(problems, NULL, "there is no configuration file: looked for %s, %s and %s",
                               usual_places[0], usual_places[1], usual_places[2]);
}

static void take_set(struct config *config, const char *text, struct buf *problems)
{
        const char *equals = strchr(text, '=');
        _cleanup_free_ char *path = xstrndup(text, equals ? (size_t)(equals - text) : strlen(text));
        _cleanup_buf_ struct buf sentence = BUF_NULL;
        enum config_key_id id = config_find_path(path);
        if (id != CONFIG_KEY_COUNT && equals) {
                if (config_is_secret(config_key(id)) && equals[1])
                        log_warning("--set %s: every user of this machine can read a program's arguments; a file named "
                                    "in the environment (docs/configuration.md) keeps a secret",
                                    path);
                config_set(config, id, equals + 1, &(struct config_from){CONFIG_FLAG, "--set"}, problems);
                return;
        }
        config_quote(&sentence, path);
        if (id != CONFIG_KEY_COUNT) {
                config_problem(problems, "--set", "%s has no value: write --set %s=VALUE", buf_str(&sentence), path);
                return;
        }
        char *dot = strchr(path, '.');
        if (dot)
                *dot = '\0';
        buf_adds(&sentence, " is no known key");
        bool section = dot && config_is_section(path);
        if (dot && !section)
                *dot = '.';
        config_suggest(section ? path : "top", section ? dot + 1 : path, &sentence);
        config_problem(problems, "--set", "%s", buf_str(&sentence));
}

void config_take_flags(struct config *config, const struct config_input *input, struct buf *problems)
{
        for (const char *const *set = input->sets; set && *set; set++)
                take_set(config, *set, problems);
        if (input->listen)
                config_set(config, CONFIG_KEY_listen_address, input->listen,
                           &(struct config_from){CONFIG_FLAG, "--listen"}, problems);
        if (input->state_dir)
                config_set(config, CONFIG_KEY_top_state_dir, input->state_dir,
                           &(struct config_from){CONFIG_FLAG, "--state-dir"}, problems);
}

static char *default_state_dir(const char *const *environment)
{
        const char *state_home = environment_get(environment, "XDG_STATE_HOME");
        const char *home = environment_get(environment, "HOME");
        struct passwd *user = home ? NULL : getpwuid(getuid());
        if (geteuid() == 0)
                return xstrdup("/var/lib/lablink");
        if (state_home && state_home[0] == '/')
                return path_join(state_home, "lablink");
        home = home ? home : user ? user->pw_dir : "/tmp";
        return path_join(home, ".local/state/lablink");
}

/* A relative state directory is taken from the file's directory when the file names it, else from the current one. */
static void settle_state_dir(struct config *config, const char *const *environment, struct buf *problems)
{
        char current[PATH_MAX] = "/";
        char **slot = &config->top.state_dir;
        if (!**slot) {
                free(*slot);
                *slot = default_state_dir(environment);
        } else if (**slot != '/') {
                const struct config_origin *origin = &config->origins[CONFIG_KEY_top_state_dir];
                const char *slash = config->file && origin->source == CONFIG_FILE ? strrchr(config->file, '/') : NULL;
                _cleanup_free_ char *base = slash ? xstrndup(config->file, (size_t)(slash - config->file)) : NULL;
                if (!base && !getcwd(current, sizeof(current)))
                        config_problem(problems, origin->place,
                                       "the current directory is gone: write an absolute path");
                char *absolute = path_join(base ? base : current, *slot);
                free(*slot);
                *slot = absolute;
        }
        for (size_t n = strlen(*slot); n > 1 && (*slot)[n - 1] == '/'; n--)
                (*slot)[n - 1] = '\0';
}

/* All of them, unless they are so many that the first would scroll away. */
static void add_problems(struct buf *problems, const char *text)
{
        size_t n = 0;
        for (const char *end; *text && n < PROBLEMS_MAX; text = end + 1, n++) {
                end = strchr(text, '\n');
                buf_add(problems, text, (size_t)(end - text) + 1);
        }
        size_t more = 0;
        for (; *text; text++)
                more += *text == '\n';
        if (more)
                buf_addf(problems, "... and %zu more\n", more);
}

int config_load(const struct config_input *input, struct config **ret, struct buf *problems)
{
        _cleanup_buf_ struct buf mine = BUF_NULL;
        _cleanup_config_ struct config *config = xcalloc(1, sizeof(*config));
        const char *const *environment = input->environment ? input->environment : (const char *const *)environ;
        config_set_defaults(config);
        config_take_file(config, input, &mine);
        config_take_environment(config, environment, &mine);
        config_take_flags(config, input, &mine);
        settle_state_dir(config, environment, &mine);
        if (mine.len) {
                if (problems)
                        add_problems(problems, buf_str(&mine));
                return -EINVAL;
        }
        *ret = STEAL(config);
        return 0;
}

struct config *config_free(struct config *config)
{
        if (!config)
                return NULL;
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++) {
                void *slot = config_slot(config, config_key(id));
                if (config_key(id)->type == CONFIG_TEXT)
                        free(*(char **)slot);
                else if (config_key(id)->type == CONFIG_LIST)
                        strv_free(*(char ***)slot);
                free(config->origins[id].place);
        }
        free(config->file);
        free(config->public_address);
        free(config);
        return NULL;
}

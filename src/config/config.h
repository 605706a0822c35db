/*
 * The configuration: one table of keys (keys.def) and one struct made from it. Values come, later over earlier, from
 * the default, the file, the environment and the command line; each remembers where it came from. All problems are
 * found at once, each with its place, what is allowed and the nearest known key.
 */
#pragma once

#include <sys/socket.h>

#include "base/error.h"
#include "base/json.h"

enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };

/* struct config { struct { char *bucket_name; ... } top; struct { char *address; ... } listen; ... };
 * TEXT is char * (never NULL), INT/DURATION/SIZE int64_t, BOOL bool, LIST char ** (never NULL). */
#include "config/config_struct.h"

struct config_input {
        const char *file;   /* NULL: /config/config.yaml or ./config.yaml or /etc/lablink/config.yaml if there is one */
        bool file_required; /* a missing file is a problem (always when `file` is given) */
        const char *const *sets;        /* "section.key=value"; NULL-terminated or NULL */
        const char *listen;             /* of --listen; NULL: not given */
        const char *state_dir;          /* of --state-dir */
        const char *const *environment; /* NULL: the process's own (for tests) */
};

/* *ret is complete when 0 is returned; otherwise -EINVAL and `problems` (one a line, "file:line:column: sentence") say
 * why. Each value is checked by itself; what must hold between values is the business of config_check_allocator. */
int config_load(const struct config_input *input, struct config **ret, struct buf *problems);
/* The rules across keys that the allocator's side needs (the agent does not): 0, or -EINVAL and lines in `problems`. */
int config_check_allocator(const struct config *config, struct buf *problems);
struct config *config_free(struct config *config);
static inline void config_freep(struct config **config)
{
        config_free(*config);
}
#define _cleanup_config_ _cleanup_(config_freep)

/* Whole, with secrets, for a child process through a pipe; and back. */
json_t *config_to_json(const struct config *config);
int config_from_json(const json_t *json, struct config **ret, struct error *error);

/* [{"key","value","source","place","secret"}]: secrets masked ("********" when set, "" when empty). `source` is one of
 * default, file, environment, flag. */
json_t *config_show(const struct config *config);

/* Facts derived from several keys. Strings are owned by the caller. */
bool config_db_embedded(const struct config *config);
char *config_db_conninfo(const struct config *config);  /* of an external database */
bool config_loopback_only(const struct config *config); /* nobody else can reach the lab, not through a proxy either */
char *config_environment(const struct config *config);  /* resource suffix: lower case, blanks to '-' */
char *config_dns_name(const struct config *config);     /* NULL when DNS is off */
char *config_public_url(const struct config *config);   /* as VMs and browsers should use; no slash at its end */
char *config_state_dir(const struct config *config);    /* absolute */
char *config_startup_script(const struct config *config);    /* path; NULL: not enabled */
const char *config_software(const struct config *config);    /* borrowed: "terminal" for local VMs when left out */
const char *config_client_auth(const struct config *config); /* borrowed: "open" or "token", "open" when left out */
const char *config_access_code(const struct config *config); /* borrowed: NULL when participants need none */
/* borrowed: "crd", "browser" or "both". Left out, it depends on what this machine has; the supervisor decides it once. */
const char *config_desktop_mode(const struct config *config);
bool config_desktop_browser(const struct config *config); /* a desktop in the browser is offered */
bool config_desktop_crd(const struct config *config);     /* Chrome Remote Desktop is offered */

/* The socket address of listen.address (`localhost` is 127.0.0.1). Returns its length. */
socklen_t config_listen_address(const struct config *config, struct sockaddr_storage *ret);

/* The reference page docs/configuration.md, in Markdown. */
void config_reference(struct buf *out);

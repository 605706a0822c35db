/*
 * What the agent is told: the `client` section of the configuration, the environment of deployed VMs (ALLOCATOR_URL,
 * VM_NAME, SUBJECT_SOFTWARE, CLOUD_INIT_LOG_GROUP) and the deployed words of the command line, settled into one struct.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct settings {
        char *url;     /* "https://host[:port][/prefix]" without a slash at the end; NULL with `socket` */
        char *socket;  /* path of a unix: URL */
        char *ca_file; /* $SSL_CERT_FILE */
        char *hostname;
        char *token;    /* NULL: none */
        char *software; /* "": nothing to watch */
        char **log_files;
        char *log_group;
        bool cloudwatch;   /* log lines go to CloudWatch, not to the allocator */
        char *start_host;  /* "": the usual places */
        char *on_assigned; /* "": the usual place, when there is something */
        char *state_file;
        char *desktop_socket; /* "": this VM offers no desktop */
        int64_t heartbeat_ms, inuse_ms;
};

struct settings_input {
        const char *file;               /* of --config; NULL: /etc/lablink/client.yaml if there is one */
        const char *const *sets;        /* of --set */
        const char *const *words;       /* "allocator.host=H", ...; NULL-terminated or NULL */
        const char *url, *hostname;     /* of --url, --hostname */
        const char *const *environment; /* NULL: the process's own */
};

/* 0, or -EINVAL and one line a problem. */
int settings_load(const struct settings_input *input, struct settings *ret, struct buf *problems);
void settings_deinit(struct settings *settings);

/* Settles an allocator's URL: sets url or socket. */
int settings_url(struct settings *settings, const char *text, struct error *error);

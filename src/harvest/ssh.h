/*
 * The way into a VM by ssh, with the specification's own tools. Everything about the connection is written into a file
 * that ssh is given, so that neither a user's own settings nor a blank in a path changes it. The host key is learned at
 * the first contact, recorded beside the provider's other facts, and demanded ever after.
 */
#pragma once

#include "harvest/child.h"
#include "harvest/worker.h"

struct ssh {
        struct worker *worker;
        char *config, *shell;  /* the file, and "ssh -F '...'" for rsync */
        char *tree;            /* of what is on its way */
        const char *places[3]; /* what its programs may write */
        bool container;
        char *root, *prefix; /* where it is searched, in the VM; what is put before a found path */
        int code;            /* with which the last script ended */
};

int ssh_open(struct ssh *ssh, struct worker *worker, struct error *error);
void ssh_close(struct ssh *ssh);
/* Runs a shell script in the VM. Tried again when the connection broke: `again` (may be NULL) is called before that. */
int ssh_script(struct ssh *ssh, const char *script, const struct child_io *io, void (*again)(void *userdata),
               struct error *error);
/* "cannot be reached: ...": what an end means, for people. Returns -EHOSTUNREACH, or -EIO when it was the script's own. */
int ssh_explain(const struct child_end *end, const char *what, struct error *error);
bool ssh_broke(const struct child_end *end); /* may it be tried again? */

/* A descriptor that holds the names, each ended by NUL. */
int ssh_names(struct found *const *list, size_t n, int *ret_fd, struct error *error);

/* --- ssh_transfer.c --- */
/* Copies a batch out of the container, transfers and keeps it. */
int ssh_batch(struct ssh *ssh, struct found *const *list, size_t n, struct error *error);

#define SSH_TRIES 4
#define SSH_PAUSE_MS 1000
#define SSH_STAGE "extracted_files" /* in the VM user's home, as the specification has it */

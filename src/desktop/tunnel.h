/*
 * The agent's control connection: it dials out and stays, for ever; over it the allocator asks for sessions and pictures.
 * docs/desktop.md is the contract. No port is opened on the VM, and no address comes over the wire.
 */
#pragma once

#include "base/task.h"

struct tunnel;

struct tunnel_options {
        struct loop *loop;
        const char *url;    /* as struct dial_target */
        const char *socket; /* of the allocator */
        const char *ca_file, *hostname, *token, *boot;
        const char *desktop;                                       /* unix socket on which the desktop speaks RFB */
        void (*news)(void *userdata, bool good, const char *text); /* the connection stands, or why it does not */
        void *userdata;
};

struct tunnel *tunnel_new(const struct tunnel_options *options); /* texts are borrowed */
struct tunnel *tunnel_free(struct tunnel *tunnel);               /* before loop_deinit */

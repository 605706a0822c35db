/*
 * What the supervisor gives its web process: the effective configuration and everything that only root could read or
 * open, through one inherited pipe. Descriptors keep these numbers.
 */
#pragma once

enum handover_fd {
        HANDOVER_CONFIG = 3,     /* pipe: one JSON object, then the end */
        HANDOVER_SUPERVISOR = 4, /* SOCK_SEQPACKET: int64_t messages; see below */
        HANDOVER_TCP = 5,        /* listening sockets */
        HANDOVER_ADMIN = 6,
        HANDOVER_VM = 7,
};

/* Web process to supervisor: the id of an operation that waits for its runner, or one of these. */
#define MESSAGE_RECONCILE INT64_C(0)
#define MESSAGE_READY INT64_C(-1)

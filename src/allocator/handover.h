/*
 * What the supervisor gives its web process: the effective configuration and everything that only root could read or
 * open, as one JSON object through an inherited pipe, whose descriptor is the argument of `web-process`. The object
 * names the other inherited descriptors:
 *
 *   {"config", "aws_holder", "conninfo", "site", "admin_hash", "public_url", "owner", "fds": {"supervisor", "tcp", "admin", "vm", "archives"}}
 *
 * `supervisor` is a SOCK_SEQPACKET socket for int64_t messages, and the one of lab/aws_order.h; `tcp`, `admin` and `vm` are listening sockets; `archives` is
 * a SOCK_SEQPACKET socket for orders of lab/archive_order.h.
 */
#pragma once

/* Web process to supervisor: the id of an operation that waits for its runner, or one of these. */
#define MESSAGE_RECONCILE INT64_C(0)
#define MESSAGE_READY INT64_C(-1)

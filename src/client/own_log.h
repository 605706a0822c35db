/*
 * The agent's own lines wait in a file like any other log, so that they outlive a kill and are shipped by the same
 * rules. The file is limited: what does not fit is counted and told once there is room again.
 */
#pragma once

#include "base/error.h"

#define OWN_LOG_MAX (256 * 1024)

struct own_log {
        char *path; /* NULL: kept nowhere */
        unsigned long long dropped;
};

void own_log_init(struct own_log *log, const char *path); /* NULL: lines are not kept */
void own_log_add(struct own_log *log, const char *level, const char *text);
/* Everything up to `shipped` bytes has arrived: empties the file when that is all of it and it has grown large. */
void own_log_shipped(struct own_log *log, int64_t shipped);
void own_log_deinit(struct own_log *log);

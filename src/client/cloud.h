/*
 * CloudWatch Logs as the agent's way for its lines: the calls of src/aws block, so they are made on a helper thread, one
 * batch at a time, and the loop goes on. The stream is this VM's name; it is made when it is not there.
 */
#pragma once

#include "base/json.h"
#include "base/task.h"
#include "client/settings.h"

struct cloud;

enum cloud_outcome {
        CLOUD_TAKEN,
        CLOUD_LATER,   /* try the same again after a while */
        CLOUD_REFUSED, /* these lines never */
        CLOUD_CLOSED,  /* no rights, no credentials, no such group: whatever is sent */
};

struct cloud *cloud_new(const struct settings *settings);
/* A helper thread that works ends soon; NULL is allowed. */
void cloud_stop(struct cloud *cloud);
/* Only when none works: after a step of the task that waited, or after loop_deinit. */
struct cloud *cloud_free(struct cloud *cloud);

/* Sends texts (a JSON array) with one time for all; `next` then finds what came of it. */
int cloud_put_named(struct task *t, struct cloud *cloud, const json_t *messages, int64_t time_ms, task_step next,
                    const char *name);
#define cloud_put(t, cloud, messages, time_ms, next) cloud_put_named((t), (cloud), (messages), (time_ms), (next), #next)
enum cloud_outcome cloud_outcome(struct cloud *cloud, const char **ret_sentence);

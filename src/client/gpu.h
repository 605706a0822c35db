/*
 * How well is the GPU? Asked by NVIDIA's library, else by nvidia-smi. Both may hang with a broken card and take tens of
 * megabytes, so the agent asks in a child of its own (`lablink-client check gpu`) that it kills when its time is up.
 */
#pragma once

#include "base/error.h"

enum gpu { GPU_NONE, GPU_HEALTHY, GPU_UNHEALTHY };

/* "N/A", "Healthy", "Unhealthy": the words of the wire. */
const char *gpu_word(enum gpu gpu);
/* 0 or -EINVAL. */
int gpu_parse(const char *word, size_t len, enum gpu *ret);

/* May block for as long as the driver does. `why` (may be NULL, owned by the caller) gets a sentence when unhealthy. */
enum gpu gpu_check(char **why);

/*
 * The library's answer counts when it could start: each card must give its temperature, which a card that is lost or
 * hangs does not. When it cannot start, nvidia-smi decides by its exit status, as deployed clients have it.
 *
 * One case is neither: a sandbox or container on a machine with a GPU that was not given to it sees the programs but no
 * card. There the driver is loaded and no /dev/nvidiaN exists: that is no GPU, while a machine whose driver is broken
 * (nothing loaded) is unhealthy.
 */
#include "client/gpu.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/process.h"
#include "client/child_env.h"

#define SMI_MS 30000
#define CARDS_MAX 64
#define NVML_SUCCESS 0
#define NVML_TEMPERATURE_GPU 0

struct nvml {
        void *library;
        int (*init)(void);
        int (*shutdown)(void);
        int (*count)(unsigned *count);
        int (*handle)(unsigned index, void **card);
        int (*temperature)(void *card, int sensor, unsigned *celsius);
};

static const char *const words[] = {[GPU_NONE] = "N/A", [GPU_HEALTHY] = "Healthy", [GPU_UNHEALTHY] = "Unhealthy"};

const char *gpu_word(enum gpu gpu)
{
        return words[gpu];
}

int gpu_parse(const char *word, size_t len, enum gpu *ret)
{
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (strlen(words[i]) == len && memcmp(words[i], word, len) == 0) {
                        *ret = (enum gpu)i;
                        return 0;
                }
        return -EINVAL;
}

static void nvml_close(struct nvml *nvml)
{
        if (nvml->library)
                dlclose(nvml->library);
}

static bool nvml_open(struct nvml *nvml)
{
        nvml->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!nvml->library)
                return false;
        *(void **)&nvml->init = dlsym(nvml->library, "nvmlInit_v2");
        *(void **)&nvml->shutdown = dlsym(nvml->library, "nvmlShutdown");
        *(void **)&nvml->count = dlsym(nvml->library, "nvmlDeviceGetCount_v2");
        *(void **)&nvml->handle = dlsym(nvml->library, "nvmlDeviceGetHandleByIndex_v2");
        *(void **)&nvml->temperature = dlsym(nvml->library, "nvmlDeviceGetTemperature");
        return nvml->init && nvml->shutdown && nvml->count && nvml->handle && nvml->temperature;
}

static enum gpu nvml_cards(const struct nvml *nvml, char **why)
{
        unsigned count = 0, celsius;
        int r = nvml->count(&count);
        if (r != NVML_SUCCESS) {
                *why = xasprintf("the GPUs cannot be counted: NVML error %d", r);
                return GPU_UNHEALTHY;
        }
        for (unsigned i = 0; i < MIN(count, (unsigned)CARDS_MAX); i++) {
                void *card = NULL;
                r = nvml->handle(i, &card);
                if (r == NVML_SUCCESS)
                        r = nvml->temperature(card, NVML_TEMPERATURE_GPU, &celsius);
                if (r != NVML_SUCCESS) {
                        *why = xasprintf("GPU %u does not answer: NVML error %d", i, r);
                        return GPU_UNHEALTHY;
                }
        }
        return count ? GPU_HEALTHY : GPU_NONE;
}

/* False: the library is not there or cannot start. */
static bool ask_nvml(enum gpu *ret, char **why, bool *there)
{
        _cleanup_(nvml_close) struct nvml nvml = {0};
        *there = nvml_open(&nvml);
        if (!*there)
                return false;
        int r = nvml.init();
        if (r != NVML_SUCCESS) {
                *why = xasprintf("NVIDIA's library cannot start: NVML error %d", r);
                return false;
        }
        *ret = nvml_cards(&nvml, why);
        nvml.shutdown();
        return true;
}

static bool not_given_to_us(void)
{
        char path[32];
        for (int i = 0; i < CARDS_MAX; i++) {
                snprintf(path, sizeof path, "/dev/nvidia%d", i);
                if (access(path, F_OK) == 0)
                        return false;
        }
        return access("/proc/driver/nvidia/version", F_OK) == 0;
}

static void ignore_line(void *userdata _unused_, const char *line _unused_, bool is_stderr _unused_)
{
}

static bool smi_good(const char *path, char **why)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct process_spec spec = {
                .argv = (const char *const[]){path, NULL}, .new_session = true, .die_with_parent = true};
        struct process_io io = {.line = ignore_line, .timeout_ms = SMI_MS};
        int status = 0, r = process_run(&spec, &io, &status, &error);
        if (r == 0 && status == 0)
                return true;
        _cleanup_free_ char *outcome = r < 0 ? xstrdup(error_text(&error)) : process_outcome(status);
        free(*why);
        *why = xasprintf("nvidia-smi: %s", outcome);
        return false;
}

enum gpu gpu_check(char **why)
{
        enum gpu answer;
        bool library;
        _cleanup_free_ char *reason = NULL;
        if (!ask_nvml(&answer, &reason, &library)) {
                _cleanup_free_ char *smi = find_program("nvidia-smi");
                if (!smi)
                        answer = library ? GPU_UNHEALTHY : GPU_NONE;
                else
                        answer = smi_good(smi, &reason) ? GPU_HEALTHY : GPU_UNHEALTHY;
                if (answer == GPU_UNHEALTHY && not_given_to_us())
                        answer = GPU_NONE;
        }
        if (why)
                *why = answer == GPU_UNHEALTHY ? STEAL(reason) : NULL;
        return answer;
}

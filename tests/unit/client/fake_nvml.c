/* Stands in for NVIDIA's library: $FAKE_NVML is good, lost (one card), none (no card) or dead (cannot start). */
#include <stdlib.h>
#include <string.h>

static int is(const char *what)
{
        const char *now = getenv("FAKE_NVML");
        return now && strcmp(now, what) == 0;
}

int nvmlInit_v2(void)
{
        return is("dead") ? 9 : 0;
}

int nvmlShutdown(void)
{
        return 0;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
        *count = is("none") ? 0 : 2;
        return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **card)
{
        static char cards[2];
        *card = &cards[index];
        return 0;
}

int nvmlDeviceGetTemperature(void *card, int sensor, unsigned *celsius)
{
        (void)card, (void)sensor;
        *celsius = 40;
        return is("lost") ? 15 : 0;
}

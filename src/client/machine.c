/* A sandbox shares its host's boot id and clock, but its process 1 is its own. */
#include "client/machine.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/process.h"

void machine_boot_id(char *out, size_t size)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        out[0] = '\0';
        if (file_read("/proc/sys/kernel/random/boot_id", 256, &text, NULL) == 0)
                snprintf(out, size, "%.*s", (int)strcspn(buf_str(&text), "\n"), buf_str(&text));
}

double machine_uptime(void)
{
        struct timespec now;
        struct process_identity first;
        clock_gettime(CLOCK_BOOTTIME, &now);
        double since_boot = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
        if (process_identify(1, &first) < 0)
                return since_boot;
        double started = (double)first.start_time / (double)sysconf(_SC_CLK_TCK);
        return started < since_boot ? since_boot - started : 0;
}

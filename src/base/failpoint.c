/*
 * The test build's half of failpoint.h. The order lies in shared memory: a web process that may open no file any more
 * still sees it.
 */
#include "base/failpoint.h"

#ifdef LABLINK_TEST_POINTS

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

static char *order;

static void map_order(void)
{
        const char *path = getenv("TEST_POINTS");
        int fd = open(path ? path : FAILPOINT_FILE, O_RDWR | O_CLOEXEC);
        struct stat st;
        if (fd < 0)
                return;
        if (fstat(fd, &st) == 0 && st.st_size == FAILPOINT_SIZE) {
                void *map = mmap(NULL, FAILPOINT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                order = map == MAP_FAILED ? NULL : map;
        }
        close(fd);
}

static __attribute__((constructor)) void map_early(void)
{
        if (getenv("TEST_POINTS"))
                map_order();
}

void failpoint(const char *name)
{
        char text[FAILPOINT_SIZE], armed = 'A';
        if (!order)
                map_order();
        if (!order || __atomic_load_n(order, __ATOMIC_ACQUIRE) != 'A')
                return;
        memcpy(text, order + 1, sizeof text - 1);
        text[sizeof text - 1] = '\0';
        char *action = strchr(text, ' ');
        if (!action)
                return;
        *action++ = '\0';
        if (!str_eq(text, name) ||
            !__atomic_compare_exchange_n(order, &armed, 'H', false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return;
        if (str_starts(action, "sleep "))
                clock_sleep_ms(atoll(action + 6));
        else
                kill(getpid(), SIGKILL);
}

#else
typedef int nothing_in_this_build; /* C wants something in every file */
#endif

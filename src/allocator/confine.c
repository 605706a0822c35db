/*
 * The order of giving up: first the rights themselves, then the means to get others back. A process that was started by
 * root has lost its user and the bounding set of capabilities before its program began (base/process.c).
 */
#include "allocator/confine.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

static void note(struct confinement *c, bool done, const char *what)
{
        struct buf *list = done ? &c->in_force : &c->missing;
        buf_addf(list, "%s%s", list->len ? ", " : "", what);
}

static bool drop_capabilities(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        for (int i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++)
                ;
        return syscall(SYS_capset, &header, none) == 0;
}

/* Memory that holds secrets is neither dumped into a file nor shown to other processes of this user. */
static bool hide_memory(void)
{
        struct rlimit none = {0, 0};
        return setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

void confine(const char *conninfo, struct confinement *ret)
{
        *ret = (struct confinement){.in_force = BUF_NULL, .missing = BUF_NULL};
        note(ret, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new rights");
        note(ret, drop_capabilities(), "no capabilities");
        note(ret, hide_memory(), "hidden memory");
        int landlock = confine_files(conninfo);
        _cleanup_free_ char *fence = landlock ? xasprintf("fenced files (landlock %d)", landlock)
                                              : xstrdup("fenced files (landlock)");
        note(ret, landlock > 0, fence);
        note(ret, confine_calls(), "filtered system calls (seccomp)");
}

void confinement_deinit(struct confinement *confinement)
{
        buf_deinit(&confinement->in_force);
        buf_deinit(&confinement->missing);
}

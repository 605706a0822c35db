/* Landlock for workers (confine.h). Only writing is handled: what a worker reads is chosen by its own rules. */
#include "harvest/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

static const uint64_t writes = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                               LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                               LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                               LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                               LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

static void allow(int ruleset, const char *place, uint64_t access)
{
        struct stat st;
        _cleanup_close_ int fd = open(place, O_PATH | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return;
        if (!S_ISDIR(st.st_mode)) /* the kernel takes no other right for what is no directory */
                access &= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE;
        struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
        if (access)
                syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

bool confine_writes(const char *const *places)
{
        long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
        if (version < 1)
                return false;
        uint64_t handled = writes | (version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) |
                           (version >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
        struct landlock_ruleset_attr attributes = {.handled_access_fs = handled};
        _cleanup_close_ int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
        if (ruleset < 0)
                return false;
        for (; *places; places++)
                allow(ruleset, *places, handled);
        allow(ruleset, "/dev/null", handled);
        allow(ruleset, "/dev/tty", handled);
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
}

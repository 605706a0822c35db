/* One look through /proc: a short read a process, no memory kept. */
#include "client/in_use.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define CMDLINE_MAX 32768

/* Programs that carry the software's name as a setting: the agent under any of its names, and deployed services. */
static bool is_watcher(const char *cmdline, size_t len)
{
        static const char *const names[] = {"lablink-client", "subscribe", "update_inuse_status", "check_gpu"};
        size_t words = 0;
        for (const char *at = cmdline; at < cmdline + len && words < 3; at += strlen(at) + 1, words++) {
                const char *slash = strrchr(at, '/');
                const char *base = slash ? slash + 1 : at;
                for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                        if (strcmp(base, names[i]) == 0)
                                return true;
        }
        return false;
}

bool in_use_match(const char *cmdline, size_t len, const char *software)
{
        if (!len || !*software || is_watcher(cmdline, len))
                return false;
        _cleanup_free_ char *line = xmemdup(cmdline, len);
        for (size_t i = 0; i + 1 < len; i++)
                if (!line[i])
                        line[i] = ' ';
        return memmem(line, strnlen(line, len), software, strlen(software)) != NULL;
}

static bool process_matches(int proc, const char *pid, const char *software, char *room)
{
        char path[64];
        snprintf(path, sizeof path, "%.20s/cmdline", pid);
        _cleanup_close_ int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        size_t len = 0;
        while (len < CMDLINE_MAX) {
                ssize_t n = read(fd, room + len, CMDLINE_MAX - len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                len += (size_t)n;
        }
        room[len] = '\0';
        return in_use_match(room, len, software);
}

pid_t in_use_find(const char *proc, const char *software)
{
        DIR *dir = opendir(proc);
        if (!dir)
                return 0;
        _cleanup_free_ char *room = xmalloc(CMDLINE_MAX + 1);
        int64_t found = 0, pid;
        for (struct dirent *entry; !found && (entry = readdir(dir));)
                if (parse_int(entry->d_name, 1, INT32_MAX, &pid) == 0 && pid != getpid() &&
                    process_matches(dirfd(dir), entry->d_name, software, room))
                        found = pid;
        closedir(dir);
        return (pid_t)found;
}

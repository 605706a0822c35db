/*
 * Processes of a VM whose record does not say which they are: its runner was killed while it started, or the record was
 * lost. They are found by what no other process has: a user id of the VM's range, and the VM's own home directory in
 * their view of the files (the ids alone would not do: another lab on this machine may have chosen the same ones).
 * Where there are control groups these processes have ended with the group already.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "provider/local/internal.h"

struct sought {
        struct stat home;
        uint32_t first_id;
};

static bool has_id(const char *pid, uint32_t first_id)
{
        char path[64];
        _cleanup_buf_ struct buf text = BUF_NULL;
        snprintf(path, sizeof path, "/proc/%.20s/status", pid);
        if (file_read(path, 65536, &text, NULL) < 0)
                return false;
        const char *state = strstr(buf_str(&text), "\nState:\t"), *ids = strstr(buf_str(&text), "\nUid:\t");
        if (!state || !ids || strchr("ZX", state[8]))
                return false;
        unsigned long uid = strtoul(ids + strlen("\nUid:\t"), NULL, 10);
        return uid >= first_id && uid - first_id < LOCAL_IDS;
}

static bool is_sought(const struct sought *sought, const char *pid)
{
        static const char *const places[] = {"home/client", &STAGE_DIR "/home"[1], NULL};
        if (!has_id(pid, sought->first_id))
                return false;
        for (const char *const *place = places; *place; place++) {
                char path[128];
                struct stat st;
                snprintf(path, sizeof path, "/proc/%.20s/root/%s", pid, *place);
                if (lstat(path, &st) == 0 && st.st_dev == sought->home.st_dev && st.st_ino == sought->home.st_ino)
                        return true;
        }
        return false;
}

static size_t kill_once(const struct sought *sought)
{
        size_t found = 0;
        DIR *dir = opendir("/proc");
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
                int64_t pid;
                if (parse_int(entry->d_name, 2, INT32_MAX, &pid) < 0)
                        continue;
                _cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
                if (fd < 0 || !is_sought(sought, entry->d_name)) /* looked at after opening */
                        continue;
                syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
                found++;
        }
        if (dir)
                closedir(dir);
        return found;
}

int remains_kill(struct provider *p, const char *name, int64_t wait_ms)
{
        _cleanup_free_ char *home = xasprintf("%s/%s/home", p->vms, name);
        struct sought sought = {.first_id = local_first_id(p, name)};
        int64_t deadline = clock_ms() + wait_ms;
        if (!sought.first_id || lstat(home, &sought.home) < 0)
                return 0;
        while (kill_once(&sought) > 0) {
                if (clock_ms() > deadline)
                        return -ETIMEDOUT;
                clock_sleep_ms(10);
        }
        return 0;
}

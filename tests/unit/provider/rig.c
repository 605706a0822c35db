#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"

static const char agent_script[] = "#!/bin/sh\n"
                                   "echo \"$*\" >>/var/log/agent-calls\n"
                                   "[ \"$1\" = run ] && exec sleep 1000000\n"
                                   "exit 0\n";

bool rig_possible(void)
{
        struct rig rig;
        char *code = NULL, *hint = NULL;
        if (geteuid() != 0) {
                puts("SKIP: the provider local needs root; nothing of it was tested");
                return false;
        }
        rig_open(&rig);
        bool possible = local_provider.check(rig.provider, &code, &hint, NULL) == 0;
        if (!possible)
                printf("SKIP: %s: %s; nothing of the provider local was tested\n", code, hint);
        free(code);
        free(hint);
        rig_close(&rig);
        return possible;
}

void rig_open(struct rig *rig)
{
        char name[] = "/tmp/lablink-provider-XXXXXX";
        _cleanup_buf_ struct buf problems = BUF_NULL;
        *rig = (struct rig){0};
        assert_non_null(mkdtemp(name));
        rig->directory = xstrdup(name);
        _cleanup_free_ char *state = path_join(name, "state");
        _cleanup_free_ char *base = xasprintf("local.uid_base=%lld",
                                              300000000LL + (long long)(getpid() % 3000) * 16 * LOCAL_IDS);
        _cleanup_free_ char *file = path_join(name, "config.yaml");
        assert_int_equal(
                file_write(file, "local:\n  processes: 64\n  memory: 512M\ndesktop:\n  mode: crd\n", 59, 0600, NULL),
                0);
        const char *sets[] = {base, NULL}, *environment[] = {NULL};
        struct config_input input = {.file = file, .sets = sets, .state_dir = state, .environment = environment};
        if (config_load(&input, &rig->config, &problems) < 0)
                fail_msg("%s", buf_str(&problems));
        assert_int_equal(local_provider.open(rig->config, &rig->provider, NULL), 0);
        free(rig->provider->agent);
        rig->provider->agent = path_join(name, "lablink-client");
        assert_int_equal(file_write(rig->provider->agent, agent_script, strlen(agent_script), 0755, NULL), 0);
}

void rig_close(struct rig *rig)
{
        local_provider.destroy_all(rig->provider, NULL, NULL);
        local_provider.close(rig->provider);
        config_free(rig->config);
        dir_remove(rig->directory, NULL);
        free(rig->directory);
        buf_deinit(&rig->lines);
}

static void take_line(void *userdata, const char *text)
{
        struct rig *rig = userdata;
        buf_addf(&rig->lines, "%s\n", text);
}

static void take_created(void *userdata, const char *hostname, double started, double ended)
{
        struct rig *rig = userdata;
        (void)hostname;
        assert_true(started > 0 && ended >= started);
        rig->created++;
}

static bool is_cancelled(void *userdata)
{
        struct rig *rig = userdata;
        return rig->cancel_after && rig->created >= rig->cancel_after;
}

struct provider_sink rig_sink(struct rig *rig)
{
        return (struct provider_sink){
                .line = take_line, .created = take_created, .cancelled = is_cancelled, .userdata = rig};
}

int rig_launch(struct rig *rig, struct error *error, ...)
{
        struct provider_order orders[16];
        struct provider_sink sink = rig_sink(rig);
        size_t n = 0;
        va_list names;
        va_start(names, error);
        for (const char *name; (name = va_arg(names, const char *)) && n < ARRAY_SIZE(orders); n++)
                orders[n] = (struct provider_order){.hostname = name, .token = n ? TOKEN_TWO : TOKEN_ONE};
        va_end(names);
        return local_provider.launch(rig->provider, orders, n, &sink, error);
}

int rig_run(struct rig *rig, const char *vm, bool as_root, const char *script, struct buf *out)
{
        const char *argv[] = {"/bin/bash", "-c", script, NULL};
        int pair[2], status = 0;
        assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
                _cleanup_error_ struct error error = ERROR_NULL;
                int null = open("/dev/null", O_RDONLY);
                dup2(null, 0);
                dup2(pair[1], 1);
                dup2(pair[1], 2);
                int r = local_provider.exec(rig->provider, vm, as_root, argv, &status, &error);
                if (r < 0)
                        dprintf(2, "%s\n", error_text(&error));
                _exit(r < 0 ? 255 : status);
        }
        close(pair[1]);
        assert_true(pid > 0);
        assert_int_equal(fd_read_all(pair[0], 64 << 20, out), 0);
        close(pair[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

char *rig_say(struct rig *rig, const char *vm, bool as_root, const char *script)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        int status = rig_run(rig, vm, as_root, script, &out);
        if (status != 0)
                fail_msg("in %s, \"%s\" gave %d: %s", vm, script, status, buf_str(&out));
        if (out.len && out.data[out.len - 1] == '\n')
                buf_truncate(&out, out.len - 1);
        return xstrdup(buf_str(&out));
}

void rig_wait(struct rig *rig, const char *vm, const char *script)
{
        int64_t deadline = clock_ms() + RIG_PATIENCE_MS;
        for (;;) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                if (rig_run(rig, vm, true, script, &out) == 0)
                        return;
                if (clock_ms() > deadline)
                        fail_msg("in %s, \"%s\" never succeeded: %s", vm, script, buf_str(&out));
                clock_sleep_ms(50);
        }
}

int rig_state(struct rig *rig, const char *vm)
{
        struct provider_vms vms;
        int state = -1;
        assert_int_equal(local_provider.list(rig->provider, &vms, NULL), 0);
        for (size_t i = 0; i < vms.n; i++)
                if (strcmp(vms.vm[i].hostname, vm) == 0)
                        state = (int)vms.vm[i].state;
        provider_vms_clear(&vms);
        return state;
}

static bool owned_by_vm(struct rig *rig, const char *pid)
{
        _cleanup_free_ char *path = xasprintf("/proc/%s/status", pid);
        _cleanup_buf_ struct buf text = BUF_NULL;
        unsigned uid = 0;
        if (file_read(path, 65536, &text, NULL) < 0)
                return false;
        const char *line = strstr(buf_str(&text), "\nUid:");
        int64_t first = rig->config->local.uid_base;
        const char *state = strstr(buf_str(&text), "\nState:\t");
        if (!state || strchr("ZX", state[8])) /* where process 1 does not collect the dead */
                return false;
        return line && sscanf(line, "\nUid: %u", &uid) == 1 && uid >= first && uid < first + 16 * LOCAL_IDS;
}

static bool is_called(const char *pid, const char *name)
{
        _cleanup_free_ char *path = xasprintf("/proc/%s/comm", pid);
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (file_read(path, 64, &text, NULL) < 0 || !text.len)
                return false;
        buf_truncate(&text, text.len - 1);
        return strcmp(buf_str(&text), name) == 0;
}

size_t rig_count_processes(struct rig *rig, const char *name)
{
        DIR *dir = opendir("/proc");
        size_t found = 0;
        for (struct dirent *entry; dir && (entry = readdir(dir));)
                if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
                        found += owned_by_vm(rig, entry->d_name) && (!name || is_called(entry->d_name, name));
        closedir(dir);
        return found;
}

static void assert_empty(const char *directory, const char *except)
{
        DIR *dir = opendir(directory);
        for (struct dirent *entry; dir && (entry = readdir(dir));)
                if (entry->d_name[0] != '.' && strcmp(entry->d_name, except) != 0)
                        fail_msg("%s/%s is left", directory, entry->d_name);
        if (dir)
                closedir(dir);
}

static void assert_no_group(struct rig *rig)
{
        static const char *const places[] = {"", "memory", "cpu", "pids", "cpu,cpuacct", "unified"};
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
                _cleanup_free_ char *path = xasprintf("/sys/fs/cgroup/%s/%s", places[i], rig->provider->group);
                if (access(path, F_OK) == 0)
                        fail_msg("%s is left", path);
        }
}

void rig_assert_nothing_left(struct rig *rig)
{
        _cleanup_buf_ struct buf mounts = BUF_NULL;
        struct provider_vms vms;
        int64_t deadline = clock_ms() + RIG_PATIENCE_MS;
        while (rig_count_processes(rig, NULL) > 0) {
                if (clock_ms() > deadline)
                        fail_msg("a process with a VM's user id is left");
                clock_sleep_ms(20);
        }
        assert_int_equal(local_provider.list(rig->provider, &vms, NULL), 0);
        assert_int_equal(vms.n, 0);
        provider_vms_clear(&vms);
        assert_empty(rig->provider->vms, "");
        assert_empty(rig->provider->records, "lock");
        assert_no_group(rig);
        assert_int_equal(file_read("/proc/self/mountinfo", 4 << 20, &mounts, NULL), 0);
        assert_null(strstr(buf_str(&mounts), rig->directory));
}

int rig_set_up(void **state)
{
        *state = xcalloc(1, sizeof(struct rig));
        rig_open(*state);
        return 0;
}

int rig_tear_down(void **state)
{
        struct rig *rig = *state;
        _cleanup_error_ struct error error = ERROR_NULL;
        if (local_provider.destroy_all(rig->provider, NULL, &error) < 0)
                fail_msg("%s", error_text(&error));
        rig_assert_nothing_left(rig);
        rig_close(rig);
        free(rig);
        return 0;
}

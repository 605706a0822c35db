/*
 * What bubblewrap is told, and what the boot script finds in its environment: the whole view that a VM has of the
 * machine can be read here. Sources under STAGE_DIR were laid out by stage.c.
 *
 * What is read-only was made so by the stage already: what a VM's root is given so it cannot change back.
 *
 * Inside, all is new (namespaces, /proc, /dev, /tmp, /run) or the VM's own (/home/client, /opt, /var, /etc), but /usr,
 * which is the host's and read-only. User namespaces made inside are left as the kernel allows them (browsers need
 * them); setuid files have no effect inside either, because bubblewrap sets no_new_privs and mounts everything nosuid.
 */
#include <stdio.h>
#include <string.h>

#include "provider/local/internal.h"

void args_clear(struct args *args)
{
        for (size_t i = 0; i < args->n_owned; i++)
                free(args->owned[i]);
}

static void add_list(struct args *args, const char *const *list)
{
        for (; *list && args->n < ARRAY_SIZE(args->list) - 1; list++)
                args->list[args->n++] = *list;
}
#define add(args, ...) add_list((args), (const char *const[]){__VA_ARGS__, NULL})

static const char *own(struct args *args, char *text)
{
        return args->owned[args->n_owned++] = text;
}

/* /bin and its like: links into /usr on a merged system, directories on an older one. */
static void add_system(struct args *args)
{
        static const char *const paths[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
        add(args, "--ro-bind", STAGE_DIR "/usr", "/usr");
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                char target[256];
                ssize_t n = readlink(paths[i], target, sizeof target - 1);
                if (n > 0) {
                        target[n] = '\0';
                        add(args, "--symlink", own(args, xstrdup(target)), paths[i]);
                } else if (access(paths[i], F_OK) == 0) {
                        add(args, "--ro-bind", paths[i], paths[i]);
                }
        }
}

static void add_own_places(struct args *args, const struct provider *p)
{
        const char *half = own(args, xasprintf("%lld", (long long)p->config->local.memory / 2));
        add(args, "--proc", "/proc", "--dev", "/dev");
        add(args, "--perms", "1777", "--size", half, "--tmpfs", "/dev/shm", "--remount-ro", "/dev");
        add(args, "--perms", "1777", "--size", half, "--tmpfs", "/tmp");
        add(args, "--perms", "0755", "--size", "67108864", "--tmpfs", "/run");
        add(args, "--bind", STAGE_DIR "/etc", "/etc", "--bind", STAGE_DIR "/var", "/var");
        add(args, "--bind", STAGE_DIR "/opt", "/opt", "--ro-bind", STAGE_DIR "/agent", "/opt/lablink");
        add(args, "--perms", "0755", "--dir", "/home", "--bind", STAGE_DIR "/home", "/home/client", "--perms", "0700",
            "--dir", "/root");
        add(args, "--perms", "0755", "--dir", "/mnt", "--perms", "0755", "--dir", "/srv", "--perms", "0755", "--dir",
            "/run/user");
        add(args, "--ro-bind", STAGE_DIR "/allocator", "/run/lablink");
        add(args, "--ro-bind", STAGE_DIR "/secret", "/run/lablink-client");
}

void bubble_args(struct args *args, const struct provider *p, const struct local_vm *vm)
{
        add(args, "bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try");
        add(args, "--hostname", vm->name);
        add_system(args);
        add_own_places(args, p);
        add(args, "--chdir", "/", "--info-fd", own(args, xasprintf("%d", BUBBLE_INFO)), "--sync-fd",
            own(args, xasprintf("%d", BUBBLE_ALIVE)), "--", "/bin/sh", "/opt/lablink/boot.sh");
        args->list[args->n] = NULL;
}

/* The boot script's and the agent's whole environment. Not in argv: a repository's URL may hold a password. */
char **bubble_environment(const struct provider *p, const struct local_vm *vm)
{
        const struct config *c = p->config;
        char *const list[] = {
                xstrdup("PATH=" PATH_INSIDE),
                xstrdup("HOME=/root"),
                xstrdup("LANG=C.UTF-8"),
                xstrdup("TERM=xterm-256color"),
                xstrdup("ALLOCATOR_URL=unix:/run/lablink/allocator.sock"),
                xstrdup("LABLINK_CLIENT_TOKEN_FILE=/run/lablink-client/token"),
                xstrdup("LABLINK_CLIENT_LOG_FILES=/var/log/lablink-boot.log"),
                xstrdup("LABLINK_CLIENT_ON_ASSIGNED=/opt/lablink/bin/lablink-software"),
                xasprintf("VM_NAME=%s", vm->name),
                xasprintf("SUBJECT_SOFTWARE=%s", config_software(c)),
                xasprintf("TUTORIAL_REPO_TO_CLONE=%s", c->machine.repository),
                xasprintf("STARTUP_ON_ERROR=%s", c->startup_script.on_error),
                xasprintf("SUBJECT_SOFTWARE_COMMAND=%s", c->local.software_command),
                xasprintf("LABLINK_DESKTOP=%s", config_desktop_browser(c) ? "yes" : "no"),
                NULL,
        };
        return xmemdup(list, sizeof list);
}

/*
 * The way into a VM: ssh, with the key that the module has made. A host key is believed the first time it is seen and held
 * to from then on, in a file of its own for each VM: a cloud gives an address to one machine after the other.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "provider/ssh_words.h"
#include "provider/terraform/internal.h"

#define KEY_MAX 65536
#define HOSTS "known_hosts"

int ssh_save_key(struct provider *p, const struct tf_state *state, struct error *error)
{
        const json_t *output = json_object_get(state->outputs, "lablink_private_key_pem");
        const char *key = json_get_string(output, "value");
        _cleanup_free_ char *path = tf_path(p, "key.pem");
        if (!key || !*key || strlen(key) > KEY_MAX)
                return 0;
        return file_write(path, key, strlen(key), 0600, error);
}

static char *hosts_file(const struct provider *p, const char *hostname)
{
        return xasprintf("%s/" HOSTS "/%s", p->dir, hostname);
}

void ssh_forget(struct provider *p)
{
        _cleanup_free_ char *key = tf_path(p, "key.pem");
        _cleanup_free_ char *hosts = tf_path(p, HOSTS);
        unlink(key);
        dir_remove(hosts, NULL);
}

void ssh_forget_host(struct provider *p, const char *hostname)
{
        _cleanup_free_ char *path = hosts_file(p, hostname);
        unlink(path);
}

/* An address comes from a module's outputs; as an argument of ssh it must not be an option. */
static bool is_address(const char *address)
{
        return address && *address && *address != '-' && strlen(address) < 256 &&
               strspn(address, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_") == strlen(address);
}

int ssh_reach(struct provider *p, const char *hostname, struct provider_reach *ret, struct error *error)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        int r = state_read(p, &state, error);
        if (r < 0)
                return r;
        if (!state_find(&state, hostname))
                return error_set(error, -ENOENT, "the state names no VM called %s", hostname);
        const char *address = state_output_of(&state, "vm_public_ips", hostname);
        if (!is_address(address))
                return error_set(error, -EHOSTUNREACH, "the module's outputs tell no address of %s (vm_public_ips)",
                                 hostname);
        _cleanup_free_ char *hosts = tf_path(p, HOSTS);
        r = ssh_save_key(p, &state, error);
        if (r == 0)
                r = dir_make(hosts, 0700, error);
        if (r < 0)
                return r;
        *ret = (struct provider_reach){.kind = REACH_SSH,
                                       .user = xstrdup(p->config->terraform.ssh_user),
                                       .address = xstrdup(address),
                                       .port = (int)p->config->terraform.ssh_port,
                                       .key_file = tf_path(p, "key.pem"),
                                       .known_hosts_file = hosts_file(p, hostname),
                                       .container = true,
                                       .home = xstrdup("/home/client")};
        return 0;
}

/* In the first container, as its user `client` or as root. */
static char *remote_command(bool as_root, const char *const *argv)
{
        struct buf out = BUF_NULL;
        bool terminal = isatty(STDIN_FILENO);
        buf_addf(&out, "sudo docker exec -i%s -u %s \"$(sudo docker ps -q | head -n 1)\"", terminal ? "t" : "",
                 as_root ? "root" : "client");
        if (!argv)
                buf_adds(&out, " bash -l");
        for (; argv && *argv; argv++) {
                buf_addc(&out, ' ');
                ssh_quote(*argv, &out);
        }
        return buf_steal(&out);
}

int ssh_exec(struct provider *p, const char *hostname, bool as_root, const char *const *argv, int *ret_status,
             struct error *error)
{
        _cleanup_reach_ struct provider_reach reach = {0};
        int status = 0;
        int r = ssh_reach(p, hostname, &reach, error);
        if (r < 0)
                return r;
        _cleanup_buf_ struct buf key = BUF_NULL, hosts = BUF_NULL;
        r = ssh_path_option("IdentityFile", reach.key_file, &key, error);
        if (r == 0)
                r = ssh_path_option("UserKnownHostsFile", reach.known_hosts_file, &hosts, error);
        if (r < 0)
                return r;
        _cleanup_free_ char *command = remote_command(as_root, argv);
        _cleanup_free_ char *port = xasprintf("%d", reach.port);
        const char *words[] = {"ssh",   isatty(STDIN_FILENO) ? "-t" : "-T",
                               "-F",    "none",
                               "-o",    buf_str(&key),
                               "-o",    "IdentitiesOnly=yes",
                               "-o",    "BatchMode=yes",
                               "-o",    "ConnectTimeout=20",
                               "-o",    "StrictHostKeyChecking=accept-new",
                               "-o",    "GlobalKnownHostsFile=/dev/null",
                               "-o",    buf_str(&hosts),
                               "-p",    port,
                               "-l",    reach.user,
                               "--",    reach.address,
                               command, NULL};
        pid_t pid;
        struct process_spec spec = {.argv = words,
                                    .stdin_fd = PROCESS_FD_INHERIT,
                                    .stdout_fd = PROCESS_FD_INHERIT,
                                    .stderr_fd = PROCESS_FD_INHERIT};
        r = process_spawn(&spec, &pid, error);
        if (r == 0)
                r = process_wait(pid, &status, error);
        if (r == 0)
                *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return r;
}

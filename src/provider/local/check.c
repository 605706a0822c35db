/*
 * Can this machine hold VMs, and what holds them in? The answer is tried, not guessed: a sandbox is made and ended.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "provider/local/internal.h"

static int answer(char **ret_code, char **ret_hint, int r, const char *code, char *hint)
{
        *ret_code = xstrdup(code);
        *ret_hint = hint;
        return r;
}

static void describe(struct provider *p, bool network, struct buf *lines)
{
        const struct config_local *c = &p->config->local;
        buf_addf(lines,
                 "isolation: own user, pid, mount, network, ipc, uts and cgroup namespaces; one kernel for all\n");
        buf_addf(lines, "user ids: %d for each VM, from %lld\n", LOCAL_IDS, (long long)c->uid_base);
        cgroup_describe(p, lines);
        if (!c->outside)
                buf_adds(lines, "network: the allocator only (local.outside is false)\n");
        else if (network)
                buf_adds(lines, "network: outside by slirp4netns, not this machine's loopback\n");
        else
                buf_adds(lines, "network: the allocator only (slirp4netns is not installed)\n");
}

int local_check(struct provider *p, char **ret_code, char **ret_hint, char ***ret_detail)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_buf_ struct buf lines = BUF_NULL;
        if (ret_detail)
                *ret_detail = xcalloc(1, sizeof **ret_detail);
        if (geteuid() != 0)
                return answer(ret_code, ret_hint, -EPERM, "needs-root",
                              xstrdup("local VMs need root: start LabLink with sudo"));
        if (!program_exists("bwrap"))
                return answer(ret_code, ret_hint, -ENOENT, "no-bubblewrap", xstrdup("install the package bubblewrap"));
        if (sandbox_try(p, &error) < 0)
                return answer(ret_code, ret_hint, -ENOTSUP, "no-user-namespaces",
                              xasprintf("this machine lets nobody make a sandbox (in a container, it has to be a "
                                        "privileged one): %s",
                                        error_text(&error)));
        if (access(p->agent, X_OK) < 0)
                return answer(ret_code, ret_hint, -ENOENT, "no-agent", xasprintf("%s is missing", p->agent));
        bool network = program_exists("slirp4netns");
        describe(p, network, &lines);
        if (ret_detail && lines.len) {
                buf_truncate(&lines, lines.len - 1);
                strv_free(*ret_detail);
                *ret_detail = str_split(buf_str(&lines), '\n');
        }
        bool hint = p->config->local.outside && !network;
        return answer(ret_code, ret_hint, 0, "ready",
                      hint ? xstrdup("no-slirp4netns: VMs have no outside network; install the package slirp4netns")
                           : NULL);
}

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
        buf_addf(lines, "desktop: %s\n",
                 config_desktop_browser(p->config) ? "in the browser, by Xvnc on a unix socket in each VM"
                                                   : "none in VMs");
        if (!c->outside)
                buf_adds(lines, "network: the allocator only (local.outside is false)\n");
        else if (network)
                buf_adds(lines, "network: outside by slirp4netns, not this machine's loopback\n");
        else
                buf_adds(lines, "network: the allocator only (slirp4netns is not installed)\n");
}

static bool wants_desktop(const struct config *config)
{
        return config_desktop_browser(config) || config->origins[CONFIG_KEY_desktop_mode].source == CONFIG_DEFAULT;
}

/* What is missing on this machine though the lab works; NULL: nothing. */
static char *hint_of(struct provider *p, bool network)
{
        static const char *const desktop[] = {"Xvnc", "openbox", "xkbcomp"};
        for (size_t i = 0; wants_desktop(p->config) && i < ARRAY_SIZE(desktop); i++)
                if (!program_exists(desktop[i]))
                        return xasprintf("no-desktop: %s is missing, so VMs have no desktop for browsers; install the "
                                         "packages tigervnc-standalone-server, openbox, tint2, pcmanfm and xterm, then "
                                         "start the lab again",
                                         desktop[i]);
        if (p->config->local.outside && !network)
                return xstrdup("no-slirp4netns: VMs have no outside network; install the package slirp4netns");
        return NULL;
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
        return answer(ret_code, ret_hint, 0, "ready", hint_of(p, network));
}

/*
 * A batch of files by ssh: `docker cp` into the stage in the VM, rsync from there, then each file is looked at, hashed and
 * kept. rsync writes into a directory of this seat alone; what is half stays there for the next time. It may be a script
 * that answers in rsync's place: so only files that were asked for are taken, none through a link, and when more comes
 * than was announced it is ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "harvest/ssh.h"
#include "provider/ssh_words.h"

#define SLACK_BYTES ((int64_t)64 << 20) /* files grow while they are copied */

/* --- out of the container ------------------------------------------------------------------------------------------ */

/* Names come by standard input, each ended by NUL: no shell ever reads one. What docker writes is root's, and a file that
 * its owner alone may read would not be sent. A process costs more than a small file, so a shell takes many of them; a dot
 * for each says that it goes on. */
static char *copy_script(const struct ssh *ssh)
{
        struct buf out = BUF_NULL;
        buf_adds(&out, "c=$(sudo -n docker ps -q | head -n 1) || exit 4; [ -n \"$c\" ] || exit 3; umask 077; "
                       "mkdir -p " SSH_STAGE "; exec sudo -n xargs -0 -n 100 sh -c '"
                       "umask 077; owner=$1; from=$2:$3; shift 3; for name; do to=" SSH_STAGE "/$name; "
                       "[ -d \"${to%/*}\" ] || mkdir -p \"${to%/*}\"; "
                       "docker cp \"$from/$name\" \"$to\" </dev/null >/dev/null; printf .; done; "
                       "chown -Rh \"$owner\" " SSH_STAGE " || :' sh \"$(id -u)\" \"$c\" ");
        ssh_quote(ssh->root, &out);
        return buf_steal(&out);
}

static int on_noise(void *userdata, const char *data _unused_, size_t n _unused_)
{
        worker_alive(userdata);
        return 0;
}

static int copy_out(struct ssh *ssh, int names, struct error *error)
{
        struct child_io io = {.input = names, .take = on_noise, .userdata = ssh->worker};
        _cleanup_free_ char *script = copy_script(ssh);
        worker_step(ssh->worker, "copy");
        return ssh_script(ssh, script, &io, NULL, error);
}

static void clear_stage(struct ssh *ssh, int names)
{
        struct child_io io = {.input = names};
        ssh_script(ssh, "cd " SSH_STAGE " && exec sudo -n xargs -0 rm -f --", &io, NULL, NULL);
}

/* --- over the wire ------------------------------------------------------------------------------------------------- */

struct watch {
        struct ssh *ssh;
        int64_t most, seen;
        bool partly; /* some could not be sent: what has another size than announced is not whole */
};

/* What lies in the directory now, half-sent files too. */
static int64_t bytes_there(const char *tree)
{
        static const struct selection all = {.everything = true};
        struct walk walk = {.selection = &all, .files_max = 1000000, .entries_max = 2000000};
        struct finds finds = {0};
        _cleanup_close_ int root = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int64_t bytes = 0;
        if (root >= 0 && walk_find(root, &walk, &finds, NULL) == 0)
                bytes = finds.cut || finds.left_all ? INT64_MAX : finds.bytes;
        finds_clear(&finds);
        return bytes;
}

static int on_tick(void *userdata)
{
        struct watch *watch = userdata;
        int64_t now = bytes_there(watch->ssh->tree);
        if (now > watch->most)
                return -EFBIG;
        if (now != watch->seen)
                worker_alive(watch->ssh->worker);
        watch->seen = now;
        return 0;
}

static int run_rsync(struct ssh *ssh, int names, struct watch *watch, struct error *error)
{
        char timeout[32], size[40];
        _cleanup_free_ char *from = ssh->container ? xstrdup("vm:" SSH_STAGE "/") : xasprintf("vm:%s/", ssh->root);
        _cleanup_free_ char *to = xasprintf("%s/", watch->ssh->tree);
        snprintf(timeout, sizeof timeout, "--timeout=%d", (int)MAX(ssh->worker->harvest->limits.quiet_ms / 1000, 1));
        snprintf(size, sizeof size, "--max-size=%lld", (long long)ssh->worker->harvest->limits.vm_bytes);
        const char *argv[] = {"rsync",
                              "--times",
                              "--partial",
                              "--inplace",
                              "--files-from=-",
                              "--from0",
                              "--protect-args",
                              "--no-links",
                              "--no-devices",
                              "--no-specials",
                              "--no-perms",
                              timeout,
                              size,
                              "-e",
                              ssh->shell,
                              "--",
                              from,
                              to,
                              NULL};
        struct child_io io = {.input = names, .places = ssh->places, .tick = on_tick, .userdata = watch};
        for (int tries = 1;; tries++) {
                _cleanup_child_end_ struct child_end end;
                lseek(names, 0, SEEK_SET);
                int r = child_run(argv, &io, &end, error);
                if (r < 0)
                        return r;
                if (end.stopped == -EFBIG)
                        return error_set(error, -EFBIG, "it sent more than it had announced, and was cut off");
                watch->partly = end.code == 23 || end.code == 24;
                if (end.code == 0 || watch->partly)
                        return 0;
                if (!ssh_broke(&end) || tries == SSH_TRIES)
                        return ssh_explain(&end, "rsync", error);
                worker_say(ssh->worker, "the transfer broke; going on (%s)",
                           end.words.len ? buf_str(&end.words) : "rsync was ended");
                clock_sleep_ms(SSH_PAUSE_MS);
        }
}

/* --- what has come ------------------------------------------------------------------------------------------------- */

static int keep(struct ssh *ssh, int tree, struct found *found, bool partly, struct error *error)
{
        struct stat st;
        _cleanup_close_ int fd = -1;
        const char *path = found->path + strlen(ssh->prefix);
        int r = walk_open(tree, path, &fd);
        if (r < 0 || fstat(fd, &st) < 0 || (partly && st.st_size != found->size)) {
                worker_skip(ssh->worker, found, "the VM did not send it");
                return 0;
        }
        int64_t announced = found->size;
        found->size = st.st_size;
        if (st.st_size != announced && worker_judge(ssh->worker, found) != FILE_WANTED)
                return 0;
        return worker_take(ssh->worker, found, fd, tree, path, error);
}

static int keep_all(struct ssh *ssh, const struct watch *watch, struct found *const *list, size_t n,
                    struct error *error)
{
        _cleanup_close_ int tree = open(watch->ssh->tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (tree < 0)
                return error_errno(error, errno, "cannot read what was transferred");
        worker_step(ssh->worker, "verify");
        for (size_t i = 0; i < n; i++) {
                int r = keep(ssh, tree, list[i], watch->partly, error);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The names as they are below the root of the search. */
static int names_of(struct ssh *ssh, struct found *const *list, size_t n, int *ret, struct error *error)
{
        _cleanup_free_ struct found *plain = xcalloc(n + 1, sizeof *plain);
        _cleanup_free_ struct found **order = xcalloc(n + 1, sizeof *order);
        for (size_t i = 0; i < n; i++) {
                plain[i].path = list[i]->path + strlen(ssh->prefix);
                order[i] = &plain[i];
        }
        return ssh_names(order, n, ret, error);
}

int ssh_batch(struct ssh *ssh, struct found *const *list, size_t n, struct error *error)
{
        _cleanup_close_ int names = -1;
        int64_t left = MIN(bytes_there(ssh->tree),
                           ssh->worker->harvest->limits.vm_bytes); /* by an interrupted transfer */
        struct watch watch = {.ssh = ssh, .most = SLACK_BYTES + left};
        for (size_t i = 0; i < n; i++)
                watch.most += 2 * list[i]->size; /* an old half and a new one */
        int r = names_of(ssh, list, n, &names, error);
        if (r == 0)
                r = dir_make(ssh->tree, 0700, error);
        if (r == 0 && ssh->container)
                r = copy_out(ssh, names, error);
        if (r == 0) {
                worker_step(ssh->worker, "transfer");
                r = run_rsync(ssh, names, &watch, error);
        }
        if (r == -EFBIG)
                dir_remove(ssh->tree, NULL);
        if (r == 0)
                r = keep_all(ssh, &watch, list, n, error);
        if (r == 0)
                r = dir_remove(ssh->tree, error);
        if (r == 0 && ssh->container)
                clear_stage(ssh, names);
        return r;
}

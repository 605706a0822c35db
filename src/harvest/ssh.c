/* Connection and search by ssh (ssh.h); the transfer is in ssh_transfer.c. */
#include "harvest/ssh.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "harvest/list.h"
#include "provider/ssh_words.h"

#define ALIVE_S 5
#define ALIVE_COUNT 4
#define ALIVE_MS 1000
#define FIND_PARTLY 1 /* find's own: it told what it could */

/* --- the connection ------------------------------------------------------------------------------------------------ */

static int add_path(struct buf *out, const char *key, const char *path, struct error *error)
{
        buf_adds(out, "  ");
        int r = ssh_path_option(key, path, out, error);
        buf_addc(out, '\n');
        return r;
}

static bool is_word(const char *text)
{
        return text && *text && *text != '-' && !strpbrk(text, " \t\r\n\"'\\%#");
}

static int write_config(struct ssh *ssh, struct error *error)
{
        const struct provider_reach *reach = &ssh->worker->seat->reach;
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (!is_word(reach->address) || !is_word(reach->user))
                return error_set(error, -EINVAL, "its address or user cannot be given to ssh");
        buf_addf(&out, "Host vm\n  HostName %s\n  User %s\n", reach->address, reach->user);
        if (reach->port)
                buf_addf(&out, "  Port %d\n", reach->port);
        int r = add_path(&out, "IdentityFile", reach->key_file, error);
        if (r == 0)
                r = add_path(&out, "UserKnownHostsFile", reach->known_hosts_file, error);
        if (r < 0)
                return r;
        buf_addf(&out, "  ConnectTimeout %d\n  ServerAliveInterval %d\n  ServerAliveCountMax %d\n",
                 (int)(ssh->worker->harvest->limits.connect_ms / 1000), ALIVE_S, ALIVE_COUNT);
        buf_adds(&out, "  BatchMode yes\n  StrictHostKeyChecking accept-new\n  GlobalKnownHostsFile /dev/null\n"
                       "  UpdateHostKeys no\n  HashKnownHosts no\n  CheckHostIP no\n  IdentitiesOnly yes\n"
                       "  PreferredAuthentications publickey\n  ForwardAgent no\n  ForwardX11 no\n"
                       "  ClearAllForwardings yes\n  PermitLocalCommand no\n  ControlMaster no\n  ControlPath none\n"
                       "  RequestTTY no\n  LogLevel ERROR\n  TCPKeepAlive yes\n"
                       "  Ciphers ^aes128-gcm@openssh.com\n"); /* the fastest where processors know AES */
        return file_write(ssh->config, buf_str(&out), out.len, 0600, error);
}

/* Where it is searched: as specified, extensions on the Desktop of a container. */
static void choose_root(struct ssh *ssh)
{
        const struct selection *selection = ssh->worker->harvest->selection;
        const struct provider_reach *reach = &ssh->worker->seat->reach;
        const char *home = str_or(reach->home, "/home/client"), *directory = selection->directory;
        ssh->container = reach->container;
        if (directory && *directory == '/')
                ssh->root = xstrdup(directory);
        else if (directory)
                ssh->root = path_join(home, directory);
        else
                ssh->root = selection->extensions && ssh->container ? path_join(home, "Desktop") : xstrdup(home);
        ssh->prefix = xstrdup(selection->extensions && ssh->container ? "Desktop/" : "");
}

/* rsync takes its own quotes away, and one of two in a row. */
static char *rsync_shell(const char *config)
{
        struct buf out = BUF_NULL;
        buf_adds(&out, "ssh -F '");
        for (; *config; config++)
                buf_addf(&out, *config == '\'' ? "''" : "%c", *config);
        buf_addc(&out, '\'');
        return buf_steal(&out);
}

int ssh_open(struct ssh *ssh, struct worker *worker, struct error *error)
{
        *ssh = (struct ssh){.worker = worker, .tree = path_join(worker->work, "tree")};
        ssh->config = path_join(worker->work, "ssh_config");
        ssh->places[0] = ssh->tree;
        ssh->places[1] = worker->seat->reach.known_hosts_file;
        ssh->shell = rsync_shell(ssh->config);
        choose_root(ssh);
        return write_config(ssh, error);
}

void ssh_close(struct ssh *ssh)
{
        free(ssh->config);
        free(ssh->shell);
        free(ssh->tree);
        free(ssh->root);
        free(ssh->prefix);
        *ssh = (struct ssh){0};
}

/* --- running there ------------------------------------------------------------------------------------------------- */

bool ssh_broke(const struct child_end *end)
{
        /* ssh's own; rsync's that mean a connection, or a part of it that was ended */
        static const int codes[] = {255, 10, 12, 14, 15, 16, 20, 30, 35};
        if (end->stopped || strstr(buf_str(&end->words), "erification failed"))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
                if (end->code == codes[i])
                        return true;
        return end->code < 0;
}

int ssh_explain(const struct child_end *end, const char *what, struct error *error)
{
        const char *words = buf_str(&end->words);
        if (strstr(words, "erification failed") || strstr(words, "IDENTIFICATION HAS CHANGED"))
                return error_set(error, -EHOSTUNREACH,
                                 "its host key is not the one that was recorded at the first contact: another machine "
                                 "may answer at its address");
        if (strstr(words, "Permission denied (publickey"))
                return error_set(error, -EHOSTUNREACH, "it does not take the lab's key: %s", words);
        if (end->code == 255)
                return error_set(error, -EHOSTUNREACH, "it cannot be reached by ssh: %s",
                                 *words ? words : "the connection broke");
        if (end->code < 0)
                return error_set(error, -EIO, "%s was ended by a signal", what);
        return error_set(error, -EIO, "%s failed (exit %d): %s", what, end->code, *words ? words : "without a word");
}

int ssh_script(struct ssh *ssh, const char *script, const struct child_io *io, void (*again)(void *userdata),
               struct error *error)
{
        const char *argv[] = {"ssh", "-F", ssh->config, "vm", script, NULL};
        struct child_io own = *io;
        own.places = ssh->places;
        for (int tries = 1;; tries++) {
                _cleanup_child_end_ struct child_end end;
                if (io->input >= 0 && lseek(io->input, 0, SEEK_SET) < 0)
                        return error_errno(error, errno, "cannot read the list of files");
                int r = child_run(argv, &own, &end, error);
                if (r < 0)
                        return r;
                ssh->code = end.code;
                if (end.stopped)
                        return end.stopped;
                if (end.code == 0)
                        return 0;
                if (!ssh_broke(&end) || tries == SSH_TRIES)
                        return ssh_explain(&end, "its shell", error);
                worker_say(ssh->worker, "the connection broke; trying again (%s)",
                           end.words.len ? buf_str(&end.words) : "ssh was ended");
                if (again)
                        again(io->userdata);
                clock_sleep_ms(SSH_PAUSE_MS);
        }
}

int ssh_names(struct found *const *list, size_t n, int *ret_fd, struct error *error)
{
        _cleanup_close_ int fd = memfd_create("names", MFD_CLOEXEC);
        if (fd < 0)
                return error_errno(error, errno, "cannot hold the list of files");
        for (size_t i = 0; i < n; i++) {
                int r = fd_write_all(fd, list[i]->path, strlen(list[i]->path) + 1);
                if (r < 0)
                        return error_errno(error, -r, "cannot hold the list of files");
        }
        lseek(fd, 0, SEEK_SET);
        *ret_fd = STEAL_FD(fd);
        return 0;
}

/* --- finding ------------------------------------------------------------------------------------------------------- */

struct search {
        struct ssh *ssh;
        struct list_parser parser;
        int64_t told_ms;
};

static int on_list(void *userdata, const char *data, size_t n)
{
        struct search *search = userdata;
        if (clock_ms() - search->told_ms >= ALIVE_MS) {
                search->told_ms = clock_ms();
                worker_alive(search->ssh->worker);
        }
        return list_feed(&search->parser, data, n);
}

static void begin_anew(void *userdata)
{
        struct search *search = userdata;
        finds_clear(search->parser.finds);
        buf_deinit(&search->parser.partial);
        search->parser.bad = search->parser.line = 0;
}

/* find, in the first container where there is one, as specified: `docker exec ... find`. */
static char *find_script(const struct ssh *ssh)
{
        const struct selection *selection = ssh->worker->harvest->selection;
        struct buf out = BUF_NULL;
        if (ssh->container)
                buf_adds(&out, "c=$(sudo -n docker ps -q | head -n 1) || exit 4; [ -n \"$c\" ] || { echo no container "
                               "runs >&2; exit 3; }; exec sudo -n docker exec \"$c\" ");
        else
                buf_adds(&out, "exec ");
        buf_adds(&out, "find ");
        ssh_quote(ssh->root, &out);
        buf_adds(&out, " -xdev ");
        for (char **name = selection->exclude; name && *name; name++) {
                buf_adds(&out, name == selection->exclude ? "-type d '(' -name " : " -o -name ");
                ssh_quote(*name, &out);
        }
        if (selection->exclude && *selection->exclude)
                buf_adds(&out, " ')' -prune -o ");
        buf_adds(&out, "-type f ");
        for (char **name = selection->extensions; name && *name; name++) {
                _cleanup_free_ char *pattern = xasprintf("*.%s", *name);
                buf_adds(&out, name == selection->extensions ? "'(' -name " : " -o -name ");
                ssh_quote(pattern, &out);
        }
        buf_addf(&out, "%s-printf '%s'", selection->extensions ? " ')' " : "", LIST_FORMAT);
        return buf_steal(&out);
}

static int find(struct ssh *ssh, struct finds *finds, struct error *error)
{
        struct search search = {.ssh = ssh,
                                .parser = {.selection = ssh->worker->harvest->selection,
                                           .prefix = ssh->prefix,
                                           .files_max = (size_t)ssh->worker->harvest->limits.vm_files,
                                           .finds = finds}};
        struct child_io io = {.input = -1, .take = on_list, .userdata = &search};
        _cleanup_free_ char *script = find_script(ssh);
        int r = ssh_script(ssh, script, &io, begin_anew, error);
        if (r == -E2BIG) {
                worker_say(ssh->worker,
                           "more than %zu files, or a list without end: the rest is left out "
                           "(harvest.files_max)",
                           finds->n);
                r = 0;
        }
        list_done(&search.parser);
        if (search.parser.bad)
                worker_say(ssh->worker, "%zu names were left out: they lead out of the VM's tree, or are none",
                           search.parser.bad);
        if (r == -EIO && strstr(error_text(error), "No such file") && !finds->n) { /* nobody made it: no file there */
                error_clear(error);
                r = 0;
        }
        if (r == -EIO && ssh->code == FIND_PARTLY && finds->n) { /* a folder that is shut, or that went meanwhile */
                worker_say(ssh->worker, "not everything could be searched: %s", error_text(error));
                error_clear(error);
                finds->cut = true;
                r = 0;
        }
        return r;
}

/* --- all ----------------------------------------------------------------------------------------------------------- */

#define BATCH_FILES 400
#define BATCH_BYTES ((int64_t)512 << 20)

static int transfer_all(struct ssh *ssh, struct finds *finds, struct error *error)
{
        _cleanup_free_ struct found **batch = xcalloc(BATCH_FILES, sizeof *batch);
        struct worker *worker = ssh->worker;
        size_t n = 0;
        int64_t bytes = 0;
        int r = 0;
        for (size_t i = 0; r == 0 && i < finds->n; i++) {
                struct found *found = &finds->list[i];
                bool wanted = worker_judge(worker, found) == FILE_WANTED;
                if (wanted && worker->harvest->look)
                        worker_would(worker, found);
                if (!wanted || worker->harvest->look)
                        continue;
                batch[n++] = found;
                bytes += found->size;
                worker->coming = bytes;
                if (n < BATCH_FILES && bytes < BATCH_BYTES && bytes < worker->harvest->limits.vm_bytes - worker->taken)
                        continue;
                worker->coming = 0;
                r = ssh_batch(ssh, batch, n, error);
                n = 0;
                bytes = 0;
        }
        worker->coming = 0;
        return r == 0 && n ? ssh_batch(ssh, batch, n, error) : r;
}

int fetch_ssh(struct worker *worker, struct error *error)
{
        struct ssh ssh;
        struct finds finds = {0};
        worker_step(worker, "find");
        int r = ssh_open(&ssh, worker, error);
        if (r == 0)
                r = find(&ssh, &finds, error);
        if (r == 0) {
                worker_found(worker, &finds);
                r = transfer_all(&ssh, &finds, error);
        }
        finds_clear(&finds);
        ssh_close(&ssh);
        return r;
}

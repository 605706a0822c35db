/*
 * pg_dump and pg_restore as children that die with us. They read and write descriptors which we opened, so that they
 * may run as the database's user; what they complain about is collected in memory and its end becomes the sentence.
 */
#include "db/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "db/cluster_internal.h"
#include "db/conninfo.h"

#define ROW_BYTES 8192
#define TICK_MS 200
#define LAST_WORDS 1500

extern char **environ;

/* --- the programs' environment ------------------------------------------------------------------------------------ */

struct tool {
        char *bin;
        char *conninfo; /* without secrets */
        char **env;
        size_t n_env;
};

static void tool_deinit(struct tool *tool)
{
        for (size_t i = 0; i < tool->n_env; i++) {
                explicit_bzero(tool->env[i], strlen(tool->env[i]));
                free(tool->env[i]);
        }
        free(tool->env);
        free(tool->bin);
        free(tool->conninfo);
}

static void add_env(struct tool *tool, char *owned)
{
        tool->env = xreallocarray(tool->env, tool->n_env + 2, sizeof(char *));
        tool->env[tool->n_env++] = owned;
        tool->env[tool->n_env] = NULL;
}

/* libpq's own variables and files count for an external database, as they do for the allocator; nothing else does. */
static void fill_env(struct tool *tool, bool external)
{
        add_env(tool, xstrdup("PATH=/usr/local/bin:/usr/bin:/bin"));
        add_env(tool, xstrdup("LC_ALL=C"));
        for (char **variable = environ; external && *variable; variable++)
                if (str_starts(*variable, "PG") || str_starts(*variable, "HOME=") || str_starts(*variable, "KRB5"))
                        add_env(tool, xstrdup(*variable));
}

static int server_major(const char *conninfo, int *ret, struct error *error)
{
        PGconn *pg = PQconnectdb(conninfo);
        int r = 0;
        if (PQstatus(pg) == CONNECTION_OK) {
                *ret = PQserverVersion(pg) / 10000;
        } else {
                _cleanup_free_ char *words = str_trim(xstrdup(PQerrorMessage(pg)));
                r = error_set(error, -ENOTCONN, "the database cannot be reached: %s", words);
        }
        PQfinish(pg);
        return r;
}

static int tool_init(struct tool *tool, const struct backup_place *place, struct error *error)
{
        int major = 0;
        _cleanup_free_ char *password = NULL;
        int r = conninfo_split(place->conninfo, &tool->conninfo, &password, error);
        if (password) { /* first: of two equal names the first counts */
                add_env(tool, xasprintf("PGPASSWORD=%s", password));
                explicit_bzero(password, strlen(password));
        }
        fill_env(tool, !place->directory);
        if (r == 0)
                r = server_major(place->conninfo, &major, error);
        return r < 0 ? r : cluster_find_tools(major, &tool->bin, error);
}

/* --- running them ------------------------------------------------------------------------------------------------- */

struct run {
        pid_t pid;
        int complaints; /* in memory */
};

static void run_deinit(struct run *run)
{
        if (run->pid > 0)
                process_stop(run->pid, true, 5000);
        closep(&run->complaints);
}
#define RUN_NULL ((struct run){.complaints = -1})

/* Root does not read a stranger's file itself: the database's user does. */
static void become_database_user(struct process_spec *spec, const char *directory)
{
        if (geteuid() != 0 || !directory)
                return;
        struct stat st;
        _cleanup_free_ char *data = path_join(directory, "data");
        const struct passwd *user = getpwnam("postgres");
        bool there = stat(data, &st) == 0 && st.st_uid != 0;
        if (!there && !user)
                return;
        spec->drop_ids = true;
        spec->uid = there ? st.st_uid : user->pw_uid;
        spec->gid = there ? st.st_gid : user->pw_gid;
}

static int start(struct run *run, const struct backup_place *place, const struct tool *tool, const char **argv, int in,
                 int out, struct error *error)
{
        _cleanup_free_ char *program = path_join(tool->bin, argv[0]);
        argv[0] = program;
        run->complaints = memfd_create("complaints", MFD_CLOEXEC);
        if (run->complaints < 0)
                return error_errno(error, errno, "cannot start %s", program);
        struct process_spec spec = {.argv = argv,
                                    .env = (const char *const *)tool->env,
                                    .cwd = "/",
                                    .stdin_fd = in,
                                    .stdout_fd = out,
                                    .stderr_fd = run->complaints,
                                    .new_session = true,
                                    .die_with_parent = true};
        become_database_user(&spec, place->directory);
        return process_spawn(&spec, &run->pid, error);
}

/* The last things it said, in one line. */
static char *last_words(int fd)
{
        char tail[LAST_WORDS + 1];
        off_t size = lseek(fd, 0, SEEK_END);
        ssize_t n = pread(fd, tail, LAST_WORDS, MAX(size - LAST_WORDS, (off_t)0));
        struct buf out = BUF_NULL;
        tail[MAX(n, (ssize_t)0)] = '\0';
        _cleanup_strv_ char **lines = str_split(str_trim(tail), '\n');
        for (size_t i = 0; lines[i]; i++)
                buf_addf(&out, "%s%s", i ? "; " : "", str_trim(lines[i]));
        return buf_steal(&out);
}

static int outcome(struct run *run, const char *name, int status, struct error *error)
{
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        _cleanup_free_ char *end = process_outcome(status);
        _cleanup_free_ char *words = last_words(run->complaints);
        return error_set(error, -EIO, "%s: %s%s%s", name, end, *words ? ": " : "", words);
}

/* Until its end; `fd` is shared with it, so that its position says how far it is. */
static int finish(struct run *run, const struct backup_place *place, const char *name, int fd, struct error *error)
{
        int status = 0;
        int64_t told = clock_ms();
        pid_t r;
        while ((r = waitpid(run->pid, &status, WNOHANG)) == 0 || (r < 0 && errno == EINTR)) {
                clock_sleep_ms(20);
                if (!place->tick || clock_ms() < told + TICK_MS)
                        continue;
                told = clock_ms();
                if (!place->tick(place->userdata, MAX((int64_t)lseek(fd, 0, SEEK_CUR), (int64_t)0)))
                        return error_set(error, -ECANCELED, "%s was stopped", name);
        }
        run->pid = 0;
        return r < 0 ? error_errno(error, errno, "cannot wait for %s", name) : outcome(run, name, status, error);
}

/* --- saving ------------------------------------------------------------------------------------------------------- */

int backup_dump(const struct backup_place *place, int fd, struct error *error)
{
        _cleanup_(tool_deinit) struct tool tool = {0};
        _cleanup_(run_deinit) struct run run = RUN_NULL;
        int r = tool_init(&tool, place, error);
        if (r < 0)
                return r;
        const char *argv[] = {"pg_dump",       "--format=custom", "--no-owner",
                              "--no-password", "--no-privileges", "--lock-wait-timeout=60000",
                              "--dbname",      tool.conninfo,     NULL};
        r = start(&run, place, &tool, argv, PROCESS_FD_NULL, fd, error);
        return r < 0 ? r : finish(&run, place, "pg_dump", fd, error);
}

static int put_in_place(const char *aside, const char *path, bool replace)
{
        if (!replace) {
                if (renameat2(AT_FDCWD, aside, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
                        return 0;
                if (errno != EINVAL && errno != ENOSYS)
                        return -errno;
                if (access(path, F_OK) == 0)
                        return -EEXIST;
        }
        return rename(aside, path) < 0 ? -errno : 0;
}

static void sync_directory(const char *path)
{
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *directory = slash ? xasprintf("%.*s", (int)(slash - path + 1), path) : xstrdup(".");
        _cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
                fsync(fd);
}

int backup_write(const struct backup_place *place, const char *path, bool replace, struct error *error)
{
        if (!replace && access(path, F_OK) == 0)
                return error_set(error, -EEXIST, "%s is there already", path);
        _cleanup_free_ char *aside = xasprintf("%s.XXXXXX", path);
        _cleanup_close_ int fd = mkostemp(aside, O_CLOEXEC); /* 0600 */
        if (fd < 0)
                return error_errno(error, errno, "cannot write %s", path);
        int r = backup_dump(place, fd, error);
        if (r == 0 && fsync(fd) < 0)
                r = error_errno(error, errno, "cannot write %s", path);
        if (r == 0) {
                r = put_in_place(aside, path, replace);
                if (r < 0)
                        error_errno(error, -r, "cannot write %s", path);
        }
        if (r < 0)
                unlink(aside);
        else
                sync_directory(path);
        return r;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* A name as SQL writes it, "public"."vms" or public.vms, without schema and quotes. In place. */
static const char *plain_name(char *name)
{
        char *dot = NULL;
        bool quoted = false;
        for (char *c = name; *c; c++) {
                quoted ^= *c == '"';
                if (*c == '.' && !quoted)
                        dot = c;
        }
        char *start = dot ? dot + 1 : name, *to = start;
        if (*start != '"')
                return start;
        for (const char *from = start + 1; *from && !(from[0] == '"' && from[1] != '"'); from++) {
                from += *from == '"';
                *to++ = *from;
        }
        *to = '\0';
        return start;
}

/* COPY public.vms (id, hostname) FROM stdin; */
static bool begin_table(const struct backup_reader *reader, char *line)
{
        if (!str_starts(line, "COPY ") || !str_ends(line, ") FROM stdin;"))
                return false;
        char *columns = strstr(line, " (");
        line[strlen(line) - strlen(") FROM stdin;")] = '\0';
        if (!columns)
                return false;
        *columns = '\0';
        reader->table(reader->userdata, plain_name(line + strlen("COPY ")), columns + 2);
        return true;
}

static void read_script(FILE *script, const struct backup_reader *reader)
{
        char line[ROW_BYTES];
        bool inside = false, rest = false;
        while (fgets(line, sizeof line, script)) {
                size_t len = strlen(line);
                bool whole = len && line[len - 1] == '\n', begins = !rest;
                if (whole)
                        line[len - 1] = '\0';
                rest = !whole;
                if (!begins)
                        continue;
                if (!inside)
                        inside = begin_table(reader, line);
                else if (str_eq(line, "\\."))
                        inside = false;
                else
                        reader->row(reader->userdata, line);
        }
}

int backup_read(const struct backup_place *place, int fd, const struct backup_reader *reader, struct error *error)
{
        struct stat st;
        _cleanup_(tool_deinit) struct tool tool = {0};
        _cleanup_(run_deinit) struct run run = RUN_NULL;
        int pipe[2];
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || lseek(fd, 0, SEEK_SET) < 0)
                return error_set(error, -EBADMSG, "it is no regular file");
        fill_env(&tool, false);
        int r = cluster_find_tools(0, &tool.bin, error);
        if (r < 0)
                return r;
        if (pipe2(pipe, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot start pg_restore");
        const char *argv[] = {"pg_restore", "--format=custom", "--data-only", "--file=-", NULL};
        r = start(&run, place, &tool, argv, fd, pipe[1], error);
        close(pipe[1]);
        FILE *script = fdopen(pipe[0], "r");
        if (r == 0 && script)
                read_script(script, reader);
        if (script)
                fclose(script);
        if (r == 0)
                r = finish(&run, place, "pg_restore", fd, error);
        if (r == -EIO && error)
                error->code = -EBADMSG;
        return r == -EIO ? -EBADMSG : r;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

int backup_load(const struct backup_place *place, int fd, bool clean, struct error *error)
{
        _cleanup_(tool_deinit) struct tool tool = {0};
        _cleanup_(run_deinit) struct run run = RUN_NULL;
        int r = tool_init(&tool, place, error);
        if (r < 0)
                return r;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return error_errno(error, errno, "cannot read the file");
        const char *argv[] = {"pg_restore", "--format=custom", "--single-transaction",   "--exit-on-error",
                              "--no-owner", "--no-privileges", "--no-tablespaces",       "--no-password",
                              "--dbname",   tool.conninfo,     clean ? "--clean" : NULL, "--if-exists",
                              NULL};
        r = start(&run, place, &tool, argv, fd, PROCESS_FD_NULL, error);
        return r < 0 ? r : finish(&run, place, "pg_restore", fd, error);
}

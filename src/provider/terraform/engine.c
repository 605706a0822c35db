/*
 * Running tofu or terraform. Its output goes into memory files, not pipes: a runner that is killed leaves no broken pipe
 * behind, on which the engine would die in the middle of an apply and forget what it has made. What was read is given back
 * to the machine at once, so that a module that prints without end takes no memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

#define TICK_MS 50
#define TICKS_MS 1000 /* between two calls of engine_call.tick */
#define ASK_MS 200
#define PATIENCE_MS (15 * 60 * 1000) /* after it was asked to stop; then it is asked to stop at once */
#define HURRY_MS (60 * 1000)         /* and then it is killed */
#define READ_AT_ONCE ((size_t)1 << 20)

/* --- finding it ---------------------------------------------------------------------------------------------------- */

static bool is_program(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static char *in_path(const char *name)
{
        if (strchr(name, '/'))
                return is_program(name) ? xstrdup(name) : NULL;
        _cleanup_strv_ char **places = str_split(str_or(getenv("PATH"), "/usr/local/bin:/usr/bin:/bin"), ':');
        for (char **place = places; *place; place++) {
                char *path = path_join(**place ? *place : ".", name);
                if (**place == '/' && is_program(path))
                        return path;
                free(path);
        }
        return NULL;
}

char *engine_find(const struct config *config)
{
        if (*config->terraform.engine)
                return in_path(config->terraform.engine);
        char *path = in_path("tofu");
        return path ? path : in_path("terraform");
}

/* --- its environment ----------------------------------------------------------------------------------------------- */

struct environment {
        char **list;
        size_t n;
};

static bool is_set_by_us(const char *entry)
{
        static const char *const names[] = {
                "TF_IN_AUTOMATION=", "TF_INPUT=", "TF_DATA_DIR=",        "TF_LOG",           "TF_CLI_ARGS",
                "TF_WORKSPACE=",     "LABLINK_",  "CHECKPOINT_DISABLE=", TOKENS_VARIABLE "="};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_starts(entry, names[i]))
                        return true;
        return false;
}

static void put(struct environment *e, char *entry)
{
        e->list = xreallocarray(e->list, e->n + 2, sizeof *e->list);
        e->list[e->n++] = entry;
        e->list[e->n] = NULL;
}

static void put_text(struct environment *e, const char *name, const char *value)
{
        put(e, xasprintf("%s=%s", name, value));
}

static void put_given(struct environment *e, const char *name, const char *value)
{
        if (value && *value)
                put_text(e, name, value);
}

/* Keys of the admin form win over those of our own environment, all three of them. */
static void put_aws(struct environment *e, const struct provider *p)
{
        put_given(e, "AWS_ACCESS_KEY_ID", p->aws.access_key_id);
        put_given(e, "AWS_SECRET_ACCESS_KEY", p->aws.secret_access_key);
        put_given(e, "AWS_SESSION_TOKEN", p->aws.session_token);
        if (!getenv("AWS_REGION"))
                put_text(e, "AWS_REGION", p->config->app.region);
}

static bool is_aws_key(const char *entry)
{
        return str_starts(entry, "AWS_ACCESS_KEY_ID=") || str_starts(entry, "AWS_SECRET_ACCESS_KEY=") ||
               str_starts(entry, "AWS_SESSION_TOKEN=") || str_starts(entry, "AWS_PROFILE=");
}

static void put_ours(struct environment *e, const struct provider *p)
{
        char runner[4096];
        ssize_t n = readlink("/proc/self/exe", runner, sizeof runner - 1);
        _cleanup_free_ char *data = tf_path(p, "data");
        _cleanup_free_ char *settings = tf_path(p, "settings.json");
        _cleanup_free_ char *script = config_startup_script(p->config);
        _cleanup_free_ char *text = tokens_text(p);
        put_text(e, "TF_IN_AUTOMATION", "1");
        put_text(e, "TF_INPUT", "0");
        put_text(e, "CHECKPOINT_DISABLE", "1");
        put_text(e, "TF_DATA_DIR", data);
        put_text(e, TOKENS_VARIABLE, text);
        /* Switched off it must not be found at the module's default place either; deployed modules take no "". */
        put_text(e, "TF_VAR_custom_startup_script_path", str_or(script, "/nonexistent/custom-startup.sh"));
        put_text(e, "LABLINK_RUNNER", n > 0 ? (runner[n] = '\0', runner) : "lablink-runner");
        put_text(e, "LABLINK_SETTINGS", settings);
        if (!getenv("HOME"))
                put_text(e, "HOME", p->dir);
}

/* The engine warns of a settings file that is not there, in the middle of the JSON that it was asked for. */
static bool is_dangling(const char *entry)
{
        static const char name[] = "TF_CLI_CONFIG_FILE=";
        return str_starts(entry, name) && access(entry + strlen(name), R_OK) < 0;
}

char **engine_environment(const struct provider *p)
{
        struct environment e = {0};
        for (char **entry = environ; *entry; entry++)
                if (!is_set_by_us(*entry) && !is_dangling(*entry) && !(p->aws.access_key_id && is_aws_key(*entry)))
                        put(&e, xstrdup(*entry));
        put_ours(&e, p);
        put_aws(&e, p);
        return e.list;
}

/* --- its output ---------------------------------------------------------------------------------------------------- */

struct output {
        int fd;
        off_t read;
        struct buf partial;
        bool skipping; /* the rest of a line that was too long */
};

struct run {
        const struct engine_call *call;
        struct output out[2];
        pid_t pid;
        int status;
        int64_t asked_ms, ticked_ms, stopping_ms, hurried_ms;
        bool stopped, too_much;
};

static void give_lines(struct run *run, int which, bool at_end)
{
        struct output *o = &run->out[which];
        size_t start = 0;
        char *newline;
        while (start < o->partial.len && (newline = memchr(o->partial.data + start, '\n', o->partial.len - start))) {
                size_t len = (size_t)(newline - o->partial.data) - start;
                if (!o->skipping)
                        run->call->line(run->call->userdata, o->partial.data + start, len, which == 1);
                o->skipping = false;
                start += len + 1;
        }
        buf_consume(&o->partial, start);
        bool cut = o->partial.len > ENGINE_LINE_MAX;
        if (o->partial.len == 0 || (!cut && !at_end))
                return;
        if (!o->skipping)
                run->call->line(run->call->userdata, o->partial.data, o->partial.len, which == 1);
        o->skipping = cut;
        buf_truncate(&o->partial, 0);
}

static void take(struct run *run, int which, bool at_end)
{
        if (run->call->out && which == 0) {
                struct output *o = &run->out[0];
                run->too_much |= run->call->out->len + o->partial.len > ENGINE_OUTPUT_MAX;
                if (!run->too_much && o->partial.len)
                        buf_add(run->call->out, o->partial.data, o->partial.len);
                buf_truncate(&o->partial, 0);
        } else if (run->call->line) {
                give_lines(run, which, at_end);
        } else {
                buf_truncate(&run->out[which].partial, 0);
        }
}

/* Everything that is there by now. */
static void read_output(struct run *run, int which)
{
        struct output *o = &run->out[which];
        for (;;) {
                buf_reserve(&o->partial, READ_AT_ONCE);
                ssize_t n = pread(o->fd, o->partial.data + o->partial.len, READ_AT_ONCE, o->read);
                if (n <= 0)
                        return;
                o->partial.len += (size_t)n;
                o->partial.data[o->partial.len] = '\0';
                o->read += n;
                fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, o->read);
                take(run, which, false);
        }
}

/* --- stopping it --------------------------------------------------------------------------------------------------- */

static void ask_to_stop(struct run *run, int64_t now)
{
        sink_line(run->call->sink,
                  "Cancelling: the engine is asked to stop; what it is just making it finishes or gives up.");
        run->stopped = true;
        run->stopping_ms = now;
        kill(run->pid, SIGINT);
}

static void look_at_clock(struct run *run)
{
        int64_t now = clock_ms();
        const struct provider_sink *sink = run->call->sink;
        if (run->stopped && !run->hurried_ms && now - run->stopping_ms > PATIENCE_MS) {
                run->hurried_ms = now;
                kill(run->pid, SIGINT);
        } else if (run->hurried_ms && now - run->hurried_ms > HURRY_MS) {
                kill(run->pid, SIGKILL);
        } else if (!run->stopped && sink && sink->cancelled && now - run->asked_ms >= ASK_MS) {
                run->asked_ms = now;
                if (sink->cancelled(sink->userdata))
                        ask_to_stop(run, now);
        }
}

static void tick(struct run *run, struct provider *p)
{
        int64_t now = clock_ms();
        if (!run->call->tick || now - run->ticked_ms < TICKS_MS)
                return;
        run->ticked_ms = now;
        run->call->tick(p);
}

static void follow(struct run *run, struct provider *p)
{
        _cleanup_close_ int child = (int)syscall(SYS_pidfd_open, run->pid, 0);
        for (;;) {
                struct pollfd fd = {.fd = child, .events = POLLIN};
                poll(&fd, 1, TICK_MS);
                pid_t pid = waitpid(run->pid, &run->status, WNOHANG);
                for (int i = 0; i < 2; i++)
                        read_output(run, i);
                if (pid != 0 && !(pid < 0 && errno == EINTR))
                        break;
                look_at_clock(run);
                tick(run, p);
        }
        for (int i = 0; i < 2; i++)
                take(run, i, true);
}

/* --- running it ---------------------------------------------------------------------------------------------------- */

static const char **command(const struct provider *p, const struct engine_call *call)
{
        size_t n = 0;
        while (call->argv[n])
                n++;
        const char **argv = xcalloc(n + 2, sizeof *argv);
        argv[0] = p->engine;
        memcpy(argv + 1, call->argv, n * sizeof *argv);
        return argv;
}

static int start(struct provider *p, struct run *run, struct error *error)
{
        _cleanup_strv_ char **env = engine_environment(p);
        _cleanup_free_ const char **argv = command(p, run->call);
        for (int i = 0; i < 2; i++) {
                run->out[i].fd = memfd_create("engine", MFD_CLOEXEC);
                if (run->out[i].fd < 0)
                        return error_errno(error, errno, "cannot keep the engine's output");
        }
        struct process_spec spec = {.argv = argv,
                                    .env = (const char *const *)env,
                                    .cwd = p->work,
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stdout_fd = run->out[0].fd,
                                    .stderr_fd = run->out[1].fd,
                                    .keep_fds = &p->lock_fd,
                                    .n_keep_fds = p->lock_fd >= 0,
                                    .new_session = true};
        return process_spawn(&spec, &run->pid, error);
}

int engine_run(struct provider *p, const struct engine_call *call, int *ret_status, struct error *error)
{
        struct run run = {.call = call, .out = {{.fd = -1}, {.fd = -1}}};
        if (!p->engine)
                return error_set(error, -ENOENT, "there is neither tofu nor terraform here");
        int r = start(p, &run, error);
        if (r == 0)
                follow(&run, p);
        for (int i = 0; i < 2; i++) {
                closep(&run.out[i].fd);
                buf_deinit(&run.out[i].partial);
        }
        *ret_status = run.status;
        if (r == 0 && run.too_much)
                r = error_set(error, -EFBIG, "it printed more than %zu MB", ENGINE_OUTPUT_MAX >> 20);
        if (r == 0 && run.stopped)
                r = error_set(error, -ECANCELED, "cancelled");
        return r;
}

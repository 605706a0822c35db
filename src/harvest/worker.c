/* The child that collects one VM: what all transports share (worker.h). */
#include "harvest/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/text.h"
#include "harvest/confine.h"

#define BLOCK_BYTES (256 << 10)
#define DISK_RESERVE ((int64_t)512 << 20) /* is left free for the lab itself */

/* --- telling ------------------------------------------------------------------------------------------------------- */

static void tell(struct worker *worker, json_t *line)
{
        _cleanup_free_ char *text = json_text(line);
        json_decref(line);
        size_t len = strlen(text);
        text[len] = '\n'; /* in the place of its NUL */
        if (fd_write_all(worker->out, text, len + 1) < 0)
                _exit(1); /* the parent has gone */
}

static json_t *text_json(const char *text)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(text, strlen(text), &clean);
        return json_string(buf_str(&clean));
}

void worker_step(struct worker *worker, const char *step)
{
        tell(worker, json_pack("{s:s}", "step", step));
}

void worker_alive(struct worker *worker)
{
        tell(worker, json_object());
}

void worker_say(struct worker *worker, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        tell(worker, json_pack("{s:o}", "say", text_json(text)));
}

void worker_would(struct worker *worker, const struct found *found)
{
        tell(worker, json_pack("{s:I}", "would", (json_int_t)found->size));
}

static void put_path(json_t *json, const char *path)
{
        if (utf8_valid(path, strlen(path))) {
                json_object_set_new(json, "path", json_string(path));
                return;
        }
        _cleanup_free_ char *text = path_base64(path);
        json_object_set_new(json, "path_base64", json_string(text));
}

static void tell_skip(struct worker *worker, const char *path, int64_t size, const char *reason, size_t count)
{
        json_t *skip = json_pack("{s:I, s:o}", "size", (json_int_t)size, "reason", text_json(reason));
        put_path(skip, path);
        tell(worker, json_pack("{s:o, s:I}", "skip", skip, "count", (json_int_t)count));
}

void worker_skip(struct worker *worker, const struct found *found, const char *reason)
{
        tell_skip(worker, found->path, found->size, reason, 1);
}

void worker_found(struct worker *worker, const struct finds *finds)
{
        static const char reason[] = "its path is too long, too deep, or leads nowhere";
        tell(worker, json_pack("{s:I, s:I}", "found", (json_int_t)finds->n, "bytes", (json_int_t)finds->bytes));
        for (size_t i = 0; i < finds->left_n; i++)
                tell_skip(worker, finds->left[i].path, finds->left[i].size, reason, 1);
        size_t more = finds->left_all - finds->left_n;
        _cleanup_free_ char *rest = xasprintf("(%zu more)", more);
        if (more)
                tell_skip(worker, rest, 0, reason, more);
        if (finds->cut)
                tell_skip(worker, "(what was not found)", 0,
                          "more than harvest.files_max files, or not everything could be searched", 1);
}

/* `incoming`: the name under which it lies in the worker's place; NULL: it is kept already. */
static void tell_file(struct worker *worker, const struct entry *entry, const char *incoming)
{
        worker->files++;
        tell(worker, json_pack("{s:o, s:s?}", "file", entry_json(entry), "incoming", incoming));
}

/* --- judging ------------------------------------------------------------------------------------------------------- */

static bool disk_has_room(const struct store *store, int64_t bytes)
{
        struct statvfs disk;
        if (fstatvfs(store->objects, &disk) < 0)
                return true;
        return (int64_t)disk.f_bavail * (int64_t)disk.f_frsize > bytes + DISK_RESERVE;
}

static const char *refusal(struct worker *worker, const struct found *found)
{
        const struct harvest_limits *limits = &worker->harvest->limits;
        int64_t coming = worker->coming;
        if (worker->files >= limits->vm_files)
                return "over the limit of files of one VM (harvest.files_max)";
        if (found->size > limits->vm_bytes - worker->taken - coming)
                return "over the limit of one VM (harvest.vm_limit)";
        if (found->size > limits->all_bytes - atomic_load(&worker->shared->bytes) - coming)
                return "over the limit of all VMs together (harvest.limit)";
        if (!worker->harvest->look && !disk_has_room(worker->harvest->store, found->size + coming))
                return "the allocator's disk is full";
        return NULL;
}

enum verdict worker_judge(struct worker *worker, const struct found *found)
{
        const struct entry *had = entries_find(&worker->seat->had, found->path);
        const struct store *store = worker->harvest->store;
        bool same_file = had && had->size == found->size && had->mtime_ns == found->mtime_ns;
        if (same_file && store_holds(store, had)) {
                struct entry same = *had;
                same.mode = found->mode;
                worker->taken += same.size;
                tell_file(worker, &same, NULL);
                return FILE_KNOWN;
        }
        const char *why = refusal(worker, found);
        if (!why)
                return FILE_WANTED;
        worker_skip(worker, found, why);
        return FILE_REFUSED;
}

/* --- taking -------------------------------------------------------------------------------------------------------- */

static int copy(struct worker *worker, int fd, int64_t limit, struct incoming *to, int *ret_theirs)
{
        static char block[BLOCK_BYTES];
        int64_t told = clock_ms();
        while (to->size < limit) {
                ssize_t n = read(fd, block, (size_t)MIN((int64_t)sizeof block, limit - to->size));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        *ret_theirs = n < 0 ? -errno : 0;
                        return 0;
                }
                int r = incoming_write(to, block, (size_t)n);
                if (r < 0)
                        return r;
                if (clock_ms() - told >= 500) {
                        told = clock_ms();
                        worker_alive(worker);
                }
        }
        return 0;
}

/* The bytes are taken from what is free before they are written, so that many at once never exceed it. */
static bool reserve(struct worker *worker, int64_t bytes)
{
        int64_t all = worker->harvest->limits.all_bytes;
        if (atomic_fetch_add(&worker->shared->bytes, bytes) + bytes <= all)
                return true;
        atomic_fetch_sub(&worker->shared->bytes, bytes);
        return false;
}

struct source {
        int fd, from;
        const char *path; /* below `from`; with -1 it is somebody else's */
};

/* 0, or ours; *ret_theirs: what is wrong with the file. */
static int bring(struct worker *worker, const struct found *found, const struct source *source,
                 struct incoming *incoming, int *ret_theirs)
{
        bool moves = source->from >= 0;
        int r = moves ? incoming_begin(incoming) : incoming_open(worker->place, incoming);
        *ret_theirs = 0;
        if (r == 0)
                r = copy(worker, source->fd, found->size, incoming, ret_theirs);
        failpoint("collect.file-copied");
        if (r == 0 && moves && *ret_theirs == 0)
                r = incoming_move(worker->place, incoming, source->fd, source->from, source->path);
        return r;
}

static int take_reserved(struct worker *worker, const struct found *found, struct source *source,
                         struct incoming *incoming, struct error *error)
{
        struct entry entry = {.path = found->path, .mtime_ns = found->mtime_ns, .mode = found->mode};
        int theirs;
        int r = bring(worker, found, source, incoming, &theirs);
        if (r < 0 && source->from >= 0 && lseek(source->fd, 0, SEEK_SET) == 0) { /* it cannot be moved */
                incoming_drop(worker->place, incoming);
                source->from = -1;
                r = bring(worker, found, source, incoming, &theirs);
        }
        entry.size = incoming->size;
        if (r == 0 && theirs == 0)
                r = incoming_end(incoming, entry.hash);
        if (r < 0)
                return error_errno(error, -r, "cannot keep the files");
        if (theirs < 0) {
                worker_skip(worker, found, strerror(-theirs));
                return 0;
        }
        atomic_fetch_sub(&worker->shared->bytes, found->size - entry.size); /* it was shorter than promised */
        worker->taken += entry.size;
        entry.at = clock_now();
        tell_file(worker, &entry, incoming->name);
        incoming->name[0] = '\0'; /* it is the parent's now */
        failpoint("collect.file-told");
        return 0;
}

int worker_take(struct worker *worker, const struct found *found, int fd, int from, const char *path,
                struct error *error)
{
        struct incoming incoming = {.fd = -1};
        struct source source = {.fd = fd, .from = from, .path = path};
        if (!reserve(worker, found->size)) {
                worker_skip(worker, found, "over the limit of all VMs together (harvest.limit)");
                return 0;
        }
        int64_t told = worker->files;
        int r = take_reserved(worker, found, &source, &incoming, error);
        if (worker->files == told)
                atomic_fetch_sub(&worker->shared->bytes, found->size);
        incoming_drop(worker->place, &incoming);
        return r;
}

/* --- the child ----------------------------------------------------------------------------------------------------- */

/* No file of a VM is larger than its limit, and nothing is written but in the worker's own place and the file of the VM's
 * host key, which is made first so that nothing beside it need be writable. */
static void shut_in(struct worker *worker)
{
        const char *known_hosts = worker->seat->reach.known_hosts_file;
        const char *places[] = {worker->work, known_hosts, NULL};
        _cleanup_close_ int made = known_hosts ? open(known_hosts,
                                                      O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)
                                               : -1;
        rlim_t most = (rlim_t)worker->harvest->limits.vm_bytes;
        struct rlimit size = {.rlim_cur = most, .rlim_max = most};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &size);
        confine_writes(places);
}

static void settle(struct worker *worker)
{
        struct rlimit core = {0};
        setrlimit(RLIMIT_CORE, &core);
        prctl(PR_SET_CHILD_SUBREAPER, 1); /* child.c ends what its programs leave behind */
        signal(SIGPIPE, SIG_IGN);
        fcntl(worker->out, F_SETFD, FD_CLOEXEC);
        shut_in(worker);
}

int worker_main(struct worker *worker)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        settle(worker);
        int r = worker->seat->reach.kind == REACH_DIRECTORY ? fetch_directory(worker, &error)
                                                            : fetch_ssh(worker, &error);
        if (r < 0)
                tell(worker, json_pack("{s:o}", "failed", text_json(error_text(&error))));
        else
                tell(worker, json_pack("{s:b}", "done", 1));
        return r < 0 ? 1 : 0;
}

/* What must stand before the first child starts: sockets, the database and its schema. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "allocator/supervisor.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "lab/save.h"
#include "lab/schema.h"

#define BACKLOG 4096
#define EXTERNAL_PATIENCE_MS 60000

/* --- the state directory ------------------------------------------------------------------------------------------- */

/* Whoever owns it is an administrator and could put other files in the place of ours; one that everybody may write into
 * (/tmp) is not for us alone. What was there keeps its mode but for what we need: nobody else writes, all may pass. */
int prepare_state_dir(struct supervisor *s, struct error *error)
{
        struct stat st;
        const char *path = s->state_dir;
        if (stat(path, &st) < 0)
                return errno == ENOENT ? dir_make(path, 0711, error) : error_errno(error, errno, "cannot use %s", path);
        if (!S_ISDIR(st.st_mode))
                return error_set(error, -ENOTDIR, "%s is no directory", path);
        if (st.st_uid != geteuid())
                return error_set(error, -EPERM, "%s belongs to the user with the id %d, the allocator runs as %d", path,
                                 (int)st.st_uid, (int)geteuid());
        if (st.st_mode & S_ISVTX)
                return error_set(error, -EPERM, "%s is shared by all users: choose a directory in it", path);
        mode_t mode = ((st.st_mode & 07777) & ~(mode_t)022) | 0111;
        if (mode != (st.st_mode & 07777) && chmod(path, mode) < 0)
                return error_errno(error, errno, "cannot set the mode of %s", path);
        return 0;
}

/* --- sockets ------------------------------------------------------------------------------------------------------- */

static int bind_tcp(const char *address, int *ret, struct error *error)
{
        _cleanup_free_ char *copy = xstrdup(address);
        char *colon = strrchr(copy, ':');
        if (!colon)
                return error_set(error, -EINVAL, "listen.address %s has no port", address);
        *colon = '\0';
        char *host = copy;
        size_t len = strlen(host);
        if (host[0] == '[' && len && host[len - 1] == ']') {
                host[len - 1] = '\0';
                host++;
        }
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
        int g = getaddrinfo(host, colon + 1, &hints, &found);
        if (g != 0)
                return error_set(error, -EINVAL, "cannot listen on %s: %s", address, gai_strerror(g));
        _cleanup_close_ int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int one = 1, zero = 0;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (found->ai_family == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
        int r = bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
        freeaddrinfo(found);
        if (r < 0)
                return error_errno(error, -r, "cannot listen on %s", address);
        *ret = STEAL_FD(fd);
        return 0;
}

static int bind_unix(const char *path, int *ret, struct error *error)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (strlen(path) >= sizeof address.sun_path)
                return error_set(error, -ENAMETOOLONG,
                                 "the path of the socket %s is longer than %zu bytes; choose a shorter state_dir", path,
                                 sizeof address.sun_path - 1);
        memcpy(address.sun_path, path, strlen(path));
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        unlink(path);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0666) < 0 ||
            listen(fd, BACKLOG) < 0)
                return error_errno(error, errno, "cannot listen on %s", path);
        *ret = STEAL_FD(fd);
        return 0;
}

/* Port 0 asks the kernel for a free one: the URL names the one that it gave. */
static void name_real_port(struct supervisor *s)
{
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        char port[8];
        if (!str_ends(s->public_url, ":0") || getsockname(s->listen_tcp, (struct sockaddr *)&address, &len) < 0 ||
            getnameinfo((struct sockaddr *)&address, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
                return;
        char *url = xasprintf("%.*s:%s", (int)strlen(s->public_url) - 2, s->public_url, port);
        free(s->public_url);
        s->public_url = url;
}

int prepare_sockets(struct supervisor *s, struct error *error)
{
        _cleanup_free_ char *run = path_join(s->state_dir, "run");
        _cleanup_free_ char *vm_dir = path_join(run, "vm");
        _cleanup_free_ char *admin = path_join(run, "admin.sock");
        _cleanup_free_ char *vm = path_join(vm_dir, "allocator.sock");
        int r = dir_make(run, 0711, error);
        if (r == 0)
                r = dir_make(vm_dir, 0711, error);
        if (r == 0)
                r = bind_tcp(s->config->listen.address, &s->listen_tcp, error);
        if (r == 0)
                name_real_port(s);
        if (r == 0)
                r = bind_unix(admin, &s->listen_admin, error);
        if (r == 0)
                r = bind_unix(vm, &s->listen_vm, error);
        return r;
}

/* --- the database -------------------------------------------------------------------------------------------------- */

int web_user_ids(uid_t *ret_uid, gid_t *ret_gid, const char **ret_name)
{
        static const char *const names[] = {"lablink", "nobody"};
        if (geteuid() != 0)
                return -EPERM;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const struct passwd *user = getpwnam(names[i]);
                if (!user)
                        continue;
                *ret_uid = user->pw_uid;
                *ret_gid = user->pw_gid;
                *ret_name = names[i];
                return 0;
        }
        return -ENOENT;
}

static int start_cluster(struct supervisor *s, struct error *error)
{
        uid_t uid;
        gid_t gid;
        const char *peers[] = {NULL, NULL};
        _cleanup_free_ char *directory = path_join(s->state_dir, "db");
        web_user_ids(&uid, &gid, &peers[0]);
        struct cluster_options options = {
                .directory = directory, .peers = peers, .dbname = s->config->db.dbname, .role = s->config->db.user};
        int r = cluster_start(&options, &s->cluster, error);
        if (r < 0)
                return error_wrap(error, "the embedded database cannot start");
        str_replace(&s->conninfo, cluster_conninfo(s->cluster));
        return 0;
}

static int open_patiently(struct supervisor *s, struct db **ret, struct error *error)
{
        int64_t deadline = clock_ms() + (config_db_embedded(s->config) ? 5000 : EXTERNAL_PATIENCE_MS);
        for (bool told = false;; told = true) {
                int r = db_open(s->conninfo, "lablink-supervisor", ret, error);
                if (r == 0 || clock_ms() > deadline)
                        return r;
                if (!told)
                        log_warning("%s; trying for a minute", error_text(error));
                clock_sleep_ms(500);
        }
}

static int save_old_schema(struct supervisor *s, struct db *db, struct error *error)
{
        _cleanup_free_ char *directory = path_join(s->state_dir, "db");
        struct backup_place place = {.conninfo = s->conninfo, .directory = directory};
        return save_before_migration(db, &place, s->state_dir, error);
}

int prepare_database(struct supervisor *s, struct error *error)
{
        _cleanup_db_ struct db *db = NULL;
        int r = 0;
        if (config_db_embedded(s->config))
                r = start_cluster(s, error);
        else
                s->conninfo = config_db_conninfo(s->config);
        if (r == 0)
                r = open_patiently(s, &db, error);
        if (r == 0 && s->cluster)
                r = save_old_schema(s, db, error);
        if (r == 0)
                r = schema_migrate(db, s->config, error);
        return r;
}

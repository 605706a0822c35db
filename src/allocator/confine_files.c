/*
 * The fence around files and ports (landlock, Linux 5.13 and later). The web process opens no file by itself: what it
 * needs came through inherited descriptors. Its libraries do: modules of the C library, time zones, and, on the way to a
 * database on another machine, the files of name resolution and of TLS. The list is what they need.
 *
 * The kernel's numbers are written out here, because the oldest supported distribution's headers end at version 2.
 */
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/confine.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define CALL_CREATE 444
#define CALL_ADD_RULE 445
#define CALL_RESTRICT 446
#define CREATE_VERSION 1u

#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2

#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_ALL_V1 ((UINT64_C(1) << 13) - 1)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define NET_ALL UINT64_C(3)   /* bind, connect */
#define SCOPE_ALL UINT64_C(3) /* abstract sockets, signals */

struct ruleset {
        uint64_t handled_fs, handled_net, scoped;
};

struct path_rule {
        uint64_t allowed;
        int32_t fd;
} __attribute__((packed));

struct port_rule {
        uint64_t allowed, port;
};

static const char *const always[] = {"/usr/lib",
                                     "/lib",
                                     "/lib64",
                                     "/usr/lib64",
                                     "/usr/local/lib",
                                     "/proc/self",
                                     "/etc/passwd",
                                     "/etc/nsswitch.conf",
                                     "/etc/localtime",
                                     "/etc/ld.so.cache",
                                     "/usr/share/zoneinfo",
                                     "/dev/urandom"};
/* Whole directories: such files are replaced by renaming, and a rule holds a file, not its name. */
static const char *const for_remote[] = {"/etc",
                                         "/run/systemd/resolve",
                                         "/run/NetworkManager",
                                         "/run/resolvconf",
                                         "/usr/share/ca-certificates",
                                         "/usr/local/share/ca-certificates"};
static const char *const file_options[] = {"sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile"};

/* --- what the way to the database needs ---------------------------------------------------------------------------- */

struct route {
        PQconninfoOption *given, *standing; /* of the conninfo; of the environment */
};

static const char *option_in(const PQconninfoOption *options, const char *name)
{
        for (const PQconninfoOption *o = options; o && o->keyword; o++)
                if (str_eq(o->keyword, name))
                        return o->val && *o->val ? o->val : NULL;
        return NULL;
}

static const char *option(const struct route *route, const char *name)
{
        const char *value = option_in(route->given, name);
        return value ? value : option_in(route->standing, name);
}

/* A service file may name any host: then nothing is known. */
static bool is_remote(const struct route *route)
{
        const char *host = option(route, "host");
        return option(route, "hostaddr") || option_in(route->given, "service") || getenv("PGSERVICE") ||
               !route->given || (host && host[0] != '/' && host[0] != '@');
}

static bool ports_known(const struct route *route)
{
        return route->given && !option_in(route->given, "service") && !getenv("PGSERVICE");
}

/* --- rules --------------------------------------------------------------------------------------------------------- */

static void allow_path(int rules, const char *path, uint64_t rights)
{
        _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return;
        if (!S_ISDIR(st.st_mode))
                rights &= ~FS_READ_DIR;
        struct path_rule rule = {.allowed = rights, .fd = fd};
        syscall(CALL_ADD_RULE, rules, RULE_PATH_BENEATH, &rule, 0);
}

static void allow_port(int rules, const char *text)
{
        int64_t port;
        if (parse_int(text, 1, 65535, &port) < 0)
                return;
        struct port_rule rule = {.allowed = NET_CONNECT_TCP, .port = (uint64_t)port};
        syscall(CALL_ADD_RULE, rules, RULE_NET_PORT, &rule, 0);
}

static void allow_paths(int rules, const char *const *paths, size_t n)
{
        for (size_t i = 0; i < n; i++)
                allow_path(rules, paths[i], FS_READ_FILE | FS_READ_DIR);
}

static void allow_home_files(int rules)
{
        static const char *const names[] = {".postgresql", ".pgpass", ".pg_service.conf"};
        const char *home = getenv("HOME");
        for (size_t i = 0; home && *home == '/' && i < ARRAY_SIZE(names); i++) {
                _cleanup_free_ char *path = path_join(home, names[i]);
                allow_path(rules, path, FS_READ_FILE | FS_READ_DIR);
        }
}

static void allow_database(int rules, const struct route *route)
{
        for (size_t i = 0; i < ARRAY_SIZE(file_options); i++) {
                const char *path = option(route, file_options[i]);
                if (path && path[0] == '/')
                        allow_path(rules, path, FS_READ_FILE | FS_READ_DIR);
        }
        if (!is_remote(route))
                return;
        allow_paths(rules, for_remote, ARRAY_SIZE(for_remote));
        allow_home_files(rules);
        allow_port(rules, "53"); /* a long answer of a name server */
        char **ports = str_split(str_or(option(route, "port"), "5432"), ',');
        for (size_t i = 0; ports[i]; i++)
                allow_port(rules, ports[i]);
        strv_free(ports);
}

static struct ruleset ruleset_of(int version, const struct route *route)
{
        struct ruleset rules = {.handled_fs = FS_ALL_V1};
        if (version >= 2)
                rules.handled_fs |= UINT64_C(1) << 13; /* moving between directories */
        if (version >= 3)
                rules.handled_fs |= UINT64_C(1) << 14; /* truncating */
        if (version >= 5)
                rules.handled_fs |= UINT64_C(1) << 15; /* commands to devices */
        if (version >= 4)
                rules.handled_net = ports_known(route) ? NET_ALL : NET_ALL & ~NET_CONNECT_TCP;
        if (version >= 6)
                rules.scoped = SCOPE_ALL;
        return rules;
}

int confine_files(const char *conninfo)
{
        long version = syscall(CALL_CREATE, NULL, 0, CREATE_VERSION);
        if (version <= 0)
                return 0;
        struct route route = {.given = PQconninfoParse(conninfo, NULL), .standing = PQconndefaults()};
        struct ruleset handled = ruleset_of((int)version, &route);
        _cleanup_close_ int rules = (int)syscall(CALL_CREATE, &handled, sizeof handled, 0);
        if (rules >= 0) {
                allow_paths(rules, always, ARRAY_SIZE(always));
                allow_path(rules, "/proc/self/exe", FS_READ_FILE); /* for a sanitizer's report */
                allow_path(rules, "/dev/null", FS_READ_FILE | FS_WRITE_FILE);
                allow_database(rules, &route);
        }
        bool done = rules >= 0 && syscall(CALL_RESTRICT, rules, 0) == 0;
        PQconninfoFree(route.given);
        PQconninfoFree(route.standing);
        return done ? (int)version : 0;
}

/*
 * From inside the fence: a child confines itself as the web process does and then tries what somebody who took it over
 * would try. It runs as root where the tests do, so that nothing but the confinement stands in the way. What this
 * kernel does not have is told as skipped, never as passed.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "allocator/confine.h"
#include "base/text.h"
#include "unit.h"

#define EMBEDDED "host=/tmp/nowhere dbname=lablink_db user=lablink"
#define REMOTE "host=db.example.org port=6543 dbname=lablink_db user=lablink sslmode=verify-full sslrootcert=%s"

enum { HELD = 0, SKIPPED = 77 };

/* In the child: a sentence on standard error and exit 1 says what was possible. */
#define REFUSED(what, held) \
        do { \
                errno = 0; \
                if (!(held)) { \
                        fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, (what), errno); \
                        _exit(1); \
                } \
        } while (0)

typedef int (*inside_fn)(const struct confinement *c);

static void confined(const char *conninfo, inside_fn inside)
{
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                struct confinement c;
                confine(conninfo, &c);
                _exit(inside(&c));
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
                skip();
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), HELD);
}

static bool has(const struct confinement *c, const char *part)
{
        return strstr(buf_str((struct buf *)&c->in_force), part) != NULL;
}

/* --- rights -------------------------------------------------------------------------------------------------------- */

static int try_rights(const struct confinement *c)
{
        struct rlimit core;
        REFUSED("not told", has(c, "no new rights") && has(c, "no capabilities") && has(c, "hidden memory"));
        REFUSED("new rights", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
        REFUSED("a core dump", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && getrlimit(RLIMIT_CORE, &core) == 0 &&
                                       core.rlim_cur == 0 && core.rlim_max == 0);
        /* Root without capabilities: what needs one is refused. */
        REFUSED("a host name", sethostname("x", 1) < 0);
        REFUSED("another user", setuid(geteuid() + 1) < 0);
        REFUSED("a low priority of init", setpriority(PRIO_PROCESS, 1, -20) < 0);
        for (int i = 0; geteuid() == 0 && i < 40; i++)
                REFUSED("the bounding set", prctl(PR_CAPBSET_READ, i, 0, 0, 0) != 1);
        return HELD;
}

static void test_no_rights_are_left(void **state _unused_)
{
        confined(EMBEDDED, try_rights);
}

/* --- programs ------------------------------------------------------------------------------------------------------ */

static int try_programs(const struct confinement *c)
{
        char *argv[] = {(char *)"/bin/true", NULL}, *env[] = {NULL};
        pid_t pid;
        if (!has(c, "seccomp"))
                return SKIPPED;
        REFUSED("execve", execve("/bin/true", argv, env) < 0 && errno == EPERM);
        REFUSED("execveat", syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, env, 0) < 0 && errno == EPERM);
        REFUSED("fork", (pid = fork()) < 0 && errno == EPERM);
        REFUSED("clone", syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) < 0 && errno == EPERM);
        REFUSED("clone3", syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
        REFUSED("posix_spawn", posix_spawn(&pid, "/bin/true", NULL, NULL, argv, env) != 0);
        REFUSED("popen", popen("true", "r") == NULL);
        REFUSED("system", system("true") != 0);
        return HELD;
}

static void test_no_program_can_be_started(void **state _unused_)
{
        confined(EMBEDDED, try_programs);
}

static int try_calls(const struct confinement *c)
{
        if (!has(c, "seccomp"))
                return SKIPPED;
        REFUSED("unshare", unshare(CLONE_NEWUSER) < 0 && errno == EPERM);
        REFUSED("mount", mount("none", "/tmp", "tmpfs", 0, NULL) < 0 && errno == EPERM);
        REFUSED("chroot", chroot("/") < 0 && errno == EPERM);
        REFUSED("reading init's memory", syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0) < 0 && errno == EPERM);
        REFUSED("bpf", syscall(SYS_bpf, 0, NULL, 0) < 0 && errno == EPERM);
        REFUSED("io_uring", syscall(425, 1, NULL) < 0 && errno == ENOSYS);
        REFUSED("keys", syscall(SYS_keyctl, 0, 0, 0, 0, 0) < 0 && errno == EPERM);
        REFUSED("a raw network", socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT);
        REFUSED("virtual machines' sockets", socket(AF_VSOCK, SOCK_STREAM, 0) < 0 && errno == EAFNOSUPPORT);
        REFUSED("a raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0);
        return HELD;
}

static void test_calls_that_only_an_attacker_needs_are_refused(void **state _unused_)
{
        confined(EMBEDDED, try_calls);
}

/* --- files --------------------------------------------------------------------------------------------------------- */

static char place[] = "/tmp/lablink-confine-XXXXXX", secret[sizeof place + 16];

static int make_place(void **state _unused_)
{
        if (!mkdtemp(place))
                return -1;
        snprintf(secret, sizeof secret, "%s/secret", place);
        int fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        return fd < 0 || write(fd, "word", 4) != 4 || close(fd) < 0 ? -1 : 0;
}

static int remove_place(void **state _unused_)
{
        return unlink(secret) == 0 && rmdir(place) == 0 ? 0 : -1;
}

static bool opens(const char *path, int flags)
{
        int fd = open(path, flags | O_CLOEXEC, 0600);
        if (fd >= 0)
                close(fd);
        return fd >= 0;
}

static int try_files(const struct confinement *c)
{
        char path[64];
        if (!has(c, "landlock"))
                return SKIPPED;
        REFUSED("a readable file", !opens(secret, O_RDONLY));
        REFUSED("its directory", !opens(place, O_RDONLY | O_DIRECTORY));
        REFUSED("shadow", !opens("/etc/shadow", O_RDONLY));
        REFUSED("hosts", !opens("/etc/hosts", O_RDONLY));
        REFUSED("the root directory", !opens("/", O_RDONLY | O_DIRECTORY));
        REFUSED("init's environment", !opens("/proc/1/environ", O_RDONLY));
        REFUSED("the list of processes", !opens("/proc", O_RDONLY | O_DIRECTORY));
        REFUSED("a disk", !opens("/dev/sda", O_RDONLY) && !opens("/dev/mem", O_RDONLY));
        snprintf(path, sizeof path, "%s/new", place);
        REFUSED("a new file", !opens(path, O_WRONLY | O_CREAT));
        REFUSED("a new directory", mkdir(path, 0700) < 0);
        REFUSED("another name", rename(secret, path) < 0);
        REFUSED("no name", unlink(secret) < 0);
        REFUSED("a link", symlink("/etc", path) < 0);
        /* What libraries need is open, to read. */
        REFUSED("users cannot be looked up", opens("/etc/passwd", O_RDONLY));
        REFUSED("a writable list of users", !opens("/etc/passwd", O_WRONLY));
        REFUSED("libraries cannot be loaded", opens("/usr/lib", O_RDONLY | O_DIRECTORY));
        return HELD;
}

static void test_no_file_can_be_read_or_made(void **state _unused_)
{
        confined(EMBEDDED, try_files);
}

static int try_remote(const struct confinement *c)
{
        if (!has(c, "landlock"))
                return SKIPPED;
        REFUSED("the certificate cannot be read", opens(secret, O_RDONLY));
        REFUSED("name servers cannot be read",
                access("/etc/resolv.conf", R_OK) < 0 || opens("/etc/resolv.conf", O_RDONLY));
        REFUSED("more than that", !opens(place, O_RDONLY | O_DIRECTORY) && !opens("/root", O_RDONLY | O_DIRECTORY));
        return HELD;
}

static void test_the_way_to_another_machine_stays_open(void **state _unused_)
{
        char conninfo[256];
        snprintf(conninfo, sizeof conninfo, REMOTE, secret);
        confined(conninfo, try_remote);
}

/* --- network ------------------------------------------------------------------------------------------------------- */

static int landlock_version(const struct confinement *c)
{
        const char *at = strstr(buf_str((struct buf *)&c->in_force), "(landlock ");
        return at ? atoi(at + strlen("(landlock ")) : 0;
}

static int connect_errno(uint16_t port)
{
        struct sockaddr_in to = {
                .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int number = connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ? errno : 0;
        close(fd);
        return number;
}

static int bind_errno(void)
{
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int number = bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ? errno : 0;
        close(fd);
        return number;
}

static int try_network_embedded(const struct confinement *c)
{
        if (landlock_version(c) < 4)
                return SKIPPED;
        REFUSED("a connection to anywhere", connect_errno(80) == EACCES && connect_errno(5432) == EACCES);
        REFUSED("a listener", bind_errno() == EACCES);
        return HELD;
}

static int try_network_remote(const struct confinement *c)
{
        if (landlock_version(c) < 4)
                return SKIPPED;
        REFUSED("a connection to anywhere", connect_errno(80) == EACCES && connect_errno(5432) == EACCES);
        REFUSED("the database cannot be reached", connect_errno(6543) != EACCES);
        REFUSED("a listener", bind_errno() == EACCES);
        return HELD;
}

static void test_only_the_database_can_be_connected(void **state _unused_)
{
        char conninfo[256];
        snprintf(conninfo, sizeof conninfo, REMOTE, secret);
        confined(EMBEDDED, try_network_embedded);
        confined(conninfo, try_network_remote);
}

/* --- what must go on ----------------------------------------------------------------------------------------------- */

static void in_pool(uv_work_t *work)
{
        *(int *)work->data = 1;
}

static void pool_done(uv_work_t *work _unused_, int status _unused_)
{
}

static void name_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
        *(int *)request->data = status == 0 ? 1 : status;
        uv_freeaddrinfo(found);
}

static void *a_thread(void *argument)
{
        return argument;
}

static int try_serving(const struct confinement *c _unused_)
{
        uv_loop_t loop;
        uv_work_t work;
        uv_getaddrinfo_t request;
        int worked = 0, named = 0, one = 1;
        void *said = NULL;
        pthread_t thread;
        work.data = &worked;
        request.data = &named;
        struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
        REFUSED("no thread", pthread_create(&thread, NULL, a_thread, &one) == 0 && pthread_join(thread, &said) == 0);
        REFUSED("no loop", said == &one && uv_loop_init(&loop) == 0);
        REFUSED("no work in the pool", uv_queue_work(&loop, &work, in_pool, pool_done) == 0);
        REFUSED("no names", uv_getaddrinfo(&loop, &request, name_found, "127.0.0.1", "80", &hints) == 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        REFUSED("the pool did not work", worked == 1 && named == 1);
        REFUSED("the loop is not over", uv_loop_close(&loop) == 0);
        REFUSED("no socket", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
        return HELD;
}

static void test_threads_names_and_sockets_go_on(void **state _unused_)
{
        confined(EMBEDDED, try_serving);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_no_rights_are_left),
                cmocka_unit_test(test_no_program_can_be_started),
                cmocka_unit_test(test_calls_that_only_an_attacker_needs_are_refused),
                cmocka_unit_test(test_no_file_can_be_read_or_made),
                cmocka_unit_test(test_the_way_to_another_machine_stays_open),
                cmocka_unit_test(test_only_the_database_can_be_connected),
                cmocka_unit_test(test_threads_names_and_sockets_go_on),
        };
        return cmocka_run_group_tests(tests, make_place, remove_place);
}

/* One table of refusals, and the four ways in which a socket can fail to be there. */
#include "cli/hints.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"

#define SYSTEM_SOCKET "/var/lib/lablink/run/admin.sock"
#define SOCKET_PATH_MAX 107

int hint_no_socket(struct cli *cli, const char *socket, int number, struct error *error)
{
        struct stat st;
        int seen = stat(socket, &st) < 0 ? errno : 0;
        bool of_system = geteuid() != 0 && !cli->opt.state_dir && !str_eq(socket, SYSTEM_SOCKET) &&
                         (stat(SYSTEM_SOCKET, &st) == 0 || errno == EACCES);
        if (strlen(socket) > SOCKET_PATH_MAX) {
                cli_hint(cli, "give the lab a state directory with a shorter path");
                return error_set(error, -ENOTCONN, "the socket's path %s is longer than %d bytes", socket,
                                 SOCKET_PATH_MAX);
        }
        if (seen == EACCES || number == EACCES) {
                cli_hint(cli, "run it as root or as the user who started the allocator: sudo lablink ...");
                return error_set(error, -ENOTCONN, "you may not speak to the allocator at %s", socket);
        }
        if (of_system) {
                cli_hint(cli, "root's lab is in /var/lib/lablink: sudo lablink ...");
                return error_set(error, -ENOTCONN, "no allocator of yours is listening at %s", socket);
        }
        cli_hint(cli, "start it with `make run` or `systemctl start lablink-allocator`; "
                      "--state-dir DIR or --url URL name another lab");
        return error_set(error, -ENOTCONN, "no allocator is listening at %s", socket);
}

void hint_no_url(struct cli *cli, bool certificate)
{
        if (certificate)
                cli_hint(cli, "the certificate must be valid for the URL's name and come from an authority that this "
                              "machine trusts");
        else
                cli_hint(cli, "check the URL, and that the allocator runs and is not cut off by a firewall");
}

static const struct {
        long status;      /* 0: any */
        const char *code; /* NULL: any */
        const char *hint;
} table[] = {
        {409, "no-seat", "`lablink vm list` shows who has which VM"},
        {404, "unknown-vm", "`lablink vm list` shows the names"},
        {404, "unknown-operation", "`lablink operation list` shows the numbers"},
        {401, NULL,
         "`lablink admin password` on the allocator's machine shows the password; --user names another user"},
        {403, NULL, "the socket answers root and the user who started the allocator; from elsewhere use --url"},
        {503, "no-log-yet", "it is still installing itself; --follow waits for its first line"},
        {429, NULL, "wait a minute, then try again"},
        {503, NULL, "`lablink doctor` says what does not answer"},
        {500, NULL, "the allocator's own log says more"},
};

void hint_refused(struct cli *cli, long status, const json_t *answer)
{
        const char *code = json_get_string(answer, "code");
        json_int_t running = json_integer_value(json_object_get(json_object_get(answer, "operation"), "id"));
        if (running) {
                cli_hint(cli, "`lablink operation watch %lld` shows it, `lablink operation cancel %lld` stops it",
                         (long long)running, (long long)running);
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (table[i].status == status && (!table[i].code || str_eq(code, table[i].code))) {
                        cli_hint(cli, "%s", table[i].hint);
                        return;
                }
}

/*
 * DISPLAY is empty so that no X session of somebody else is taken. On an invalid PIN or a closed input start-host asks
 * for ever and floods its output: the input stays open, the output is limited, and it is killed when its time is up.
 */
#include "client/start_host.h"

#include <string.h>

#include "client/child_env.h"

#define PARTICIPANT "client"
#define REDIRECT "--redirect-url=https://remotedesktop.google.com/_/oauthredirect"

char *start_host_find(const struct settings *settings)
{
        if (*settings->start_host)
                return find_program(settings->start_host);
        char *usual = find_program(START_HOST_USUAL);
        return usual ? usual : find_program("start-host");
}

struct run *start_host_run(struct loop *loop, const char *program, const struct settings *settings,
                           const struct assignment *assignment,
                           void (*line)(void *userdata, const char *line, size_t len), void *userdata,
                           struct error *error)
{
        _cleanup_(person_deinit) struct person person = {0};
        bool switched = geteuid() == 0 && person_find(PARTICIPANT, &person) == 0;
        _cleanup_strv_ char **env = child_env(switched ? &person : NULL, (const char *const[]){"DISPLAY=", NULL});
        _cleanup_free_ char *code = xasprintf("--code=%s", assignment->code);
        _cleanup_free_ char *name = xasprintf("--name=%s", settings->hostname);
        _cleanup_free_ char *input = xasprintf("%s\n%s\n", assignment->pin, assignment->pin);
        const char *const argv[] = {program, code, REDIRECT, name, NULL};
        struct run_spec spec = {.argv = argv,
                                .env = (const char *const *)env,
                                .cwd = switched ? person.home : "/",
                                .as = switched ? &person : NULL,
                                .input = input,
                                .line = line,
                                .userdata = userdata,
                                .tied = true,
                                .timeout_ms = START_HOST_MS};
        struct run *run = run_start(loop, &spec, error);
        explicit_bzero(code, strlen(code));
        explicit_bzero(input, strlen(input));
        return run;
}

/* Kept apart from the loop: what happens to credentials is told on this page. */
#include "allocator/keys.h"

#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/wait.h>

#include "allocator/supervisor.h"
#include "base/log.h"
#include "base/text.h"

void keys_init(struct keys *keys)
{
        token_random(keys->holder);
}

void keys_deinit(struct keys *keys)
{
        aws_credentials_clear(&keys->current);
        aws_credentials_clear(&keys->pending);
        aws_credentials_clear(&keys->trying);
}

/* The texts of a message are taken for texts only up to their arrays' ends. */
static char *field(const char *text, size_t size)
{
        return xstrndup(text, strnlen(text, size - 1));
}

static bool take(const struct aws_order *order, struct aws_credentials *ret)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct aws_credentials taken = {
                .access_key_id = field(order->access_key_id, sizeof order->access_key_id),
                .secret_access_key = field(order->secret_access_key, sizeof order->secret_access_key),
                .source = AWS_GIVEN};
        if (order->session_token[0])
                taken.session_token = field(order->session_token, sizeof order->session_token);
        bool good = aws_credentials_check(&taken, &error) == 0;
        if (good)
                aws_credentials_copy(&taken, ret);
        else
                log_warning("AWS credentials from the web process: %s", error_text(&error));
        aws_credentials_clear(&taken);
        return good;
}

void keys_order(struct supervisor *s, struct aws_order *order)
{
        bool set = order->word == MESSAGE_AWS_SET;
        if (!set) {
                aws_credentials_clear(&s->keys.current);
                aws_credentials_clear(&s->keys.trying);
        }
        aws_credentials_clear(&s->keys.pending);
        memcpy(s->keys.change, order->change, TOKEN_LENGTH);
        s->keys.change[TOKEN_LENGTH] = '\0';
        bool good = !set || take(order, &s->keys.pending);
        sodium_memzero(order, sizeof *order);
        if (good) {
                log_info(set ? "AWS credentials were set: trying them"
                             : "the AWS credentials that were set are forgotten");
                spawn_runner(s, RUNNER_AWS);
        }
}

/* A lab on this machine alone asks AWS nothing. */
void keys_check(struct supervisor *s)
{
        if (s->keys.current.access_key_id || s->keys.change[0] || getenv("AWS_ACCESS_KEY_ID") ||
            !str_eq(s->config->provider.kind, "local"))
                spawn_runner(s, RUNNER_AWS);
}

void keys_stop(struct supervisor *s)
{
        for (size_t i = 0; i < RUNNERS_MAX; i++)
                if (s->runners[i].pid && s->runners[i].operation == RUNNER_AWS)
                        kill(s->runners[i].pid, SIGTERM);
}

void keys_trying(struct supervisor *s)
{
        struct keys *keys = &s->keys;
        aws_credentials_clear(&keys->trying);
        keys->trying = keys->pending;
        keys->pending = (struct aws_credentials){0};
        memcpy(keys->checking, keys->change, sizeof keys->checking);
}

void keys_checked(struct supervisor *s, int status)
{
        struct keys *keys = &s->keys;
        bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (keys->trying.access_key_id && good) {
                aws_credentials_copy(&keys->trying, &keys->current);
        } else if (keys->trying.access_key_id) {
                log_warning("the AWS credentials that were set are not good: forgotten");
                if (str_eq(keys->checking, keys->change))
                        token_random(keys->change); /* what is tried from now on is no answer to that form */
        }
        aws_credentials_clear(&keys->trying);
        if (keys->check_again && !s->stopping) {
                keys->check_again = false;
                spawn_runner(s, RUNNER_AWS);
        }
}

json_t *keys_json(const struct supervisor *s, bool pending)
{
        const struct aws_credentials *keys = pending && s->keys.pending.access_key_id ? &s->keys.pending
                                                                                      : &s->keys.current;
        bool others = keys == &s->keys.pending && s->keys.current.access_key_id;
        return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:b}", "change", s->keys.change, "holder", s->keys.holder,
                         "region", s->config->app.region, "access_key_id", keys->access_key_id, "secret_access_key",
                         keys->secret_access_key, "session_token", keys->session_token, "others", others);
}

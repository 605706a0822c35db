/*
 * AWS credentials of the administrator. They stay here only until they are handed to the supervisor: the request forgets
 * them in the same step. What became of them is read from the settings table, where the runner that tried them leaves it.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/token.h"
#include "lab/aws_order.h"
#include "lab/settings.h"
#include "web/routes.h"

#define LOOK_MS 150
#define PATIENCE_MS 60000
#define STALE_SECONDS 300
#define KEPT " Those that were set before stay in force."

/* --- what the pages show -------------------------------------------------------------------------------------------- */

static bool is_stale(const json_t *value)
{
        double checked;
        const char *text = json_get_string(value, "checked_at");
        return text && clock_parse_iso(text, &checked) == 0 && clock_now() - checked > STALE_SECONDS;
}

/* What this very supervisor's runner found; from another life only the name of the loss. */
json_t *aws_model(struct web *web, const json_t *value)
{
        const char *state = str_or(json_get_string(value, "state"), "none");
        bool given = str_eq(json_get_string(value, "source"), aws_source_text(AWS_GIVEN));
        bool ours = str_eq(json_get_string(value, "holder"), web->aws_holder);
        if (value && !ours)
                state = given && str_eq(state, "valid") ? "lost" : "none";
        bool known = value && ours, kept = known && json_is_true(json_object_get(value, "kept"));
        if (kept || (known && str_eq(state, "valid") && is_stale(value)))
                web_kick(web, MESSAGE_AWS_CHECK);
        return json_pack("{s:s, s:s?, s:s?, s:s?, s:s, s:s?, s:s?, s:b, s:s?}", "state", state, "source",
                         known ? json_get_string(value, "source") : NULL, "account",
                         known ? json_get_string(value, "account") : NULL, "arn",
                         known ? json_get_string(value, "arn") : NULL, "region", web->config->app.region, "expires",
                         known ? json_get_string(value, "expires") : NULL, "error",
                         known ? json_get_string(value, "error") : NULL, "kept", kept, "checked_at",
                         value ? json_get_string(value, "checked_at") : NULL);
}

/* For the page alone: a template asks only whether something is there. */
void aws_add_words(json_t *model)
{
        json_t *aws = json_object_get(model, "aws");
        _cleanup_free_ char *flag = xasprintf("state_%s", json_get_string(aws, "state"));
        json_object_set_new(aws, flag, json_true());
        if (str_eq(json_get_string(aws, "source"), aws_source_text(AWS_GIVEN)))
                json_object_set_new(aws, "given", json_true());
}

/* --- the outcome of a change ---------------------------------------------------------------------------------------- */

static int outcome_error(struct task *t, unsigned status, const char *code, const char *sentence)
{
        struct admin_state *s = t->state;
        if (request_wants_json(t))
                return reply_error(t, status, code, "%s", sentence);
        s->aws_problem = xstrdup(sentence);
        return admin_overview(t, status);
}

static int outcome(struct task *t)
{
        struct admin_state *s = t->state;
        const char *state = json_get_string(s->aws.value, "state"), *error = json_get_string(s->aws.value, "error");
        bool good = str_eq(state, "valid");
        if (s->aws_set && !good) {
                bool kept = json_is_true(json_object_get(s->aws.value, "kept"));
                _cleanup_free_ char *sentence = xasprintf(
                        "%s%s", str_or(error, "AWS does not accept these credentials."), kept ? KEPT : "");
                return outcome_error(t, 422, "aws-credentials-refused", sentence);
        }
        if (!s->aws_set)
                s->aws_message =
                        good ? "The credentials that were set are forgotten. Those of the machine are in force."
                             : "The AWS credentials are forgotten. None are in force.";
        else
                s->aws_message = "AWS accepts these credentials.";
        if (!request_wants_json(t))
                return admin_overview(t, 200);
        return reply_json(
                t, 200, json_pack("{s:s, s:o}", "message", s->aws_message, "aws", aws_model(web_of(t), s->aws.value)));
}

static int outcome_look(struct task *t);

static int outcome_seen(struct task *t)
{
        struct admin_state *s = t->state;
        if (str_eq(json_get_string(s->aws.value, "change"), s->aws_change))
                return outcome(t);
        if (clock_ms() > s->aws_deadline_ms)
                return outcome_error(t, 503, "aws-not-tried",
                                     "The credentials could not be tried yet. Look again in a minute.");
        return sleep_await(t, LOOK_MS, outcome_look);
}

static int outcome_look(struct task *t)
{
        struct admin_state *s = t->state;
        _cleanup_free_ char *key = aws_order_setting(web_of(t)->site);
        json_decref(STEAL(s->aws.value));
        return db_await(t, setting_get(key, &s->aws), outcome_seen);
}

/* --- the change ----------------------------------------------------------------------------------------------------- */

static int send_order(struct task *t, struct aws_order *order)
{
        struct admin_state *s = t->state;
        struct web *web = web_of(t);
        ssize_t n = -1;
        token_random(s->aws_change);
        memcpy(order->change, s->aws_change, sizeof order->change);
        s->aws_set = order->word == MESSAGE_AWS_SET;
        if (web->supervisor >= 0)
                n = send(web->supervisor, order, sizeof *order, MSG_DONTWAIT | MSG_NOSIGNAL);
        explicit_bzero(order, sizeof *order);
        if (n != (ssize_t)sizeof *order)
                return outcome_error(t, 503, "busy", "The credentials could not be handed over. Please try again.");
        request_no_deadline(t);
        s->aws_deadline_ms = clock_ms() + PATIENCE_MS;
        return sleep_await(t, LOOK_MS, outcome_look);
}

/* Copies a field without the blanks around it, which come with copying from a page. False: it is too long. */
static bool take_field(struct task *t, const char *name, char *out, size_t size)
{
        const char *value = str_or(request_field(t, name), "");
        value += strspn(value, " \t\r\n");
        size_t len = strlen(value);
        while (len && strchr(" \t\r\n", value[len - 1]))
                len--;
        if (len >= size)
                return false;
        memcpy(out, value, len);
        out[len] = '\0';
        return true;
}

static int check_order(const struct aws_order *order, struct error *error)
{
        const struct aws_credentials given = {.access_key_id = (char *)order->access_key_id,
                                              .secret_access_key = (char *)order->secret_access_key,
                                              .session_token = order->session_token[0] ? (char *)order->session_token
                                                                                       : NULL};
        return aws_credentials_check(&given, error);
}

int aws_set(struct task *t)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct aws_order order = {.word = MESSAGE_AWS_SET};
        bool fits = take_field(t, "aws_access_key_id", order.access_key_id, sizeof order.access_key_id) &&
                    take_field(t, "aws_secret_access_key", order.secret_access_key, sizeof order.secret_access_key) &&
                    take_field(t, request_field(t, "aws_token") ? "aws_token" : "aws_session_token",
                               order.session_token, sizeof order.session_token);
        request_forget(t);
        bool missing = fits && (!order.access_key_id[0] || !order.secret_access_key[0]);
        int r = fits ? check_order(&order, &error) : error_set(&error, -EINVAL, "one of the fields is too long");
        if (r == 0)
                return send_order(t, &order);
        explicit_bzero(&order, sizeof order);
        if (missing)
                return outcome_error(t, 400, "missing-field",
                                     "Both the access key ID and the secret access key are needed.");
        _cleanup_free_ char *sentence = xasprintf("These are no AWS credentials: %s.", error_text(&error));
        return outcome_error(t, 422, "bad-aws-credentials", sentence);
}

int aws_unset(struct task *t)
{
        struct aws_order order = {.word = MESSAGE_AWS_UNSET};
        return send_order(t, &order);
}

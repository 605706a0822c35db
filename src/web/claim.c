/*
 * A participant asks for a seat. The form is shown again with a sentence when something is wrong (status 200, as
 * specified); its JSON twin gets the right status. Claims that arrive together are one statement; "more" means that
 * claimable seats were only locked by others at that moment, so it is asked again a few milliseconds later.
 *
 * With a desktop in the browser a seat is entered: who holds it is looked up first, because a neighbour's e-mail must not
 * open their desktop, and after the claim the browser gets the cookie that does.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/text.h"
#include "base/token.h"
#include "lab/participant.h"
#include "web/routes.h"
#include "web/seat_page.h"

#define CLAIM_TRIES 200
#define CLAIM_PAUSE_MS 5

void claim_state_free(void *state)
{
        struct claim_state *s = state;
        free(s->email);
        free(s->command);
        free(s->typed_email);
        free(s->message);
        seat_deinit(&s->seat);
        desktop_seat_deinit(&s->holder);
        desktop_seat_deinit(&s->entered);
        explicit_bzero(s->cookie, sizeof s->cookie);
        explicit_bzero(s->code, sizeof s->code);
}

/* Counts are shared, so each asker is a key of its own. */
static int count_await_named(struct task *t, task_step next, const char *name)
{
        struct claim_state *s = t->state;
        char key[24];
        snprintf(key, sizeof key, "%p", (void *)t);
        return batch_await_named(t, web_of(t)->counts, key, json_object(), &s->count, next, name);
}
#define count_await(t, next) count_await_named((t), (next), #next)

/* --- the form ------------------------------------------------------------------------------------------------------ */

static int home_answer(struct task *t)
{
        struct claim_state *s = t->state;
        const struct config *config = web_of(t)->config;
        const char *mode = config_desktop_mode(config);
        json_t *model = json_pack("{s:I, s:s?, s:s?, s:s?, s:s?, s:b, s:b, s:b, s:b}", "count",
                                  (json_int_t)s->count.count, "message", s->message, "message_kind", s->message_kind,
                                  "email", s->typed_email, "crd_command", request_field(t, "crd_command"),
                                  "access_code_asked", config_access_code(config) != NULL, "return_code_asked",
                                  s->code_asked, "browser", !str_eq(mode, "crd"), "crd", !str_eq(mode, "browser"));
        if (!request_wants_json(t)) {
                json_object_set_new(model, "both", json_boolean(str_eq(mode, "both")));
                json_object_set_new(model, "desktop_js", seat_asset_tag("/static/desktop.js"));
                json_object_set_new(model, "desktop_css", seat_asset_tag("/static/desktop.css"));
        }
        return reply_view(t, 200, "index", model);
}

int home_page(struct task *t)
{
        struct claim_state *s = t->state;
        if (str_eq(request_query(t, "desktop"), "none")) {
                s->message = xstrdup("This browser has no desktop open, or its seat was released. Enter your e-mail "
                                     "address to get one or to come back to yours.");
                s->message_kind = "info";
        } else if (str_eq(request_query(t, "desktop"), "left")) {
                s->message = xstrdup(
                        "This browser has forgotten your seat. It is still yours: with the same e-mail address "
                        "and your return code you come back.");
                s->message_kind = "info";
        }
        return count_await(t, home_answer);
}

static int count_answer(struct task *t)
{
        struct claim_state *s = t->state;
        return reply_json(t, 200, json_pack("{s:I}", "count", (json_int_t)s->count.count));
}

int claimable_count(struct task *t)
{
        return count_await(t, count_answer);
}

/* --- the claim ----------------------------------------------------------------------------------------------------- */

/* Takes `message` over. */
static int refuse(struct task *t, unsigned status, const char *code, char *message)
{
        struct claim_state *s = t->state;
        free(s->message);
        s->message = message;
        s->message_kind = status == 503 ? "warning" : "danger";
        if (request_wants_json(t))
                return reply_error(t, status, code, "%s", message);
        return count_await(t, home_answer);
}

static int refuse_error(struct task *t, unsigned status, const char *code, struct error *error)
{
        char *message = xstrdup(error_text(error));
        error_clear(error);
        return refuse(t, status, code, message);
}

static int refuse_for(struct task *t, int64_t wait_ms, const char *what)
{
        char seconds[24];
        snprintf(seconds, sizeof seconds, "%lld", (long long)(wait_ms / 1000 + 1));
        reply_header(t, "Retry-After", seconds);
        return refuse(t, 429, "too-many-requests",
                      xasprintf("Too many %s. Please wait %s seconds and try again.", what, seconds));
}

static json_t *notice_of(const struct seat *seat)
{
        if (strcmp(seat->status, "error") == 0)
                return json_string("Your machine reported an error. It is still yours; please tell your instructor.");
        if (strcmp(seat->status, "unknown") == 0)
                return json_string(
                        "Your machine has not been heard of for a while. It is still yours; please tell your instructor.");
        if (seat->unhealthy)
                return json_string("Your machine's GPU is reported as unhealthy. Please tell your instructor.");
        return json_null();
}

static int claim_step(struct task *t);
static int claim_holder(struct task *t);

static int success(struct task *t)
{
        struct claim_state *s = t->state;
        json_t *model = json_pack("{s:s, s:s, s:s, s:I, s:b, s:o}", "hostname", s->seat.hostname, "pin", s->seat.pin,
                                  "email", s->seat.email, "generation", (json_int_t)s->seat.generation, "returning",
                                  s->seat.returning, "notice", notice_of(&s->seat));
        if (!request_wants_json(t))
                json_object_set_new(model, "access_code_asked",
                                    json_boolean(config_access_code(web_of(t)->config) != NULL));
        if (s->entered.found) {
                json_object_set_new(model, "desktop", json_string("/desktop"));
                json_object_set_new(model, "return_code", *s->code ? json_string(s->code) : json_null());
        }
        return reply_view(t, 200, "success", model);
}

/* --- into the seat ------------------------------------------------------------------------------------------------- */

static int claim_entered(struct task *t)
{
        struct claim_state *s = t->state;
        if (!s->entered.found) /* released in this moment: as if asked a moment later */
                return refuse(t, 503, "no-seat-free", xstrdup("Your seat was just released. Please try again."));
        if (*s->cookie)
                seat_cookie_set(t, s->cookie);
        if (*s->code)
                seat_code_set(t, s->code);
        if (s->crd || request_wants_json(t))
                return success(t);
        return reply_redirect(t, *s->code && !s->proven ? "/desktop?welcome" : "/desktop");
}

/* A browser that sits in the seat keeps its cookie, and its other tabs; another one's come to an end. */
static int claim_enter(struct task *t)
{
        struct claim_state *s = t->state;
        char hash[TOKEN_HASH_LENGTH + 1];
        bool fresh = !s->seat.returning; /* though proven: what was proven was released meanwhile */
        bool again = s->holder.cookie && !fresh;
        if (!again) {
                token_random(s->cookie);
                token_hash(s->cookie, s->cookie_hash);
        }
        bool new_code = s->proven && (fresh || !s->holder.has_code); /* or claimed before desktops were in browsers */
        if (new_code)
                return_code_make(s->code);
        s->proven &= !fresh;
        token_hash(s->code, hash);
        return db_await(t,
                        desktop_enter(s->seat.hostname, s->seat.email, s->cookie_hash, new_code ? hash : NULL, !again,
                                      &s->entered),
                        claim_entered);
}

static int claim_answer(struct task *t)
{
        struct claim_state *s = t->state;
        bool browser = config_desktop_browser(web_of(t)->config);
        if (!s->seat.found && s->seat.more && s->tries++ < CLAIM_TRIES)
                return sleep_await(t, CLAIM_PAUSE_MS, claim_step);
        if (!s->seat.found)
                return refuse(t, 503, "no-seat-free",
                              xstrdup("No machine is free at the moment. Please ask your instructor, or try "
                                      "again in a minute."));
        if (browser && (s->seat.returning ? !s->proven : !str_eq(s->seat.asker, s->asker))) {
                s->code[0] = '\0';
                s->proven = false;
                return claim_holder(t); /* another browser claimed with the same e-mail in this very moment */
        }
        failpoint("claim.before-wake");
        watch_fire(t->loop, web_of(t)->config->db.message_channel, s->seat.hostname);
        failpoint("claim.before-answer");
        return browser ? claim_enter(t) : success(t);
}

static int claim_step(struct task *t)
{
        struct claim_state *s = t->state;
        bool fresh = config_desktop_browser(web_of(t)->config) && !s->proven;
        char hash[TOKEN_HASH_LENGTH + 1];
        failpoint("claim.before-write");
        token_random(s->asker);
        if (fresh)
                return_code_make(s->code);
        token_hash(s->code, hash);
        json_t *item = claim_item(s->email, s->command, s->pin, s->asker, fresh ? hash : NULL);
        if (!item)
                return reply_error(t, 422, "bad-email", "The e-mail address is not readable.");
        return batch_await(t, web_of(t)->claims, s->email, item, &s->seat, claim_answer);
}

/* --- whose seat it is ---------------------------------------------------------------------------------------------- */

static int ask_code(struct task *t, bool wrong)
{
        return refuse(
                t, 403, "return-code",
                xasprintf("%sThis e-mail address has a machine already. Enter the return code that was shown with "
                          "it, or open the desktop in the browser that you used before. Your instructor can release "
                          "the seat.",
                          wrong ? "This return code is not right. " : ""));
}

/* Wrong codes count for the address and for the seat: neither one guesser nor many get far. */
static int check_return_code(struct task *t)
{
        struct claim_state *s = t->state;
        struct web *web = web_of(t);
        char hash[TOKEN_HASH_LENGTH + 1];
        const char *typed = request_field(t, "return_code");
        int64_t wait = MAX(limiter_blocked(web->wrong_codes, request_address(t)),
                           limiter_blocked(web->return_codes, s->email));
        s->code_asked = true;
        if (wait > 0)
                return refuse_for(t, wait, "wrong return codes");
        if (!typed || !*typed)
                return ask_code(t, false);
        bool read = return_code_read(typed, s->code);
        token_hash(read ? s->code : "", hash);
        if (token_equal(hash, s->holder.return_hash) && read) {
                s->proven = true;
                return claim_step(t);
        }
        s->code[0] = '\0';
        limiter_count(web->wrong_codes, request_address(t));
        limiter_count(web->return_codes, s->email);
        return ask_code(t, true);
}

static int claim_held(struct task *t)
{
        struct claim_state *s = t->state;
        bool by_email = str_eq(web_of(t)->config->security.claim_return, "email");
        if (!s->holder.found)
                return claim_step(t);
        if (by_email || s->holder.cookie || !s->holder.has_code) {
                s->proven = true;
                return claim_step(t);
        }
        return check_return_code(t);
}

static int claim_holder(struct task *t)
{
        struct claim_state *s = t->state;
        bool given = seat_cookie_hash(t, s->cookie_hash);
        return db_await(t, desktop_holder(s->email, given ? s->cookie_hash : NULL, &s->holder), claim_held);
}

static bool member_has_wrong_type(struct task *t, const char *name)
{
        const json_t *body = request_json(t);
        const json_t *member = body ? json_object_get(body, name) : NULL;
        return member && !json_is_null(member) &&
               (!json_is_string(member) || strlen(json_string_value(member)) != json_string_length(member));
}

/* The word is said aloud: nobody hears capitals, or the blank that a phone adds. */
static bool same_word(const char *given, const char *wanted)
{
        _cleanup_free_ char *a = xstrdup(given), *b = xstrdup(wanted);
        str_lower(a);
        str_lower(b);
        return token_equal(str_trim(a), str_trim(b));
}

/* 0: the word was right, or none is asked. */
static int check_access_code(struct task *t, int *ret_step)
{
        struct web *web = web_of(t);
        const char *given = request_field(t, "access_code"), *wanted = config_access_code(web->config);
        if (!wanted)
                return 0;
        int64_t wait = limiter_blocked(web->wrong_codes, request_address(t));
        if (wait > 0) {
                *ret_step = refuse_for(t, wait, "wrong access codes from your network");
                return -EAGAIN;
        }
        if (given && same_word(given, wanted))
                return 0;
        bool wrong = given && *given;
        if (wrong)
                limiter_count(web->wrong_codes, request_address(t));
        *ret_step = refuse(t, 403, "access-code",
                           xasprintf("%sPlease enter the access code that your instructor gave you.",
                                     wrong ? "This access code is not right. " : ""));
        return -EACCES;
}

int claim_seat(struct task *t)
{
        struct claim_state *s = t->state;
        struct web *web = web_of(t);
        static const char *const fields[] = {"email", "crd_command", "access_code", "return_code"};
        _cleanup_error_ struct error error = ERROR_NULL;
        int replied = 0;
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                if (member_has_wrong_type(t, fields[i]))
                        return reply_error(t, 422, "wrong-type", "%s must be a text.", fields[i]);
        const char *email = request_field(t, "email"), *command = request_field(t, "crd_command");
        s->typed_email = email ? xstrdup(email) : NULL;
        const char *mode = config_desktop_mode(web->config);
        s->crd = str_eq(mode, "crd") || (str_eq(mode, "both") && command && *command);
        if (!email || !*email)
                return refuse(
                        t, 400, "missing-field",
                        xstrdup(str_eq(mode, "crd") ? "Email and CRD command are required." : "Email is required."));
        if (s->crd && (!command || !*command))
                return refuse(t, 400, "missing-field", xstrdup("Email and CRD command are required."));
        if (participant_email(email, &s->email, &error) < 0)
                return refuse_error(t, 422, "bad-email", &error);
        if (!s->crd)
                s->command = xstrdup("");
        else if (participant_command(command, &s->command, &error) < 0)
                return refuse_error(t, 422, "bad-command", &error);
        if (check_access_code(t, &replied) < 0)
                return replied;
        int64_t wait = limiter_blocked(web->claims_by_email, s->email);
        if (wait > 0)
                return refuse_for(t, wait, "requests with this e-mail address");
        limiter_count(web->claims_by_email, s->email);
        if (*web->config->app.pin)
                snprintf(s->pin, sizeof s->pin, "%s", web->config->app.pin);
        else
                token_digits(s->pin, 6);
        return str_eq(mode, "crd") ? claim_step(t) : claim_holder(t);
}

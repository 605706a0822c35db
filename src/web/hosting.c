/*
 * The page with the PIN asks here what became of the code that was pasted: start-host's errors are told in words that a
 * participant can act on. Public: who knows a machine's name and generation learns whether a code was good, no more, and
 * whoever asks for another machine than there is, is told the same as for a seat that has gone.
 */
#include "lab/hosting.h"
#include "base/text.h"
#include "lab/names.h"
#include "web/seat_page.h"

static const struct {
        const char *outcome, *sentence;
} sentences[] = {
        {"done", "Your machine is connected to your Google account."},
        {"oauth",
         "That code was already used, or it is too old. Get a new one and send it here; your seat stays yours."},
        {"network",
         "Your machine could not reach Google. Please tell your instructor, or get a new code and try again."},
        {"permission", "Google refused this code for your account. Sign in with another account, or get a new code."},
        {"registration", "Google could not register your machine. Get a new code and try again."},
        {"failed", "Your machine could not be connected with this code. Get a new one and send it here."},
};

static int no_seat(struct task *t)
{
        return reply_error(t, 404, "no-seat", "There is no such seat any more.");
}

static int outcome_told(struct task *t)
{
        struct seat_page_state *s = t->state;
        if (!s->hosting.found)
                return no_seat(t);
        for (size_t i = 0; i < ARRAY_SIZE(sentences); i++)
                if (str_eq(sentences[i].outcome, s->hosting.outcome))
                        return reply_json(t, 200,
                                          json_pack("{s:s, s:s}", "outcome", sentences[i].outcome, "sentence",
                                                    sentences[i].sentence));
        return reply_json(t, 200, json_pack("{s:s, s:s}", "outcome", "waiting", "sentence", ""));
}

int hosting_outcome(struct task *t)
{
        struct seat_page_state *s = t->state;
        const char *hostname = request_argument(t, "hostname"), *text = request_query(t, "generation");
        int64_t generation = 0;
        if (!text || parse_int(text, 1, INT64_MAX, &generation) < 0)
                return reply_error(t, 422, "bad-number", "generation must be a positive number.");
        if (!hostname_valid(hostname))
                return no_seat(t);
        return db_await(t, hosting_look(hostname, generation, &s->hosting), outcome_told);
}

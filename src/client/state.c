/* The smallest possible memory: one JSON object. A lost file costs one more start-host, never an assignment. */
#include "client/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#define STATE_MAX_BYTES 65536

static int make_directory(const char *path, struct error *error)
{
        const char *slash = strrchr(path, '/');
        if (!slash || slash == path)
                return 0;
        _cleanup_free_ char *directory = xstrndup(path, (size_t)(slash - path));
        if (access(directory, W_OK) == 0)
                return 0;
        return dir_make(directory, 0700, error);
}

static int lock(struct state *state, struct error *error)
{
        _cleanup_free_ char *path = xasprintf("%s.lock", state->path);
        int r = file_lock(path, 0, &state->lock, error);
        if (r == -EWOULDBLOCK)
                return error_set(error, r, "another agent runs with the state file %s", state->path);
        return r;
}

static int parse(struct state *state, const struct buf *text, struct error *error)
{
        _cleanup_json_ json_t *object = json_read(buf_str(text), text->len, error);
        if (!json_is_object(object))
                return error_set(error, -EINVAL, "no JSON object");
        json_t *generation = json_object_get(object, "generation");
        if (!json_is_integer(generation) || json_integer_value(generation) < 0)
                return error_set(error, -EINVAL, "no generation");
        state->generation = json_integer_value(generation);
        snprintf(state->fingerprint, sizeof state->fingerprint, "%s",
                 str_or(json_get_string(object, "fingerprint"), ""));
        snprintf(state->hosted, sizeof state->hosted, "%s", str_or(json_get_string(object, "hosted"), ""));
        state->pin = xstrdup(json_get_string(object, "pin"));
        return 0;
}

static void read_state(struct state *state, char **note)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = file_read(state->path, STATE_MAX_BYTES, &text, &error);
        if (r == -ENOENT)
                return;
        if (r == 0 && parse(state, &text, &error) == 0)
                return;
        _cleanup_free_ char *aside = xasprintf("%s.damaged", state->path);
        bool moved = rename(state->path, aside) == 0;
        *note = xasprintf("the state file %s cannot be used (%s)%s%s: starting without it", state->path,
                          error_text(&error), moved ? ", moved to " : "", moved ? aside : "");
}

int state_open(const char *path, struct state *state, char **note, struct error *error)
{
        *state = (struct state){.path = xstrdup(path), .lock = -1};
        *note = NULL;
        int r = make_directory(path, error);
        if (r == 0)
                r = lock(state, error);
        if (r < 0) {
                state_close(state);
                return error_wrap(error, "cannot use the state file");
        }
        read_state(state, note);
        return 0;
}

int state_save(const struct state *state, struct error *error)
{
        _cleanup_json_ json_t *object = json_pack("{s:I, s:s, s:s, s:s?}", "generation", (json_int_t)state->generation,
                                                  "fingerprint", state->fingerprint, "hosted", state->hosted, "pin",
                                                  state->pin);
        _cleanup_free_ char *text = json_text(object);
        int r = file_write(state->path, text, strlen(text), 0600, error);
        return r < 0 ? error_wrap(error, "cannot save the state") : 0;
}

void state_close(struct state *state)
{
        closep(&state->lock);
        free(state->path);
        free(state->pin);
        *state = (struct state){.lock = -1};
}

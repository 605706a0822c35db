/*
 * The provider `terraform` when its state and what exists have come apart: states that were cut off, machines that ended by
 * themselves, and more secrets than the engine can be given. tests/e2e/test_cloud_lost.py does it with a real engine.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "provider/terraform/internal.h"
#include "provider/terraform/terraform.h"

struct place {
        char directory[32];
        struct config *config;
        struct provider *p;
};

static int place_make(void **state)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        struct place *place = xcalloc(1, sizeof *place);
        strcpy(place->directory, "/tmp/lablink-test-XXXXXX");
        assert_non_null(mkdtemp(place->directory));
        _cleanup_free_ char *directory = xasprintf("terraform.directory=%s", place->directory);
        const char *sets[] = {"provider.kind=terraform", "terraform.state=local", "environment=dev", directory, NULL};
        struct config_input input = {.sets = sets, .state_dir = place->directory};
        if (config_load(&input, &place->config, &problems) < 0)
                fail_msg("%s", buf_str(&problems));
        assert_int_equal(terraform_provider.open(place->config, &place->p, NULL), 0);
        place->p->lock_fd = STDIN_FILENO; /* it holds the runner's lock */
        assert_int_equal(dir_make(place->p->dir, 0700, NULL), 0);
        *state = place;
        return 0;
}

static int place_clear(void **state)
{
        struct place *place = *state;
        terraform_provider.close(place->p);
        config_free(place->config);
        assert_int_equal(dir_remove(place->directory, NULL), 0);
        free(place);
        return 0;
}

static void write_at(const struct provider *p, const char *name, const char *text)
{
        _cleanup_free_ char *path = tf_path(p, name);
        if (text)
                assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
        else
                unlink(path);
}

static bool has_text(const struct provider *p, const char *name, const char *text)
{
        _cleanup_free_ char *path = tf_path(p, name);
        _cleanup_buf_ struct buf known = BUF_NULL;
        return file_read(path, 4096, &known, NULL) == 0 && strcmp(buf_str(&known), text) == 0;
}

#define STATE(instances) \
        "{\"version\":4,\"outputs\":{},\"resources\":[{\"mode\":\"managed\",\"type\":\"x\",\"name\":\"lablink_vm\"," \
        "\"instances\":[" instances "]}]}"
#define ONE STATE("{\"index_key\":0}")
#define TWO STATE("{\"index_key\":0},{\"index_key\":1}")
#define NONE STATE("")
#define HALF "{\"version\":4,\"resources\":[{\"mo"

/* How many VMs a state, a kept copy and the engine's own copy tell of together; negative: it cannot be read. */
static int vms(struct provider *p, const char *file, const char *kept, const char *backup, bool lost)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        _cleanup_error_ struct error error = ERROR_NULL;
        write_at(p, "dev.tfstate", file);
        write_at(p, "dev.tfstate.kept", kept);
        write_at(p, "dev.tfstate.backup", backup);
        int r = state_read(p, &state, &error);
        assert_int_equal(state.lost, lost);
        assert_true(!lost || tf_in_doubt(p, &state));
        return r < 0 ? r : (int)state.n;
}

static void takes_no_cut_state_for_an_empty_one(void **state)
{
        struct provider *p = ((struct place *)*state)->p;
        assert_int_equal(vms(p, NULL, NULL, NULL, false), 0); /* nothing was ever made */
        assert_int_equal(vms(p, "", NULL, NULL, false), 0);
        assert_int_equal(vms(p, ONE, TWO, TWO, false), 1); /* a whole one is as it is, also after a destroy */
        assert_int_equal(vms(p, NONE, TWO, TWO, false), 0);
        assert_int_equal(vms(p, "", NONE, TWO, false), 0);
        assert_int_equal(vms(p, "", TWO, ONE, true), 2);
        assert_int_equal(vms(p, " \n", TWO, NULL, true), 2);
        assert_int_equal(vms(p, NULL, TWO, NULL, true), 2);
        assert_int_equal(vms(p, HALF, TWO, ONE, true), 2);
        assert_int_equal(vms(p, HALF, NULL, ONE, true), 1);
        assert_int_equal(vms(p, HALF, HALF, ONE, true), 1);
        assert_int_equal(vms(p, HALF, NONE, NULL, true), 0);
        assert_int_equal(vms(p, HALF, NULL, NULL, false), -EINVAL);
        assert_int_equal(vms(p, "{\"version\":5}", ONE, ONE, false), -ENOTSUP); /* a newer one is no broken one */
}

static void keeps_and_restores(void **state)
{
        struct provider *p = ((struct place *)*state)->p;
        assert_int_equal(vms(p, TWO, ONE, NULL, false), 2);
        assert_true(has_text(p, "dev.tfstate.kept", TWO));
        p->lock_fd = -1; /* who only looks keeps nothing: an engine may be at work */
        assert_int_equal(vms(p, ONE, TWO, NULL, false), 1);
        assert_true(has_text(p, "dev.tfstate.kept", TWO));
        p->lock_fd = STDIN_FILENO;

        assert_int_equal(vms(p, HALF, TWO, NULL, true), 2);
        assert_int_equal(copy_restore(p, NULL, NULL), 0);
        assert_true(has_text(p, "dev.tfstate", TWO));
        assert_true(has_text(p, "dev.tfstate.broken", HALF));
        assert_int_equal(vms(p, ONE, TWO, NULL, false), 1);
        assert_int_equal(copy_restore(p, NULL, NULL), 0);
        assert_true(has_text(p, "dev.tfstate", ONE));

        /* while the engine is at work */
        write_at(p, "dev.tfstate.kept", NULL);
        copy_look(p);
        assert_true(has_text(p, "dev.tfstate.kept", ONE));
        write_at(p, "dev.tfstate", HALF);
        copy_look(p);
        assert_true(has_text(p, "dev.tfstate.kept", ONE));
}

#define VM(index, actions) \
        "{\"address\":\"x.lablink_vm[" index "]\",\"name\":\"lablink_vm\",\"index\":" index \
        ",\"change\":{\"actions\":[" actions "]}}"
#define DISK(index, actions) \
        "{\"address\":\"x.disk[" index "]\",\"name\":\"disk\",\"index\":" index ",\"change\":{\"actions\":[" actions \
        "]}}"
#define REPLACE "\"delete\",\"create\""

static int check(const char *changes, const char *replace, const char *returns)
{
        _cleanup_free_ char *text = xasprintf("{\"format_version\":\"1.2\",\"resource_changes\":[%s]}", changes);
        _cleanup_json_ json_t *plan = json_loads(text, 0, NULL), *names = json_pack("[s]", "lablink-vm-dev-4");
        _cleanup_json_ json_t *found = json_array();
        plan_returns(plan, "dev", names, found);
        _cleanup_free_ char *told = json_text(found);
        assert_string_equal(told, returns);
        return plan_check(plan, "dev", replace, NULL);
}

/* What a machine that ended by itself has left goes with its return; what belongs to one that is there does not. */
static void lets_vanished_machines_return(void **state _unused_)
{
        const char *two = "[\"lablink-vm-dev-2\"]";
        assert_int_equal(check(VM("3", "\"create\"") "," VM("0", "\"no-op\""), NULL, "[]"), 0);
        assert_int_equal(check(VM("1", "\"create\"") "," DISK("1", REPLACE), NULL, two), 0);
        assert_int_equal(check(DISK("1", REPLACE) "," VM("1", "\"create\"") "," VM("3", "\"create\""), NULL, two), 0);
        assert_int_equal(check(VM("1", "\"create\"") "," DISK("0", REPLACE), NULL, two), -EPERM);
        assert_int_equal(check(VM("1", "\"create\"") "," VM("0", "\"delete\""), NULL, two), -EPERM);
        assert_int_equal(check(VM("1", "\"no-op\"") "," DISK("1", "\"delete\""), NULL, "[]"), -EPERM);
        assert_int_equal(check(VM("1", REPLACE) "," DISK("1", REPLACE), NULL, "[]"), -EPERM);
        assert_int_equal(check(VM("0", REPLACE) "," DISK("0", REPLACE) "," VM("1", "\"create\"") "," DISK("1", REPLACE),
                               "x.lablink_vm[0]", two),
                         0);
}

static void gives_secrets_while_there_is_room(void **state)
{
        struct provider *p = ((struct place *)*state)->p;
        const char *secret = "0123456789012345678901234567890123456789012";
        _cleanup_json_ json_t *tokens = json_object(), *coming = json_pack("[s]", "lablink-vm-dev-2000");
        char **names = xcalloc(5001, sizeof *names);
        for (int i = 0; i < 5000; i++) {
                names[i] = xasprintf("lablink-vm-dev-%d", i + 1);
                if (i < 2000)
                        json_object_set_new(tokens, names[i], json_string(secret));
        }
        size_t room = tokens_room(names);
        assert_true(room > 1500 && room < 2000);
        assert_int_equal(tokens_save(p, tokens, NULL), 0);
        _cleanup_free_ char *none = tokens_text(p);
        assert_string_equal(none, "{}");
        p->coming = coming;
        _cleanup_free_ char *one = tokens_text(p);
        _cleanup_free_ char *wanted = xasprintf("{\"lablink-vm-dev-2000\":\"%s\"}", secret);
        assert_string_equal(one, wanted);
        /* all of those that there is room for are given, and they fit */
        for (size_t i = room; i < 2000; i++)
                json_object_del(tokens, names[i]);
        assert_int_equal(tokens_save(p, tokens, NULL), 0);
        _cleanup_free_ char *all = tokens_text(p);
        assert_true(strlen(all) > room * (strlen(secret) + 16) && strlen(all) + sizeof TOKENS_VARIABLE "=" <= 131072);
        strv_freep(&names);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(takes_no_cut_state_for_an_empty_one, place_make, place_clear),
                cmocka_unit_test_setup_teardown(keeps_and_restores, place_make, place_clear),
                cmocka_unit_test(lets_vanished_machines_return),
                cmocka_unit_test_setup_teardown(gives_secrets_while_there_is_room, place_make, place_clear)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}

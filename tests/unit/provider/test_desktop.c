/*
 * The desktop inside a VM: reached by its socket and by nothing else, without a password, as the participant; whatever
 * of it is killed comes back, and what nobody killed stays.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "rig.h"

/* The first words of RFB, and the security types that are offered: their number, then each. */
static const char greet[] = "perl -MIO::Socket::UNIX -e '"
                            "my $s = IO::Socket::UNIX->new(Peer => \"/run/lablink/rfb\") or exit 1;"
                            "read $s, my $version, 12; print $s $version; $s->flush; read $s, my $types, 2;"
                            "chomp $version; print \"$version \", join(\" \", unpack(\"C*\", $types))'";

static void launch_with_desktop(struct rig *rig)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        str_replace(&rig->config->desktop.mode, "browser");
        if (rig_launch(rig, &error, "one", NULL) < 0)
                fail_msg("%s", error_text(&error));
        rig_wait(rig, "one", "test -s /run/lablink-desktop/display");
}

static void test_one_door(void **state)
{
        struct rig *rig = *state;
        launch_with_desktop(rig);
        _cleanup_free_ char *said = rig_say(rig, "one", true, greet);
        assert_string_equal(said, "RFB 003.008 1 1"); /* one type: none */
        _cleanup_free_ char *socket = rig_say(rig, "one", true, "stat -L -c '%U %a' /run/lablink/rfb");
        assert_string_equal(socket, "client 600");
        _cleanup_free_ char *who = rig_say(rig, "one", true, "ps -o user= -C Xvnc -C Xtigervnc -C openbox | sort -u");
        assert_string_equal(who, "client");
        /* state 0A: a TCP socket that listens */
        _cleanup_free_ char *listening = rig_say(rig, "one", true,
                                                 "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\"'");
        assert_string_equal(listening, "");
}

static void test_killed_parts_come_back(void **state)
{
        struct rig *rig = *state;
        launch_with_desktop(rig);
        free(rig_say(rig, "one", true,
                     "mkdir -p /var/lib/lablink-client; echo '{\"generation\": 1}' >/var/lib/lablink-client/state.json;"
                     "lablink-software; lablink-software"));
        rig_wait(rig, "one", "pgrep -f '^xterm.*attach-session' >/dev/null");
        _cleanup_free_ char *before = rig_say(rig, "one", true, "pgrep -f '^xterm.*attach-session'");
        free(rig_say(rig, "one", true, "pgrep -x openbox >/run/old; pkill -9 -x openbox"));
        rig_wait(rig, "one", "pgrep -x openbox && test \"$(pgrep -x openbox)\" != \"$(cat /run/old)\"");
        _cleanup_free_ char *after = rig_say(rig, "one", true, "pgrep -f '^xterm.*attach-session'");
        assert_string_equal(before, after); /* one window, and still the same */
        free(rig_say(rig, "one", true, "cat /run/terminal.pid >/run/old; pkill -9 -f '^Xvnc '"));
        rig_wait(rig, "one",
                 "test \"$(cat /run/terminal.pid)\" != \"$(cat /run/old)\" && pgrep -f '^xterm.*attach-session'");
        _cleanup_free_ char *said = rig_say(rig, "one", true, greet);
        assert_string_equal(said, "RFB 003.008 1 1");
}

static void test_none_where_none_is_wanted(void **state)
{
        struct rig *rig = *state;
        _cleanup_error_ struct error error = ERROR_NULL;
        if (rig_launch(rig, &error, "one", NULL) < 0)
                fail_msg("%s", error_text(&error));
        rig_wait(rig, "one", "grep -q 'one runs$' /var/log/lablink-boot.log");
        free(rig_say(rig, "one", true, "test ! -e /run/desktop-wanted && ! pgrep -f '^Xvnc '"));
}

#define desktop(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                desktop(test_one_door),
                desktop(test_killed_parts_come_back),
                desktop(test_none_where_none_is_wanted),
        };
        if (!rig_possible() || !program_exists("Xvnc") || !program_exists("openbox"))
                return RIG_SKIP;
        return cmocka_run_group_tests_name("desktop", tests, NULL, NULL);
}

/* The table of commands, the table of options, and how both become what src/base/usage.h parses and prints. */
#include "cli/commands.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"

const struct command commands[] = {
        {"status", NULL, "Show the lab: VMs, provider, running operation, address.", run_status, 0, 0, 0},
        {"launch", "N", "Launch N more VMs and show how it goes.", run_launch, TAKES_DETACH, 1, 1, COMPLETES_NOTHING,
         "Ctrl-C stops showing it, never the launch itself: `lablink operation cancel ID` does that."},
        {"destroy", NULL, "End all VMs and give up every seat.", run_destroy, TAKES_YES | TAKES_DETACH | TAKES_COLLECT,
         0, 0, COMPLETES_NOTHING,
         "Says when files were last collected and what is new since, and asks for the word yes on a terminal; elsewhere it "
         "wants --yes.\nParticipants' files go with their VMs; with --collect they are collected first, and nothing is "
         "destroyed when a VM cannot be."},
        {"download", NULL, "Collect the participants' files of all VMs and download them as one ZIP.", run_download,
         TAKES_WISHES, 0, 0, COMPLETES_NOTHING,
         "Without --extension, --directory or --everything the files with the configuration's machine.extension are "
         "collected. Ctrl-C ends\nneither the collecting nor what has been downloaded: the same command goes on where it "
         "was. -o names a directory (the ZIP gets its\nname from the time) or the file; left out: the working directory. "
         "The manifest inside names what is missing, and why."},
        {"repair", "refresh|retry|unlock", "Mend what a cut-off launch or destroy has left (provider terraform).",
         run_repair, TAKES_DETACH, 1, 1, COMPLETES_NOTHING,
         "refresh: compare the engine's state with what exists, and leave it at that. retry: make what is missing. unlock: "
         "take away the\nlock of an engine that has died, then refresh. `lablink status` says when it is needed."},
        {"vm list", NULL, "List the VMs and who has which seat.", run_vm_list, 0, 0, 0},
        {"vm show", "NAME", "Show all that is known of one VM.", run_vm_show, 0, 1, 1, COMPLETES_VM},
        {"vm watch", NULL, "Show VMs whenever something about them changes, until Ctrl-C.", run_vm_watch, 0, 0, 0},
        {"vm release", "NAME", "Take the seat of a VM back, or give up a VM that does not come up: it is made fresh.",
         run_vm_release, TAKES_YES, 1, 1, COMPLETES_VM,
         "Asks for the word yes on a terminal; elsewhere it wants --yes. Files that were not collected are lost."},
        {"vm exec", "NAME -- COMMAND [ARGUMENT...]", "Run a command in a VM, as its participant.", run_vm_exec,
         TAKES_ROOT, 2, ANY_WORDS, COMPLETES_VM,
         "Works on the machine of the lab and needs root. The exit code is the command's."},
        {"vm shell", "NAME", "Open a shell in a VM, as its participant.", run_vm_shell, TAKES_ROOT, 1, 1, COMPLETES_VM,
         "Works on the machine of the lab and needs root."},
        {"operation list", NULL, "List launches, destroys and other long work, the newest first.", run_operation_list,
         0, 0, 0},
        {"operation show", "ID", "Show one operation.", run_operation_show, 0, 1, 1},
        {"operation watch", "ID", "Show an operation's output from its first line to its end.", run_operation_watch, 0,
         1, 1, COMPLETES_NOTHING, "Ctrl-C stops showing it, not the operation."},
        {"operation cancel", "ID", "Ask an operation to stop at its next safe point.", run_operation_cancel, 0, 1, 1},
        {"logs", "NAME", "Print a VM's log.", run_logs, TAKES_TAIL | TAKES_FOLLOW, 1, 1, COMPLETES_VM},
        {"config show", NULL, "Print every setting and where it comes from; secrets are masked.", run_config_show, 0, 0,
         0},
        {"config check", NULL, "Say whether an allocator would start with this configuration.", run_config_check, 0, 0,
         0},
        {"admin password", NULL, "Print the administrator's generated password.", run_admin_password, 0, 0, 0},
        {"db url", NULL, "Print how to connect to the database, as psql takes it.", run_db_url, TAKES_SECRETS, 0, 0},
        {"db backup", "[FILE]", "Save the lab's database (seats, operations, logs) into a file; the lab may run.",
         run_db_backup, TAKES_YES, 0, 1, COMPLETES_FILE,
         "FILE may be a directory; left out: the working directory. The name is then lablink-DATE-TIME.dump. The file "
         "is an archive of\npg_dump with mode 0600 and holds secrets; it is whole or it is not there. A file that is "
         "there already is replaced with --yes only.\nWorks on the machine of the lab, as root or as the user who "
         "started the allocator."},
        {"db restore", "FILE", "Replace the lab's database by a backup; the allocator must be stopped.", run_db_restore,
         TAKES_YES, 1, 1, COMPLETES_FILE,
         "Asks for the word yes on a terminal; elsewhere it wants --yes. The file is read whole first: what is no "
         "backup of a lab, not whole\nor of a newer version is refused. The old database stays until the new one is "
         "complete; when anything goes wrong, nothing was\nchanged. VMs that were launched since the backup are "
         "listed as orphans by `lablink status`; `lablink destroy` ends them."},
        {"doctor", NULL, "Check the machine and the allocator and say what to do about what is wrong.", run_doctor, 0,
         0, 0, COMPLETES_NOTHING, "Exits with 1 when a check fails; warnings alone exit with 0."},
        {"help", "[COMMAND]", "Show help on a command.", run_help, 0, 0, 2, COMPLETES_COMMAND},
        {"completion", "bash|zsh", "Print a script that completes commands in a shell.", run_completion, 0, 1, 1,
         COMPLETES_SHELL, "bash: source <(lablink completion bash)"},
        {NULL},
};

#define AT(member) offsetof(struct options, member)

static const struct {
        unsigned takes; /* 0: every command */
        const char *name;
        char letter;
        enum opt_kind kind;
        const char *argument, *help;
        size_t target;
} option_rows[] = {
        {TAKES_YES, "yes", 'y', OPT_FLAG, NULL, "Do it without asking.", AT(yes)},
        {TAKES_DETACH, "detach", 'd', OPT_FLAG, NULL, "Start it and return at once.", AT(detach)},
        {TAKES_TAIL, "tail", 'n', OPT_STRING, "N", "Only the last N lines.", AT(tail)},
        {TAKES_FOLLOW, "follow", 'f', OPT_FLAG, NULL, "Go on with new lines until Ctrl-C.", AT(follow)},
        {TAKES_ROOT, "root", 0, OPT_FLAG, NULL, "As the VM's root instead of the participant.", AT(as_root)},
        {TAKES_SECRETS, "secrets", 0, OPT_FLAG, NULL, "With the password.", AT(secrets)},
        {TAKES_COLLECT, "collect", 0, OPT_FLAG, NULL, "Collect the participants' files first.", AT(collect)},
        {TAKES_WISHES, "extension", 'e', OPT_STRINGS, "EXTENSION", "Files with this extension; may be repeated.",
         AT(extensions)},
        {TAKES_WISHES, "directory", 0, OPT_STRING, "DIR", "Everything below this directory of the participant's home.",
         AT(directory)},
        {TAKES_WISHES, "everything", 0, OPT_FLAG, NULL, "Everything in the participants' homes.", AT(everything)},
        {TAKES_WISHES, "vm", 0, OPT_STRINGS, "NAME", "Of this VM only; may be repeated.", AT(vms)},
        {TAKES_WISHES, "names", 0, OPT_FLAG, NULL, "Folders carry the participant's e-mail address.", AT(names)},
        {TAKES_WISHES, "to", 'o', OPT_STRING, "DIR|FILE.zip", "Where the ZIP goes.", AT(to)},
        {0, "config", 'c', OPT_STRING, "FILE", "The lab's configuration file.", AT(config_file)},
        {0, "state-dir", 0, OPT_STRING, "DIR", "The lab's state directory; its socket is DIR/run/admin.sock.",
         AT(state_dir)},
        {0, "set", 0, OPT_STRINGS, "KEY=VALUE", "A setting over the file's, as section.key=value; may be repeated.",
         AT(sets)},
        {0, "url", 0, OPT_STRING, "URL", "Speak to the allocator at this URL instead of the local socket.", AT(url)},
        {0, "user", 0, OPT_STRING, "NAME", "Administrator's name for --url (admin).", AT(user)},
        {0, "password-file", 0, OPT_STRING, "FILE",
         "File with the administrator's password for --url; - is standard input.", AT(password_file)},
        {0, "output", 'o', OPT_STRING, "FORMAT", "text or json (text).", AT(output)},
        {0, "quiet", 'q', OPT_FLAG, NULL, "No progress and no confirmations.", AT(quiet)},
};
static_assert(ARRAY_SIZE(option_rows) < COMMAND_OPTIONS_MAX, "room for all options");

static const char *const environment[][2] = {
        {"LABLINK_SECTION_KEY", "A setting, as for the allocator; --set wins over it."},
        {"XDG_STATE_HOME", "Where the state directory of a lab that is not root's is looked for (~/.local/state)."},
        {NULL},
};

static const char exits[] = "0 when all went well; 1 when it failed; 2 for a wrong command line; 3 when no allocator "
                            "can be reached; 4 when the operation\nended as failed, interrupted or cancelled; 130 when "
                            "Ctrl-C ended the watching of one that goes on.\n`vm exec` gives the command's own.";

static bool is_noun(const char *word)
{
        for (const struct command *command = commands; command->name; command++)
                if (str_starts(command->name, word) && command->name[strlen(word)] == ' ')
                        return true;
        return false;
}

static int no_command(int n, char *const *words, struct error *error)
{
        const char *names[ARRAY_SIZE(commands)];
        size_t count = 0;
        bool noun = is_noun(words[0]);
        _cleanup_buf_ struct buf verbs = BUF_NULL;
        for (const struct command *command = commands; command->name; command++) {
                names[count++] = command->name;
                if (noun && str_starts(command->name, words[0]) && command->name[strlen(words[0])] == ' ')
                        buf_addf(&verbs, "%s%s", verbs.len ? ", " : "", command->name + strlen(words[0]) + 1);
        }
        names[count] = NULL;
        if (noun && n == 1)
                return error_set(error, -EINVAL, "%s needs a verb: %s", words[0], buf_str(&verbs));
        if (noun)
                return error_set(error, -EINVAL, "%s has no verb %.80s, only %s", words[0], words[1], buf_str(&verbs));
        _cleanup_free_ char *both = n > 1 ? xasprintf("%s %s", words[0], words[1]) : xstrdup(words[0]);
        const char *near = text_nearest(words[0], names);
        near = near ? near : text_nearest(both, names);
        return near ? error_set(error, -EINVAL, "unknown command %.80s; did you mean `%s`?", words[0], near)
                    : error_set(error, -EINVAL, "unknown command %.80s; --help lists the commands", words[0]);
}

const struct command *command_find(int n, char *const *words, int *ret_words, struct error *error)
{
        _cleanup_free_ char *both = n > 1 ? xasprintf("%s %s", words[0], words[1]) : NULL;
        for (const struct command *command = commands; command->name; command++) {
                *ret_words = strchr(command->name, ' ') ? 2 : 1;
                if (str_eq(command->name, *ret_words == 2 ? both : words[0]))
                        return command;
        }
        no_command(n, words, error);
        return NULL;
}

/* A general option gives its letter up to a command's own. */
static char letter_of(size_t row, unsigned takes)
{
        for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++)
                if (!option_rows[row].takes && (option_rows[i].takes & takes) &&
                    option_rows[i].letter == option_rows[row].letter)
                        return 0;
        return option_rows[row].letter;
}

static size_t add_options(unsigned takes, bool general, struct options *options, struct opt *out)
{
        size_t n = 0;
        for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++)
                if (option_rows[i].takes ? (option_rows[i].takes & takes) != 0 : general)
                        out[n++] = (struct opt){option_rows[i].name, letter_of(i, takes),
                                                option_rows[i].kind, option_rows[i].argument,
                                                option_rows[i].help, (char *)options + option_rows[i].target};
        out[n] = (struct opt){NULL};
        return n;
}

void command_options(const struct command *command, struct options *options, struct opt out[COMMAND_OPTIONS_MAX])
{
        add_options(command ? command->options : 0, true, options, out);
}

/* "NAME [--root] -- COMMAND" for people: the options stand behind the first word. */
static char *synopsis(const struct command *command, struct options *options)
{
        struct opt own[COMMAND_OPTIONS_MAX];
        _cleanup_buf_ struct buf out = BUF_NULL;
        const char *rest = command->arguments ? strstr(command->arguments, " -- ") : NULL;
        size_t first = rest ? (size_t)(rest - command->arguments) : strlen(str_or(command->arguments, ""));
        buf_add(&out, str_or(command->arguments, ""), first);
        add_options(command->options, false, options, own);
        for (struct opt *opt = own; opt->name; opt++)
                buf_addf(&out, "%s[--%s%s%s]", out.len ? " " : "", opt->name, opt->argument ? " " : "",
                         str_or(opt->argument, ""));
        buf_adds(&out, str_or(rest, ""));
        return buf_steal(&out);
}

static void fill_verbs(struct options *options, struct usage_room *room)
{
        room->verbs = xcalloc(ARRAY_SIZE(commands), sizeof(struct verb));
        room->verb_opts = xcalloc(ARRAY_SIZE(commands), COMMAND_OPTIONS_MAX * sizeof(struct opt));
        for (size_t i = 0; commands[i].name; i++) {
                struct opt *own = room->verb_opts + i * COMMAND_OPTIONS_MAX;
                add_options(commands[i].options, false, options, own);
                room->verbs[i] = (struct verb){commands[i].name, synopsis(&commands[i], options), commands[i].help,
                                               own};
        }
}

const struct usage *command_usage(const struct command *command, struct options *options, struct usage_room *room)
{
        *room = (struct usage_room){0};
        command_options(command, options, room->opts);
        room->usage = (struct usage){.options = room->opts, .synopses = room->synopses, .exits = exits};
        if (command) {
                room->usage.program = room->program = xasprintf("lablink %s", command->name);
                room->usage.summary = command->help;
                room->synopses[0] = room->synopsis = synopsis(command, options);
                room->usage.description = command->more;
                return &room->usage;
        }
        fill_verbs(options, room);
        room->usage.program = "lablink";
        room->usage.summary = "run a virtual teaching lab";
        room->synopses[0] = "[OPTION...] COMMAND [ARGUMENT...]";
        room->synopses[1] = "help COMMAND";
        room->usage.description = "Speaks to the lab's allocator: on the same machine over the socket in its state "
                                  "directory, as root or as the\nuser who started it, without a password; from "
                                  "elsewhere with --url.";
        room->usage.verbs = room->verbs;
        room->usage.environment = environment;
        return &room->usage;
}

void usage_room_deinit(struct usage_room *room)
{
        for (size_t i = 0; room->verbs && room->verbs[i].name; i++)
                free((char *)room->verbs[i].arguments);
        free(room->verbs);
        free(room->verb_opts);
        free(room->program);
        free(room->synopsis);
}

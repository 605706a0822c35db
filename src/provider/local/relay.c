/*
 * Bytes between our standard streams and those of a command in a VM: one channel a direction, each a buffer; what to
 * poll is derived from how full the buffers are. With a terminal, ours is put into raw mode for that time (each key
 * goes to the command, Ctrl-C too) and its size follows ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "provider/local/internal.h"

#define CHUNK 4096    /* PIPE_BUF: a write of it does not block after POLLOUT */
#define LINGER_MS 200 /* for output of a command that has ended but whose stream something else keeps open */
#define LINGER_BYTES 1048576
/* A terminal that could not be written for a moment does not always wake who polls for that (seen on Linux 6.18: POLLOUT
 * on a pty's master, which the next poll reported at once). So while something is to be written, we look again. */
#define LOOK_AGAIN_MS 50

struct channel {
        int from, to;
        bool own_from, own_to; /* closed with the channel, so that the command notices */
        bool never_blocks;     /* `to` is non-blocking: written at once, without asking */
        size_t moved;
        char data[CHUNK];
        size_t start, end;
};

static bool full(const struct channel *c)
{
        return c->start < c->end;
}

static void close_channel(struct channel *c)
{
        if (c->from >= 0 && c->own_from)
                close(c->from);
        if (c->to >= 0 && c->own_to)
                close(c->to);
        c->from = c->to = -1;
        c->start = c->end = 0;
}

/* EIO is how a terminal says that its other side was closed. */
static void move_in(struct channel *c)
{
        ssize_t n = read(c->from, c->data, sizeof c->data);
        if (n > 0) {
                c->start = 0;
                c->end = (size_t)n;
                c->moved += (size_t)n;
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
                close_channel(c);
        }
}

static void move_out(struct channel *c)
{
        ssize_t n = write(c->to, c->data + c->start, c->end - c->start);
        if (n >= 0)
                c->start += (size_t)n;
        else if (errno != EINTR && errno != EAGAIN)
                close_channel(c);
}

static struct pollfd wanted(const struct channel *c)
{
        if (c->from < 0)
                return (struct pollfd){.fd = -1};
        return (struct pollfd){.fd = full(c) ? c->to : c->from, .events = full(c) ? POLLOUT : POLLIN};
}

static void serve(struct channel *c, const struct pollfd *polled)
{
        if (polled->fd < 0 || !polled->revents)
                return;
        if (full(c))
                move_out(c);
        else
                move_in(c);
        if (c->never_blocks && full(c))
                move_out(c);
}

struct session {
        struct relay *relay;
        struct channel in, out, err;
        struct termios before;
        bool raw;
        int signals;
        sigset_t mask_before;
};

static void copy_size(int terminal)
{
        struct winsize size;
        if (terminal >= 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
                ioctl(terminal, TIOCSWINSZ, &size);
}

static void open_session(struct session *s)
{
        struct relay *relay = s->relay;
        sigset_t watched;
        bool terminal = relay->terminal >= 0;
        s->in = (struct channel){.from = STDIN_FILENO,
                                 .to = terminal ? relay->terminal : relay->to_stdin,
                                 .own_to = !terminal,
                                 .never_blocks = true};
        s->out = (struct channel){
                .from = terminal ? relay->terminal : relay->from_stdout, .own_from = !terminal, .to = STDOUT_FILENO};
        s->err = (struct channel){.from = relay->from_stderr, .own_from = true, .to = STDERR_FILENO};
        sigemptyset(&watched);
        sigaddset(&watched, SIGWINCH);
        sigaddset(&watched, SIGPIPE);
        if (terminal) { /* so that our terminal is put right again before we go */
                sigaddset(&watched, SIGTERM);
                sigaddset(&watched, SIGHUP);
        }
        sigprocmask(SIG_BLOCK, &watched, &s->mask_before);
        s->signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
        if (terminal && tcgetattr(STDIN_FILENO, &s->before) == 0) {
                struct termios raw = s->before;
                cfmakeraw(&raw);
                s->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
                copy_size(relay->terminal);
        }
        if (!terminal)
                fcntl(relay->to_stdin, F_SETFL, O_WRONLY | O_NONBLOCK);
}

/* True when we are asked to end. */
static bool take_signals(struct session *s)
{
        struct signalfd_siginfo info;
        bool end = false;
        while (s->signals >= 0 && read(s->signals, &info, sizeof info) == sizeof info) {
                if (info.ssi_signo == SIGWINCH)
                        copy_size(s->relay->terminal);
                else if (info.ssi_signo != SIGPIPE)
                        end = true;
        }
        return end;
}

static void close_session(struct session *s)
{
        if (s->raw)
                tcsetattr(STDIN_FILENO, TCSADRAIN, &s->before);
        close_channel(&s->in);
        close_channel(&s->out);
        close_channel(&s->err);
        closep(&s->relay->terminal);
        closep(&s->relay->child);
        take_signals(s); /* a SIGPIPE of a closed stream must not be delivered late */
        closep(&s->signals);
        sigprocmask(SIG_SETMASK, &s->mask_before, NULL);
}

static bool output_open(const struct session *s)
{
        return s->out.from >= 0 || s->err.from >= 0;
}

/* The command has ended and what it had written has been passed on. */
static bool finished(const struct session *s, bool quiet)
{
        if (full(&s->out) || full(&s->err))
                return false;
        return quiet || !output_open(s) || s->out.moved + s->err.moved > LINGER_BYTES;
}

static int patience(const struct session *s, bool ended)
{
        if (ended)
                return LINGER_MS;
        return full(&s->in) || full(&s->out) || full(&s->err) ? LOOK_AGAIN_MS : -1;
}

int relay_run(struct relay *relay, struct error *error)
{
        _cleanup_(close_session) struct session s = {.relay = relay, .signals = -1};
        bool ended = false;
        open_session(&s);
        for (;;) {
                struct pollfd polled[] = {wanted(&s.in),
                                          wanted(&s.out),
                                          wanted(&s.err),
                                          {.fd = s.signals, .events = POLLIN},
                                          {.fd = ended ? -1 : relay->child, .events = POLLIN}};
                int ready = poll(polled, ended ? 4 : 5, patience(&s, ended));
                if (ready < 0 && errno != EINTR)
                        return error_errno(error, errno, "cannot wait for the command");
                if (take_signals(&s))
                        return error_set(error, -EINTR, "asked to end");
                if (ended && finished(&s, ready == 0))
                        return 0;
                if (ready <= 0)
                        continue;
                serve(&s.in, &polled[0]);
                serve(&s.out, &polled[1]);
                serve(&s.err, &polled[2]);
                if (polled[4].revents && !ended) {
                        ended = true;
                        s.out.moved = s.err.moved = 0;
                        close_channel(&s.in);
                }
        }
}

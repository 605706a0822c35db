/*
 * The least that one thread can do for an HTTP request: read what came, count the blank lines that end requests, write
 * that many times the same answer. No parsing, no routing, no log. What this machine's kernel, loopback and load
 * generator allow is seen here, so a ratio to it says what the lab itself costs, on any machine.
 *
 * Prints its port, serves on 127.0.0.1 until it is killed. For `make bench` only.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n"
                             "Connection: keep-alive\r\n\r\n{\"status\":\"ok\"}";

/* How much of "\r\n\r\n" each connection has seen; a descriptor is its index. */
static unsigned char matched[65536];

static void die(const char *what)
{
        perror(what);
        exit(1);
}

static int listen_somewhere(void)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 1024) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                die("cannot listen");
        printf("%d\n", ntohs(address.sin_port));
        fflush(stdout);
        return fd;
}

static void watch(int epoll, int fd)
{
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                die("epoll_ctl");
}

static void accept_all(int epoll, int listener)
{
        const int on = 1;

        for (;;) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0)
                        return;
                if (fd >= (int)sizeof(matched)) {
                        close(fd);
                        continue;
                }
                matched[fd] = 0;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                watch(epoll, fd);
        }
}

static size_t count_requests(int fd, const char *data, size_t n)
{
        static const char end[] = "\r\n\r\n";
        size_t found = 0;

        for (size_t i = 0; i < n; i++) {
                matched[fd] = data[i] == end[matched[fd]] ? matched[fd] + 1 : data[i] == '\r';
                if (matched[fd] == 4) {
                        found++;
                        matched[fd] = 0;
                }
        }
        return found;
}

static void serve(int fd)
{
        char data[16384];
        ssize_t n = read(fd, data, sizeof(data));

        if (n < 0 && errno == EAGAIN)
                return;
        if (n <= 0) {
                close(fd);
                return;
        }
        for (size_t left = count_requests(fd, data, (size_t)n); left > 0; left--) {
                if (write(fd, answer, sizeof(answer) - 1) != (ssize_t)sizeof(answer) - 1) {
                        close(fd);
                        return;
                }
        }
}

int main(void)
{
        struct epoll_event events[256];
        int listener = listen_somewhere(), epoll = epoll_create1(EPOLL_CLOEXEC);

        signal(SIGPIPE, SIG_IGN);
        if (epoll < 0)
                die("epoll_create1");
        watch(epoll, listener);
        for (;;) {
                int n = epoll_wait(epoll, events, 256, -1);
                for (int i = 0; i < n; i++) {
                        if (events[i].data.fd == listener)
                                accept_all(epoll, listener);
                        else
                                serve(events[i].data.fd);
                }
        }
}

/*
 * The least that a relay can do, to see what of a relay's cost is the kernel's: connections come in pairs, and what one
 * of a pair sends is sent to the other. One wait, one recv and one send for each piece; no frames, no limits, no timers.
 *
 *   bench-relay        prints the port of 127.0.0.1 on which it listens
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 65536 /* descriptors */

static int partner[MOST]; /* of a descriptor; 0: it has none yet */

static void watch(int epoll, int fd)
{
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                exit(1);
}

static void take(int epoll, int listener)
{
        static int first;
        int fd = accept(listener, NULL, NULL), yes = 1;
        if (fd < 0 || fd >= MOST)
                exit(1);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (!first) {
                first = fd;
                return;
        }
        partner[fd] = first;
        partner[first] = fd;
        watch(epoll, first);
        watch(epoll, fd);
        first = 0;
}

static void carry(int fd)
{
        static char bytes[65536];
        ssize_t came = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (came <= 0 || send(partner[fd], bytes, (size_t)came, MSG_NOSIGNAL) != came)
                exit(0);
}

int main(void)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        int epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1000) < 0 ||
            getsockname(listener, (struct sockaddr *)&address, &size) < 0)
                return 1;
        printf("%d\n", ntohs(address.sin_port));
        fflush(stdout);
        watch(epoll, listener);
        for (;;) {
                struct epoll_event events[64];
                int n = epoll_wait(epoll, events, 64, -1);
                for (int i = 0; i < n; i++) {
                        if (events[i].data.fd == listener)
                                take(epoll, listener);
                        else
                                carry(events[i].data.fd);
                }
        }
}

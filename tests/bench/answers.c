/* Purpose: an HTTP server on loopback that does next to nothing, so that what is measured is the way to it: one thread, kept
 * connections, to every request the same answer, as Consul gives it for a key.
 *   answers     prints its port, then serves until it is ended */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MOST 64

static const char body[] =
    "[{\"LockIndex\":0,\"Key\":\"bench/key\",\"Flags\":0,\"Value\":\"d2hhdCBhIGtleSBtYXkgaG9sZA==\","
    "\"CreateIndex\":12,\"ModifyIndex\":12}]";

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, CLIENTS_MOST) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        return -1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

/* A request comes in one piece, and the next one after its answer: the clients are libcurl's. False at the end. */
static int serve(int client)
{
    char request[8192], answer[1024];
    ssize_t got = read(client, request, sizeof request);
    if (got < 4 || memcmp(request + got - 4, "\r\n\r\n", 4) != 0)
        return 0;
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: 12\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          sizeof body - 1, body);
    return write(client, answer, (size_t)length) == length;
}

static void accept_one(int listener, struct pollfd *clients, nfds_t *count)
{
    int client = accept(listener, NULL, NULL), yes = 1;
    if (client < 0)
        return;
    if (*count > CLIENTS_MOST) {
        close(client);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    clients[(*count)++] = (struct pollfd){.fd = client, .events = POLLIN};
}

int main(void)
{
    struct pollfd polled[CLIENTS_MOST + 1] = {{.fd = listen_somewhere(), .events = POLLIN}};
    nfds_t count = 1;
    if (polled[0].fd < 0)
        return 1;
    while (poll(polled, count, -1) > 0) {
        for (nfds_t i = count - 1; i > 0; i--)
            if (polled[i].revents && !serve(polled[i].fd)) {
                close(polled[i].fd);
                polled[i] = polled[--count];
            }
        if (polled[0].revents)
            accept_one(polled[0].fd, polled, &count);
    }
    return 1;
}

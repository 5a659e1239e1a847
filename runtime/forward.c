/* Listening for curl. */
#include "forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64

struct forward {
    uv_pipe_t listener; /* first: closed through it */
    struct runtime *runtime;
    char *address;
    int port;
    char folder[64];
    char socket[80];
    forward_accepted *accepted;
    void *owner; /* NULL once closed */
    bool tried;
    void *way; /* opened in advance, or NULL */
    forward_discard *discard;
    struct forward *next;
};

static void on_stream_closed(uv_handle_t *handle)
{
    free(handle);
}

/* The folder keeps other users out; other programs of this user are kept out here. */
static bool is_this_process(uv_stream_t *stream)
{
    uv_os_fd_t file;
    struct ucred peer;
    socklen_t length = sizeof peer;
    return uv_fileno((uv_handle_t *)stream, &file) == 0 &&
           getsockopt(file, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid == getpid();
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct forward *forward = listener->data;
    if (status < 0)
        return;
    uv_pipe_t *pipe = allocate_zeroed(1, sizeof *pipe);
    uv_pipe_init(&forward->runtime->loop, pipe, 0);
    if (uv_accept(listener, (uv_stream_t *)pipe) == 0 && forward->owner &&
        is_this_process((uv_stream_t *)pipe))
        forward->accepted(forward->owner, forward, (uv_stream_t *)pipe);
    else
        uv_close((uv_handle_t *)pipe, on_stream_closed);
}

static void on_closed(uv_handle_t *handle)
{
    struct forward *forward = handle->data;
    free(forward->address);
    free(forward);
}

static void forward_close(struct forward *forward)
{
    forward->owner = NULL;
    forward_offer(forward, NULL, NULL);
    uv_close((uv_handle_t *)&forward->listener, on_closed);
    if (*forward->socket)
        unlink(forward->socket);
    if (*forward->folder)
        rmdir(forward->folder);
}

struct forward *forward_open(struct runtime *runtime, struct forward **list, const char *address, int port,
                             forward_accepted *accepted, void *owner, struct failure *failure)
{
    struct forward *forward = allocate_zeroed(1, sizeof *forward);
    const char *place = getenv("XDG_RUNTIME_DIR");
    forward->runtime = runtime;
    forward->address = copy_text(address);
    forward->port = port;
    forward->accepted = accepted;
    forward->owner = owner;
    uv_pipe_init(&runtime->loop, &forward->listener, 0);
    forward->listener.data = forward;
    /* The path of a socket has 107 bytes at most. */
    if (!place || *place != '/' || strlen(place) > 40 || access(place, W_OK) != 0)
        place = "/tmp";
    snprintf(forward->folder, sizeof forward->folder, "%s/moonbook-XXXXXX", place);
    int error = mkdtemp(forward->folder) ? 0 : -1;
    if (error)
        *forward->folder = '\0';
    else
        snprintf(forward->socket, sizeof forward->socket, "%s/s", forward->folder);
    if (!error)
        error = uv_pipe_bind(&forward->listener, forward->socket);
    if (!error)
        error = uv_listen((uv_stream_t *)&forward->listener, BACKLOG, on_connection);
    if (error) {
        failure_set(failure, "failed", "forward", "no socket can be made in %s: %s", place,
                    error == -1 ? "no folder" : uv_strerror(error));
        forward_close(forward);
        return NULL;
    }
    forward->next = *list;
    *list = forward;
    return forward;
}

struct forward *forward_find(struct forward *list, const char *address, int port)
{
    while (list && (list->port != port || strcmp(list->address, address) != 0))
        list = list->next;
    return list;
}

const char *forward_socket(const struct forward *forward)
{
    return forward->socket;
}

const char *forward_address(const struct forward *forward)
{
    return forward->address;
}

int forward_port(const struct forward *forward)
{
    return forward->port;
}

void forward_offer(struct forward *forward, void *way, forward_discard *discard)
{
    if (forward->way)
        forward->discard(forward->way);
    forward->way = way;
    forward->discard = discard;
    forward->tried = forward->tried || way;
}

void *forward_take(struct forward *forward)
{
    void *way = forward->way;
    forward->way = NULL;
    return way;
}

bool forward_is_tried(const struct forward *forward)
{
    return forward->tried;
}

void forward_close_all(struct forward **list)
{
    struct forward *forward;
    while ((forward = *list)) {
        *list = forward->next;
        forward_close(forward);
    }
}

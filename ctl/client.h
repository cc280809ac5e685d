/* The client's end of the control protocol: blocking, one request at a time. */
#ifndef UNIMESH_CTL_CLIENT_H
#define UNIMESH_CTL_CLIENT_H

#include "ctl/control.h"

struct client {
    int fd;
    size_t in_len, in_used;
    uint8_t in[CONTROL_HEAD + CONTROL_FRAME_MAX];
    uint8_t out[CONTROL_HEAD + CONTROL_FRAME_MAX];
};

enum { CLIENT_TIMEOUT_MS = 30000, CLIENT_FOREVER = -1 };

/* ERR_UNREACHABLE: nobody answers there; ERR_DENIED; ERR_TOO_LARGE: the path; ERR_NOMEM. errno says more. */
enum err client_open(struct client **out, const char *path) MUST_USE;
void client_close(struct client **c);

/* ERR_CLOSED: the node hung up. */
enum err client_send(struct client *c, const struct control_message *m) MUST_USE;

/* The next message; its slices hold until the next call. timeout_ms of silence: ERR_TIMEOUT. ERR_CLOSED: the node
 * hung up; ERR_UNSUPPORTED, ERR_INVALID: not what we understand. */
enum err client_receive(struct client *c, int timeout_ms, struct control_message *out) MUST_USE;
/* Is a whole message here already, so that client_receive would not wait? */
bool client_has_message(const struct client *c);

#endif

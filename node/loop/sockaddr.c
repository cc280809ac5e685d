#include "node/loop/sockaddr.h"

#include <netinet/in.h>
#include <string.h>

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void sockaddr_from(const struct address *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (memcmp(a->ip, MAPPED, sizeof MAPPED) == 0) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(a->port);
        memcpy(&v4->sin_addr, a->ip + sizeof MAPPED, 4);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(a->port);
        memcpy(&v6->sin6_addr, a->ip, sizeof a->ip);
    }
}

enum err sockaddr_to(const struct sockaddr *sa, struct address *out)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sa;
        memcpy(out->ip, MAPPED, sizeof MAPPED);
        memcpy(out->ip + sizeof MAPPED, &v4->sin_addr, 4);
        out->port = ntohs(v4->sin_port);
        return ERR_OK;
    }
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;
        memcpy(out->ip, &v6->sin6_addr, sizeof out->ip);
        out->port = ntohs(v6->sin6_port);
        return ERR_OK;
    }
    return ERR_UNSUPPORTED;
}

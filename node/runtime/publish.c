#define _GNU_SOURCE
#include "node/runtime/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool bridge_has_address(const char *bridge)
{
    struct ifreq r = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)snprintf(r.ifr_name, sizeof r.ifr_name, "%s", bridge);
    bool has = fd >= 0 && ioctl(fd, SIOCGIFADDR, &r) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

/* Who listens there would hear nothing more. */
static bool port_in_use(const struct port_ref *p)
{
    const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(p->published)};
    int fd = socket(AF_INET, (p->protocol == PORT_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0), one = 1;
    if (fd >= 0 && p->protocol == PORT_TCP) /* what a connection of before left is no listener */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool used = fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof at) < 0 && errno == EADDRINUSE;
    if (fd >= 0)
        close(fd);
    return used;
}

static bool forwarding(void)
{
    char c = '0';
    int fd = open("/proc/sys/net/ipv4/ip_forward", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fd = open("/proc/sys/net/ipv4/ip_forward", O_RDONLY | O_CLOEXEC);
    bool on = fd >= 0 && pread(fd, &c, 1, 0) == 1 && (c == '1' || pwrite(fd, "1", 1, 0) == 1);
    if (fd >= 0)
        close(fd);
    return on;
}

enum err publish_ready(const char *bridge, const struct ip *ip, const struct guest_access *access, char *why,
                       size_t why_size)
{
    uint32_t published = 0;
    for (uint32_t i = 0; i < access->port_count; i++) {
        const struct port_ref *p = &access->ports[i];
        published += p->published != 0;
        if (p->published == 0 || !port_in_use(p))
            continue;
        (void)snprintf(why, why_size, "publish: something listens on its host's port %u/%s already", p->published,
                       p->protocol == PORT_TCP ? "tcp" : "udp");
        return ERR_BUSY;
    }
    if (published == 0 || ip_is_zero(ip)) /* of several nets those that have no address publish nothing */
        return ERR_OK;
    if (!bridge_has_address(bridge)) {
        (void)snprintf(why, why_size, "publish: its host has no IPv4 address on the bridge %s; give it one", bridge);
        return ERR_UNSUPPORTED;
    }
    if (!forwarding()) {
        (void)snprintf(why, why_size, "publish: its host forwards nothing; sysctl net.ipv4.ip_forward=1");
        return ERR_DENIED;
    }
    return ERR_OK;
}

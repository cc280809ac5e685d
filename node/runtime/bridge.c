#define _GNU_SOURCE
#include "node/runtime/bridge.h"

#include "node/runtime/tap.h"

#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct making {
    int fd;
    char *why;
    size_t why_size;
};

static struct ifreq named(const char *name)
{
    struct ifreq r;
    memset(&r, 0, sizeof r);
    memccpy(r.ifr_name, name, '\0', sizeof r.ifr_name - 1);
    return r;
}

static enum err failed(const struct making *m, const char *link, const char *what)
{
    (void)snprintf(m->why, m->why_size, "%s %s: %s", link, what, strerror(errno));
    return errno == EPERM ? ERR_DENIED : ERR_IO;
}

static enum err up(const struct making *m, const char *link)
{
    struct ifreq r = named(link);
    if (ioctl(m->fd, SIOCGIFFLAGS, &r) < 0)
        return failed(m, link, "can't be asked");
    r.ifr_flags |= IFF_UP;
    return ioctl(m->fd, SIOCSIFFLAGS, &r) < 0 ? failed(m, link, "can't be set up") : ERR_OK;
}

static enum err resize(const struct making *m, const char *link, unsigned mtu)
{
    struct ifreq r = named(link);
    r.ifr_mtu = (int)mtu;
    return ioctl(m->fd, SIOCSIFMTU, &r) < 0 ? failed(m, link, "can't have that MTU") : ERR_OK;
}

/* By /sys of this network namespace, were it another's, nothing is found, and the kernel refuses later. */
static bool on_bridge(const char *bridge, const char *link)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/sys/class/net/%.15s/brif/%.15s", bridge, link);
    return access(path, F_OK) == 0;
}

static enum err enslave(const struct making *m, const char *bridge, const char *uplink)
{
    struct ifreq r = named(uplink);
    if (on_bridge(bridge, uplink))
        return ERR_OK;
    if (ioctl(m->fd, SIOCGIFADDR, &r) == 0) {
        (void)snprintf(m->why, m->why_size,
                       "its uplink %s has an address; make the bridge %s by hand, with that address, and leave uplink "
                       "out", uplink, bridge);
        return ERR_CONFLICT;
    }
    r = named(bridge);
    r.ifr_ifindex = (int)if_nametoindex(uplink);
    if (ioctl(m->fd, SIOCBRADDIF, &r) == 0)
        return ERR_OK;
    if (errno != EBUSY)
        return failed(m, uplink, "can't be put on the bridge");
    return ERR_OK; /* on a bridge already: as a rule this one, which /sys did not show */
}

static enum err make(const struct making *m, const char *bridge, const char *uplink, unsigned mtu, bool *made)
{
    char ignored[160];
    *made = tap_bridge_usable(bridge, ignored, sizeof ignored) == ERR_NOT_FOUND;
    if (if_nametoindex(uplink) == 0) {
        (void)snprintf(m->why, m->why_size, "there is no link %s to be its uplink", uplink);
        return ERR_NOT_FOUND;
    }
    if (*made && if_nametoindex(bridge) != 0) {
        (void)snprintf(m->why, m->why_size, "%s is no bridge", bridge);
        return ERR_CONFLICT;
    }
    if (*made && ioctl(m->fd, SIOCBRADDBR, bridge) < 0)
        return failed(m, bridge, "can't be made");
    enum err err = mtu ? resize(m, uplink, mtu) : ERR_OK;
    if (!err)
        err = enslave(m, bridge, uplink);
    if (!err && mtu)
        err = resize(m, bridge, mtu);
    if (!err)
        err = up(m, uplink);
    if (!err)
        err = up(m, bridge);
    if (err && *made && err != ERR_IO)
        (void)ioctl(m->fd, SIOCBRDELBR, bridge); /* it is of no use */
    return err;
}

enum err bridge_usable(const struct network *n, enum bridge_before before, char *why, size_t why_size)
{
    bool made = false;
    if (n->uplink[0] != '\0') {
        const struct making m = {socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), why, why_size};
        if (m.fd < 0)
            return failed(&m, n->bridge, "can't be asked");
        enum err err = make(&m, n->bridge, n->uplink, n->mtu, &made);
        close(m.fd);
        if (err)
            return err;
    }
    if (made && before == BRIDGE_LOOKED_AT) {
        (void)snprintf(why, why_size, "its bridge was gone, and has been made again");
        return ERR_NOT_FOUND;
    }
    return tap_bridge_usable(n->bridge, why, why_size);
}

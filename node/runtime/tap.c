#define _GNU_SOURCE
#include "node/runtime/tap.h"
#include "node/runtime/fault.h"

#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ifreq named(const char *name)
{
    struct ifreq r;
    memset(&r, 0, sizeof r);
    memccpy(r.ifr_name, name, '\0', sizeof r.ifr_name - 1);
    return r;
}

/* -1 and errno. The tap is there from here on; without TUNSETPERSIST it goes with the descriptor. */
int tap_open(const char *name)
{
    struct ifreq r = named(name);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    r.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &r) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    return fd;
}

/* Asked of its driver, as /sys may show another network namespace than ours. */
static bool is_bridge(const char *name)
{
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    struct ifreq r = named(name);
    r.ifr_data = (void *)&info;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && ioctl(fd, SIOCETHTOOL, &r) == 0 && strcmp(info.driver, "bridge") == 0;
    if (fd >= 0)
        close(fd);
    return is;
}

static enum err no_bridge(const char *bridge, char *why, size_t why_size)
{
    if (if_nametoindex(bridge) == 0)
        (void)snprintf(why, why_size, "there is no bridge %s; make it, or name another", bridge);
    else
        (void)snprintf(why, why_size, "%s is no bridge", bridge);
    return ERR_NOT_FOUND;
}

enum err tap_bridge_usable(const char *bridge, char *why, size_t why_size)
{
    if (!is_bridge(bridge))
        return no_bridge(bridge, why, why_size);
    static bool tried;
    int fd = tried ? -1 : tap_open("umtry%d"); /* the kernel finds a free number */
    if (!tried && fd < 0) {
        (void)snprintf(why, why_size, "no tap can be made: %s; mesh-priv needs CAP_NET_ADMIN and /dev/net/tun",
                       strerror(errno));
        return ERR_DENIED;
    }
    if (fd >= 0)
        close(fd);
    tried = true; /* it will be so the next time, too */
    return ERR_OK;
}

/* A host's own IPv6 address has no place on a guest's link. Where there is no IPv6, there is nothing to say. */
static void no_ipv6(const char *name)
{
    char path[96];
    (void)snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%.15s/disable_ipv6", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, "1", 1);
    close(fd);
}

/* The host's end must differ from the guest's; and a bridge takes the lowest address of its links for its own, which is
 * no guest's to change. */
static void host_end(struct ifreq *r, const char *mac)
{
    unsigned b[6] = {0};
    (void)sscanf(mac, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]);
    r->ifr_hwaddr.sa_family = ARPHRD_ETHER;
    for (int i = 0; i < 6; i++)
        r->ifr_hwaddr.sa_data[i] = (char)(i == 0 ? 0xfe : b[i]);
}

/* 0, or an errno; *what: which step. */
static int wire(int control, const char *name, const char *bridge, const char *mac, const char **what)
{
    struct ifreq r = named(name);
    host_end(&r, mac);
    *what = "its address can't be set";
    if (ioctl(control, SIOCSIFHWADDR, &r) < 0)
        return errno;
    r = named(bridge);
    *what = "the bridge's MTU can't be read";
    if (ioctl(control, SIOCGIFMTU, &r) < 0)
        return errno;
    int mtu = r.ifr_mtu;
    r = named(name);
    r.ifr_mtu = mtu;
    *what = "its MTU can't be set";
    if (ioctl(control, SIOCSIFMTU, &r) < 0)
        return errno;
    no_ipv6(name);
    unsigned index = if_nametoindex(name);
    r = named(bridge);
    r.ifr_ifindex = (int)index;
    *what = "it can't be put on its bridge";
    if (index == 0 || (ioctl(control, SIOCBRADDIF, &r) < 0 && errno != EBUSY)) /* busy: it is on one already */
        return errno;
    r = named(name);
    *what = "it can't be set up";
    if (ioctl(control, SIOCGIFFLAGS, &r) < 0)
        return errno;
    r.ifr_flags |= IFF_UP;
    return ioctl(control, SIOCSIFFLAGS, &r) < 0 ? errno : 0;
}

/* What a bridge's other links had the kernel join to large frames would come in pieces that no guest asked for: Solo5's
 * tenders read 2 KiB at most, and cut the rest. They turn it off themselves, but may not in their jail. */
static void no_large_frames(int control, const char *name)
{
    static const uint32_t commands[] = {ETHTOOL_SGRO, ETHTOOL_SGSO};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct ethtool_value off = {.cmd = commands[i], .data = 0};
        struct ifreq r = named(name);
        r.ifr_data = (void *)&off;
        (void)ioctl(control, SIOCETHTOOL, &r);
    }
}

enum err tap_make(const char *name, const char *bridge, const char *mac, uint32_t owner, char *why, size_t why_size)
{
    const char *what = "it can't be made";
    if (!is_bridge(bridge))
        return no_bridge(bridge, why, why_size);
    int fd = tap_open(name);
    int error = fd < 0 ? errno : 0;
    int control = error ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!error && control < 0)
        error = errno;
    if (!error)
        error = wire(control, name, bridge, mac, &what);
    if (!error)
        no_large_frames(control, name);
    fault_point("priv.tap-wired");
    if (!error && owner != 0 && ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0)
        error = errno;
    if (!error && ioctl(fd, TUNSETPERSIST, 1) < 0)
        error = errno;
    if (error && fd >= 0)
        (void)ioctl(fd, TUNSETPERSIST, 0);
    if (control >= 0)
        close(control);
    if (fd >= 0)
        close(fd);
    if (error)
        (void)snprintf(why, why_size, "its tap on %s: %s: %s", bridge, what, strerror(error));
    return disk_err(error);
}

bool tap_exists(const char *name)
{
    return if_nametoindex(name) != 0;
}

enum err tap_remove(const char *name)
{
    if (!tap_exists(name))
        return ERR_OK;
    int fd = tap_open(name);
    if (fd < 0)
        return errno == EBUSY ? ERR_BUSY : disk_err(errno);
    int error = ioctl(fd, TUNSETPERSIST, 0) < 0 ? errno : 0;
    close(fd);
    return disk_err(error);
}

void tap_each(const char *prefix, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct if_nameindex *links = if_nameindex();
    for (struct if_nameindex *i = links; i != NULL && i->if_index != 0; i++)
        if (strncmp(i->if_name, prefix, strlen(prefix)) == 0)
            each(ctx, i->if_name);
    if (links != NULL)
        if_freenameindex(links);
}

/* What a test of networks asks and sees. Needs root in its network namespace.
 *
 *   net-probe ping ADDRESS           an ICMP echo; prints after how many us the answer came
 *   net-probe udp ADDRESS PORT TEXT  a datagram; prints the answer
 *   net-probe watch INTERFACE        `watching`, then a line for each frame that comes in, until it is
 *                                    ended
 *
 * The first two end with 1 when nothing comes within a second. A frame looks like one of these:
 *
 *     02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp 1 02:00:00:00:00:01 10.0.0.2 > 10.0.0.1
 *     02:00:00:00:00:01 > 02:00:00:00:00:02 udp 10.0.0.2:7 > 10.0.0.1:4711 TEXT
 *     02:00:00:00:00:01 > 02:00:00:00:00:02 ipv4 10.0.0.2 > 10.0.0.1 protocol 1
 *     02:00:00:00:00:01 > 33:33:00:00:00:01 type 86dd */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "net-probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int connected(const char *address, int type, int protocol, const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct timeval second = {.tv_sec = 1};
    int fd = socket(AF_INET, type, protocol);
    if (fd < 0)
        die("socket");
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
        errno = EINVAL;
        die(address);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second) < 0)
        die("setsockopt");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die(address);
    return fd;
}

static uint16_t checksum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static int ping(const char *address)
{
    enum { HEADER = 8, SIZE = 64, IPV4_HEADER = 20 };
    uint8_t out[SIZE] = {8 /* echo request */}, in[2048];
    int fd = connected(address, SOCK_RAW, IPPROTO_ICMP, "0");
    uint64_t from = now_us();
    out[4] = (uint8_t)(getpid() >> 8);
    out[5] = (uint8_t)getpid();
    for (unsigned i = HEADER; i < SIZE; i++)
        out[i] = (uint8_t)i;
    uint16_t sum = checksum(out, SIZE);
    out[2] = (uint8_t)(sum >> 8);
    out[3] = (uint8_t)sum;
    if (send(fd, out, SIZE, 0) != SIZE)
        die(address);
    while (now_us() - from < 1000000) {
        ssize_t n = recv(fd, in, sizeof in, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            die(address);
        /* All but the type and the checksum comes back. */
        if (n == IPV4_HEADER + SIZE && in[IPV4_HEADER] == 0 &&
            checksum(in + IPV4_HEADER, SIZE) == 0 &&
            memcmp(in + IPV4_HEADER + 4, out + 4, SIZE - 4) == 0) {
            printf("%" PRIu64 " us\n", now_us() - from);
            return 0;
        }
    }
    fprintf(stderr, "net-probe: %s: no answer within a second\n", address);
    return 1;
}

static int udp(const char *address, const char *port, const char *text)
{
    char in[65536];
    int fd = connected(address, SOCK_DGRAM, 0, port);
    if (send(fd, text, strlen(text), 0) < 0)
        die(address);
    ssize_t n = recv(fd, in, sizeof in, 0);
    if (n < 0)
        die(address);
    printf("%.*s\n", (int)n, in);
    return 0;
}

/* ---- watch ----------------------------------------------------------------------------------- */

static unsigned two(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static void print_mac(const uint8_t *m)
{
    printf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void print_ip(const uint8_t *a)
{
    printf("%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
}

static void print_udp(const uint8_t *ip, size_t len)
{
    const uint8_t *u = ip + 20;
    printf(" udp ");
    print_ip(ip + 12);
    printf(":%u > ", two(u));
    print_ip(ip + 16);
    printf(":%u ", two(u + 2));
    for (size_t i = 8; i < two(u + 4) && i + 20 < len; i++)
        putchar(u[i] >= ' ' && u[i] < 127 ? u[i] : '.');
}

static void print_frame(const uint8_t *p, size_t len)
{
    unsigned type = two(p + 12);
    const uint8_t *body = p + ETH_HLEN;
    size_t left = len - ETH_HLEN;
    print_mac(p + 6);
    printf(" > ");
    print_mac(p);
    if (type == ETHERTYPE_ARP && left >= 28) {
        printf(" arp %u ", two(body + 6));
        print_mac(body + 8);
        printf(" ");
        print_ip(body + 14);
        printf(" > ");
        print_ip(body + 24);
    } else if (type == ETHERTYPE_IP && left >= 28 && body[0] == 0x45 && body[9] == IPPROTO_UDP) {
        print_udp(body, left);
    } else if (type == ETHERTYPE_IP && left >= 20) {
        printf(" ipv4 ");
        print_ip(body + 12);
        printf(" > ");
        print_ip(body + 16);
        printf(" protocol %u", body[9]);
    } else {
        printf(" type %04x", type);
    }
    printf("\n");
}

/* The kernel takes a VLAN's tag off and tells of it apart: put it back. */
static size_t receive(int fd, uint8_t *frame, size_t size, struct sockaddr_ll *from)
{
    union {
        struct cmsghdr head;
        uint8_t space[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    } control;
    struct iovec io = {frame, size - 4};
    struct msghdr m = {.msg_name = from,
                       .msg_namelen = sizeof *from,
                       .msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &m, 0);
    if (n < 0)
        die("recvmsg");
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (n >= ETH_HLEN && c && c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) {
        struct tpacket_auxdata aux;
        memcpy(&aux, CMSG_DATA(c), sizeof aux);
        if (aux.tp_status & TP_STATUS_VLAN_VALID) {
            memmove(frame + 16, frame + 12, (size_t)n - 12);
            frame[12] = 0x81;
            frame[13] = 0;
            frame[14] = (uint8_t)(aux.tp_vlan_tci >> 8);
            frame[15] = (uint8_t)aux.tp_vlan_tci;
            n += 4;
        }
    }
    return (size_t)n;
}

static int watch(const char *interface)
{
    static uint8_t frame[65536];
    int on = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(interface)};
    struct packet_mreq all = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (fd < 0 || at.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) < 0)
        die(interface);
    printf("watching\n");
    for (;;) {
        struct sockaddr_ll from = {0};
        fflush(stdout);
        size_t n = receive(fd, frame, sizeof frame, &from);
        if (from.sll_pkttype != PACKET_OUTGOING && n >= ETH_HLEN)
            print_frame(frame, n);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "ping") == 0)
        return ping(argv[2]);
    if (argc == 5 && strcmp(argv[1], "udp") == 0)
        return udp(argv[2], argv[3], argv[4]);
    if (argc == 3 && strcmp(argv[1], "watch") == 0)
        return watch(argv[2]);
    fprintf(stderr, "usage: net-probe ping ADDRESS | udp ADDRESS PORT TEXT | watch INTERFACE\n");
    return 2;
}

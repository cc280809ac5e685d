/* A guest on a network: answers ARP, ICMP echo and UDP echo (port 7), pings others, and sends what
 * it should not, so that a test sees whether a filter drops it. Its arguments:
 *
 *   --ipv4=ADDRESS/LENGTH     its address (10.0.0.2/24), as MirageOS's guests are told theirs
 *   --ipv4-gateway=ADDRESS    for what is outside of that net
 *   --admin-ipv4=, --admin-ipv4-gateway=    the same for the second device, in net2
 *   --ping=ADDRESS            ping it each second, and say what came back; up to four of them
 *   --forge=KIND              send that each second, to all on the net; several: several times
 *   --beat=MS                 a heartbeat, a line `beat 17` each
 *
 * UDP port 7007 takes orders and answers `ok` when they are done: `ping ADDRESS`, `forge KIND
 * [ADDRESS]` (once, to whom asked), `exit N`. KIND and what it does wrong, to be read off the table
 * `forgeries`:
 *
 *   none    nothing: the datagram that the others are like
 *   mac     the Ethernet source is 02:00:00:66:66:66, or ADDRESS
 *   ip      the IPv4 source is the gateway's, or ADDRESS
 *   arp     an ARP answer that gives the gateway's address, or ADDRESS, as ours
 *   arpmac  an ARP answer for our address with the MAC 02:00:00:66:66:66, or ADDRESS, inside
 *   vlan    the datagram is in VLAN 1
 *   ra      an IPv6 router's advertisement
 *   dhcp    from a DHCP server's port
 *
 * A bad argument ends it with 64, as MirageOS's do; arguments that it doesn't know are not for it.
 */
#include "examples/guest/guest.h"
#include "examples/guest/notes.h"
#include "examples/guest/pc.h"
#include "tests/guest/nic.h"
#include "tests/guest/wire.h"

#ifdef NET_SECOND
GUEST_NOTES(GUEST_DEVICE("service", GUEST_NET), GUEST_DEVICE("admin", GUEST_NET))
enum { PORTS = 2 };
#elif defined NET_DISK
GUEST_NOTES(GUEST_DEVICE("service", GUEST_NET), GUEST_DEVICE("storage", GUEST_BLOCK)) /* which it leaves as it is */
enum { PORTS = 1 };
#else
GUEST_NOTES(GUEST_DEVICE("service", GUEST_NET))
enum { PORTS = 1 };
#endif

enum {
    UDP_ECHO = 7,
    UDP_DISCARD = 9,
    UDP_ORDERS = 7007,
    PINGS_MAX = 4,
    NEIGHBOURS = 8,
    STATUS_USAGE = 64,
    SECOND_US = 1000000
};

/* A device with its address, and who is known to live beside it. */
struct port {
    const char *name;
    uint32_t ip, mask, gateway;
    unsigned mask_length;
    struct neighbour {
        uint32_t ip;
        uint8_t mac[6];
    } neighbour[NEIGHBOURS];
    unsigned neighbour_next;
    /* The last frame whose receiver wasn't known: it goes out when that one answers. */
    uint8_t waiting[FRAME_MAX];
    size_t waiting_len;
    uint32_t waiting_for;
    struct nic nic;
};

static struct port ports[PORTS];

/* ---- what it says ---------------------------------------------------------------------------- */

static void say_begin(const struct port *p)
{
    say("net: ");
    say(p->name);
    say(": ");
}

/* A line: name, what, whom, and whatever number belongs to it. */
static void tell(const struct port *p, const char *what, uint32_t whom, const char *what_number,
                 uint64_t n)
{
    say_begin(p);
    say(what);
    say_ipv4(whom);
    if (what_number != NULL) {
        say(what_number);
        say_number(n);
    }
    say("\n");
}

/* ---- neighbours ------------------------------------------------------------------------------ */

static void send_arp(struct port *p, const uint8_t *to, const struct arp *a)
{
    uint8_t frame[ETHERNET + ARP];
    put_ethernet(frame, to, p->nic.mac, TYPE_ARP);
    put_arp(frame + ETHERNET, a);
    nic_send(&p->nic, frame, sizeof frame);
}

/* An ARP packet that says who we are. */
static struct arp own_arp(const struct port *p, uint16_t operation, const uint8_t *target_mac,
                          uint32_t target_ip)
{
    struct arp a = {.operation = operation, .sender_ip = p->ip, .target_ip = target_ip};
    copy(a.sender_mac, p->nic.mac, 6);
    copy(a.target_mac, target_mac, 6);
    return a;
}

static const uint8_t nobody[6];

static struct neighbour *neighbour_find(struct port *p, uint32_t ip)
{
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        if (p->neighbour[i].ip == ip)
            return &p->neighbour[i];
    return NULL;
}

static void neighbour_learn(struct port *p, uint32_t ip, const uint8_t *mac)
{
    struct neighbour *n = neighbour_find(p, ip);
    if (n == NULL)
        n = &p->neighbour[p->neighbour_next++ % NEIGHBOURS];
    else if (same(n->mac, mac, 6))
        return;
    n->ip = ip;
    copy(n->mac, mac, 6);
    say_begin(p);
    say_ipv4(ip);
    say(" is at ");
    say_mac(mac);
    say("\n");
    if (p->waiting_len > 0 && p->waiting_for == ip) {
        copy(p->waiting, mac, 6);
        nic_send(&p->nic, p->waiting, p->waiting_len);
        p->waiting_len = 0;
    }
}

static void on_arp(struct port *p, const uint8_t *packet)
{
    struct arp a;
    get_arp(packet, &a);
    bool for_us = a.target_ip == p->ip;
    if (a.sender_ip == p->ip && !same(a.sender_mac, p->nic.mac, 6)) {
        say_begin(p);
        say("our address is also at ");
        say_mac(a.sender_mac);
        say("\n");
        return;
    }
    if (a.sender_ip != 0 && (for_us || neighbour_find(p, a.sender_ip) != NULL))
        neighbour_learn(p, a.sender_ip, a.sender_mac);
    if (for_us && a.operation == ARP_REQUEST) {
        struct arp answer = own_arp(p, ARP_REPLY, a.sender_mac, a.sender_ip);
        send_arp(p, a.sender_mac, &answer);
        tell(p, "answered the ARP request of ", a.sender_ip, NULL, 0);
    }
}

/* Send an IPv4 packet that lies in `frame` behind ETHERNET bytes, to whoever leads to `to`. */
static void send_ipv4(struct port *p, uint8_t *frame, size_t len, uint32_t to)
{
    uint32_t next = ((to ^ p->ip) & p->mask) == 0 ? to : p->gateway;
    if (next == 0)
        return; /* no way leads there */
    const struct neighbour *n = neighbour_find(p, next);
    put_ethernet(frame, n != NULL ? n->mac : nobody, p->nic.mac, TYPE_IPV4);
    if (n != NULL) {
        nic_send(&p->nic, frame, len);
        return;
    }
    copy(p->waiting, frame, len);
    p->waiting_len = len;
    p->waiting_for = next;
    struct arp question = own_arp(p, ARP_REQUEST, nobody, next);
    send_arp(p, MAC_ALL, &question);
}

/* ---- pings ----------------------------------------------------------------------------------- */

static struct ping {
    uint32_t address;
    uint16_t sequence; /* of the last one */
    bool answered;
    uint64_t sent_us, next_us;
} pings[PINGS_MAX];
static unsigned ping_count;

enum { PING_ID = 0x756d };

static struct port *port_to(uint32_t address)
{
    for (unsigned i = 0; i < PORTS; i++)
        if (((address ^ ports[i].ip) & ports[i].mask) == 0)
            return &ports[i];
    return &ports[0];
}

static void ping_send(struct ping *g, uint64_t now_us)
{
    uint8_t frame[ETHERNET + IPV4 + ICMP + 16] = {0}, *icmp = frame + ETHERNET + IPV4;
    struct port *p = port_to(g->address);
    if (g->sequence > 0 && !g->answered)
        tell(p, "no answer to a ping from ", g->address, ", seq ", g->sequence);
    g->sequence++;
    g->answered = false;
    g->sent_us = now_us;
    g->next_us = now_us + SECOND_US;
    icmp[0] = ICMP_ECHO_REQUEST;
    put16(icmp + 4, PING_ID);
    put16(icmp + 6, g->sequence);
    put16(icmp + 2, checksum(0, icmp, ICMP + 16));
    put_ipv4(frame + ETHERNET, p->ip, g->address, PROTOCOL_ICMP, ICMP + 16);
    send_ipv4(p, frame, sizeof frame, g->address);
}

static bool ping_add(const char *address)
{
    if (ping_count == PINGS_MAX || !read_ipv4(&address, &pings[ping_count].address))
        return false;
    ping_count++;
    return true;
}

static void on_echo_reply(const struct port *p, uint32_t from, const uint8_t *icmp)
{
    for (unsigned i = 0; i < ping_count; i++) {
        struct ping *g = &pings[i];
        if (g->address != from || get16(icmp + 4) != PING_ID || get16(icmp + 6) != g->sequence ||
            g->answered)
            continue;
        g->answered = true;
        say_begin(p);
        say("ping answered by ");
        say_ipv4(from);
        say(", seq ");
        say_number(g->sequence);
        say(", after ");
        say_number(pc_now_us() - g->sent_us);
        say(" us\n");
    }
}

/* ---- forgeries ------------------------------------------------------------------------------- */

struct forging {
    struct port *port;
    const char *kind, *address; /* the latter may be empty */
    const uint8_t *to_mac;
    uint32_t to_ip;
    uint8_t mac[6]; /* what the forgeries begin with: the truth */
    uint32_t ip;
    uint16_t from_port, to_port;
    uint8_t frame[FRAME_MAX];
};

static size_t datagram(struct forging *f)
{
    char text[32] = "forged ";
    size_t len = 7;
    for (const char *k = f->kind; *k != '\0' && len < sizeof text; k++)
        text[len++] = *k;
    put_ethernet(f->frame, f->to_mac, f->mac, TYPE_IPV4);
    return ETHERNET +
           put_udp(f->frame + ETHERNET, f->ip, f->from_port, f->to_ip, f->to_port, text, len);
}

static bool wrong_mac(const struct forging *f, uint8_t out[static 6])
{
    static const uint8_t usual[6] = {2, 0, 0, 0x66, 0x66, 0x66};
    const char *s = f->address;
    copy(out, usual, 6);
    return *s == '\0' || read_mac(&s, out);
}

static bool wrong_ip(const struct forging *f, uint32_t *out)
{
    const char *s = f->address;
    *out = f->port->gateway;
    return *s == '\0' ? *out != 0 : read_ipv4(&s, out);
}

static size_t forge_mac(struct forging *f)
{
    return wrong_mac(f, f->mac) ? datagram(f) : 0;
}

static size_t forge_ip(struct forging *f)
{
    return wrong_ip(f, &f->ip) ? datagram(f) : 0;
}

static size_t arp_answer(struct forging *f, const struct arp *a)
{
    put_ethernet(f->frame, f->to_mac, f->port->nic.mac, TYPE_ARP);
    return ETHERNET + put_arp(f->frame + ETHERNET, a);
}

static size_t forge_arp(struct forging *f)
{
    struct arp a = own_arp(f->port, ARP_REPLY, f->to_mac, f->to_ip);
    return wrong_ip(f, &a.sender_ip) ? arp_answer(f, &a) : 0;
}

static size_t forge_arpmac(struct forging *f)
{
    struct arp a = own_arp(f->port, ARP_REPLY, f->to_mac, f->to_ip);
    return wrong_mac(f, a.sender_mac) ? arp_answer(f, &a) : 0;
}

static size_t forge_vlan(struct forging *f)
{
    size_t len = datagram(f);
    for (size_t i = len; i-- > 12;)
        f->frame[i + 4] = f->frame[i];
    put16(f->frame + 12, TYPE_VLAN);
    put16(f->frame + 14, 1);
    return len + 4;
}

static size_t forge_ra(struct forging *f)
{
    static const uint8_t to_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    static const uint8_t from[16] = {0xfe, 0x80, [15] = 0x66}, to[16] = {0xff, 0x02, [15] = 1};
    enum { IPV6 = 40, ADVERTISEMENT = 16, PROTOCOL_ICMPV6 = 58, ROUTER_ADVERTISEMENT = 134 };
    uint8_t *ip = f->frame + put_ethernet(f->frame, to_mac, f->mac, TYPE_IPV6), *icmp = ip + IPV6;
    for (unsigned i = 0; i < IPV6 + ADVERTISEMENT; i++)
        ip[i] = 0;
    ip[0] = 0x60;
    put16(ip + 4, ADVERTISEMENT);
    ip[6] = PROTOCOL_ICMPV6;
    ip[7] = 255;
    copy(ip + 8, from, 16);
    copy(ip + 24, to, 16);
    icmp[0] = ROUTER_ADVERTISEMENT;
    icmp[4] = 64;
    put16(icmp + 6, 1800);
    put16(icmp + 2, checksum(pseudo_header(from, to, 16, PROTOCOL_ICMPV6, ADVERTISEMENT), icmp,
                             ADVERTISEMENT));
    return ETHERNET + IPV6 + ADVERTISEMENT;
}

static size_t forge_dhcp(struct forging *f)
{
    f->from_port = 67;
    f->to_port = 68;
    return datagram(f);
}

static const struct {
    const char *kind;
    /* Returns the frame's length; 0: the address is none, or is missing. */
    size_t (*make)(struct forging *f);
} forgeries[] = {{"none", datagram}, {"mac", forge_mac},       {"ip", forge_ip},
                 {"arp", forge_arp}, {"arpmac", forge_arpmac}, {"vlan", forge_vlan},
                 {"ra", forge_ra},   {"dhcp", forge_dhcp}};
enum { FORGERIES = sizeof forgeries / sizeof forgeries[0] };

/* The place of this word in the table; FORGERIES: it isn't there. */
static unsigned forgery_find(const char *word)
{
    unsigned k = 0;
    while (k < FORGERIES && value_of(word, forgeries[k].kind) == NULL)
        k++;
    return k;
}

/* Send it once. False: the address doesn't fit. */
static bool forge(struct port *p, unsigned k, const char *address, const uint8_t *to_mac,
                  uint32_t to_ip)
{
    static struct forging f;
    f = (struct forging){.port = p,
                         .kind = forgeries[k].kind,
                         .address = address,
                         .to_mac = to_mac,
                         .to_ip = to_ip,
                         .ip = p->ip,
                         .from_port = UDP_ORDERS,
                         .to_port = UDP_DISCARD};
    copy(f.mac, p->nic.mac, 6);
    size_t len = forgeries[k].make(&f);
    if (len == 0)
        return false;
    nic_send(&p->nic, f.frame, len);
    say_begin(p);
    say("forged ");
    say(f.kind);
    say("\n");
    return true;
}

static uint32_t forged_each_second; /* a bit for each of the table */

static void forge_all(void)
{
    for (unsigned k = 0; k < FORGERIES; k++)
        if ((forged_each_second >> k & 1) != 0)
            (void)forge(&ports[0], k, "", MAC_ALL, ports[0].ip | ~ports[0].mask);
}

/* ---- what comes in --------------------------------------------------------------------------- */

/* An IPv4 packet for us, with its frame. */
struct packet {
    struct port *port;
    uint8_t *frame, *payload;
    uint32_t from;
    size_t len; /* the payload's */
};

static void answer_udp(const struct packet *k, const void *data, size_t len)
{
    static uint8_t frame[FRAME_MAX];
    put_ethernet(frame, k->frame + 6, k->port->nic.mac, TYPE_IPV4);
    len = ETHERNET + put_udp(frame + ETHERNET, k->port->ip, get16(k->payload + 2), k->from,
                             get16(k->payload), data, len);
    nic_send(&k->port->nic, frame, len);
}

/* The words of an order, which lie in `text` with a NUL behind: done? */
static bool order(const struct packet *k, const char *text)
{
    const char *argument = word_next(text);
    if (value_of(text, "ping") != NULL)
        return ping_add(argument);
    if (value_of(text, "forge") == NULL)
        return false;
    unsigned kind = forgery_find(argument);
    return kind < FORGERIES && forge(k->port, kind, word_next(argument), k->frame + 6, k->from);
}

static void on_order(const struct packet *k)
{
    char text[64] = "";
    size_t len = k->len - UDP < sizeof text - 1 ? k->len - UDP : sizeof text - 1;
    copy((uint8_t *)text, k->payload + UDP, len);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    if (value_of(text, "exit") != NULL) {
        answer_udp(k, "ok", 2);
        nic_flush(&k->port->nic);
        guest_exit((int)number(word_next(text)));
    }
    bool done = order(k, text);
    answer_udp(k, done ? "ok" : "what?", done ? 2 : 5);
    if (!done)
        tell(k->port, "an order that is none, from ", k->from, NULL, 0);
}

static void on_udp(const struct packet *k)
{
    if (k->len < UDP || get16(k->payload + 4) != k->len)
        return;
    if (get16(k->payload + 2) == UDP_ECHO) {
        answer_udp(k, k->payload + UDP, k->len - UDP);
        tell(k->port, "UDP echo to ", k->from, ", bytes ", k->len - UDP);
    } else if (get16(k->payload + 2) == UDP_ORDERS) {
        on_order(k);
    }
}

static void on_icmp(const struct packet *k)
{
    if (k->len < ICMP || checksum(0, k->payload, k->len) != 0)
        return;
    if (k->payload[0] == ICMP_ECHO_REPLY) {
        on_echo_reply(k->port, k->from, k->payload);
    } else if (k->payload[0] == ICMP_ECHO_REQUEST) {
        uint8_t mac[6];
        copy(mac, k->frame + 6, 6);
        k->payload[0] = ICMP_ECHO_REPLY;
        put16(k->payload + 2, 0);
        put16(k->payload + 2, checksum(0, k->payload, k->len));
        put_ethernet(k->frame, mac, k->port->nic.mac, TYPE_IPV4);
        put_ipv4(k->frame + ETHERNET, k->port->ip, k->from, PROTOCOL_ICMP, k->len);
        nic_send(&k->port->nic, k->frame, ETHERNET + IPV4 + k->len);
        tell(k->port, "answered the ping of ", k->from, ", seq ", get16(k->payload + 6));
    }
}

/* Packets with options or in fragments are not for such a small guest. */
static void on_ipv4(struct port *p, uint8_t *frame, size_t len)
{
    uint8_t *ip = frame + ETHERNET;
    size_t total = get16(ip + 2);
    if (ip[0] != 0x45 || total < IPV4 || total > len - ETHERNET || (get16(ip + 6) & 0x3fff) != 0 ||
        checksum(0, ip, IPV4) != 0 || get32(ip + 16) != p->ip)
        return;
    struct packet k = {.port = p,
                       .frame = frame,
                       .payload = ip + IPV4,
                       .from = get32(ip + 12),
                       .len = total - IPV4};
    if (ip[9] == PROTOCOL_ICMP)
        on_icmp(&k);
    else if (ip[9] == PROTOCOL_UDP)
        on_udp(&k);
}

static bool receive(struct port *p)
{
    static uint8_t frame[FRAME_MAX];
    size_t len = nic_receive(&p->nic, frame);
    if (len >= ETHERNET + ARP && get16(frame + 12) == TYPE_ARP)
        on_arp(p, frame + ETHERNET);
    else if (len >= ETHERNET + IPV4 && get16(frame + 12) == TYPE_IPV4)
        on_ipv4(p, frame, len);
    return len > 0;
}

/* ---- start, and then for ever ---------------------------------------------------------------- */

static _Noreturn void usage(const char *what)
{
    say("net: ");
    say(what);
    say("\n");
    guest_exit(STATUS_USAGE);
}

static void port_option(struct port *p, const char *word)
{
    const char *v;
    uint64_t length;
    if ((v = value_of(word, "--ipv4")) != NULL) {
        if (!read_ipv4(&v, &p->ip) || *v++ != '/' || (length = number(v)) < 1 || length > 32)
            usage("--ipv4 wants ADDRESS/LENGTH");
        p->mask_length = (unsigned)length;
        p->mask = UINT32_MAX << (32 - length);
    } else if ((v = value_of(word, "--ipv4-gateway")) != NULL && !read_ipv4(&v, &p->gateway)) {
        usage("--ipv4-gateway wants ADDRESS");
    }
}

static uint64_t beat_us;

static void option(const char *word)
{
    const char *v;
    port_option(&ports[0], word);
    if (PORTS == 2 && same(word, "--admin-", 8)) {
        char rest[64] = "--";
        for (size_t i = 2; i < sizeof rest - 1 && word[i + 6] != '\0' && word[i + 6] != ' '; i++)
            rest[i] = word[i + 6];
        port_option(&ports[PORTS - 1], rest);
    }
    if ((v = value_of(word, "--ping")) != NULL && !ping_add(v))
        usage("--ping wants ADDRESS, up to four times");
    if ((v = value_of(word, "--forge")) != NULL) {
        unsigned k = forgery_find(v);
        if (k == FORGERIES)
            usage("--forge wants none, mac, ip, arp, arpmac, vlan, ra or dhcp");
        forged_each_second |= 1u << k;
    }
    if ((v = value_of(word, "--beat")) != NULL)
        beat_us = number(v) * 1000;
}

static void port_begin(struct port *p, unsigned index)
{
    if (!nic_open(&p->nic, index)) {
        say_begin(p);
        say("no such net device\n");
        guest_exit(1);
    }
    say_begin(p);
    say_mac(p->nic.mac);
    say(", ");
    say_ipv4(p->ip);
    say("/");
    say_number(p->mask_length);
    if (p->gateway != 0) {
        say(", gateway ");
        say_ipv4(p->gateway);
    }
    say("\n");
    struct arp here = own_arp(p, ARP_REQUEST, nobody, p->ip);
    send_arp(p, MAC_ALL, &here);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Do what is due; when the next thing is. */
static uint64_t timers(uint64_t now_us)
{
    static uint64_t forge_next_us, beat_next_us, beats;
    uint64_t next = PC_FOREVER;
    for (unsigned i = 0; i < ping_count; i++) {
        if (pings[i].next_us <= now_us)
            ping_send(&pings[i], now_us);
        next = sooner(next, pings[i].next_us);
    }
    if (forged_each_second != 0) {
        if (forge_next_us <= now_us) {
            forge_all();
            forge_next_us = now_us + SECOND_US;
        }
        next = sooner(next, forge_next_us);
    }
    if (beat_us != 0) {
        if (beat_next_us <= now_us) {
            say("beat ");
            say_number(++beats);
            say("\n");
            beat_next_us = now_us + beat_us;
        }
        next = sooner(next, beat_next_us);
    }
    return next;
}

void guest_main(const char *command_line)
{
    static const char *const names[] = {"service", "admin"};
    for (unsigned i = 0; i < PORTS; i++) {
        ports[i].name = names[i];
        ports[i].ip = 0x0a000002 + (i << 8);
        ports[i].mask_length = 24;
        ports[i].mask = 0xffffff00;
    }
    for (const char *word = command_line; *word != '\0'; word = word_next(word))
        option(word);
    for (unsigned i = 0; i < PORTS; i++)
        port_begin(&ports[i], i);
    for (;;) {
        bool came = false;
        for (unsigned i = 0; i < PORTS; i++)
            came |= receive(&ports[i]);
        uint64_t next = timers(pc_now_us());
        if (!came)
            pc_wait_until(next);
    }
}

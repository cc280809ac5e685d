#include "tests/guest/wire.h"

#include "examples/guest/guest.h"

uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)(v >> 16));
    put16(p + 2, (uint16_t)v);
}

void copy(uint8_t *to, const void *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = ((const uint8_t *)from)[i];
}

bool same(const void *a, const void *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((const uint8_t *)a)[i] != ((const uint8_t *)b)[i])
            return false;
    return true;
}

uint16_t checksum(uint32_t sum, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += (i & 1) != 0 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

uint32_t pseudo_header(const uint8_t *source, const uint8_t *destination, size_t address_len,
                       uint8_t protocol, size_t len)
{
    uint32_t sum = protocol + (uint32_t)len;
    for (size_t i = 0; i < address_len; i += 2)
        sum += (uint32_t)get16(source + i) + get16(destination + i);
    return sum;
}

const uint8_t MAC_ALL[6] = {255, 255, 255, 255, 255, 255};

size_t put_ethernet(uint8_t *frame, const uint8_t *to, const uint8_t *from, uint16_t type)
{
    copy(frame, to, 6);
    copy(frame + 6, from, 6);
    put16(frame + 12, type);
    return ETHERNET;
}

size_t put_arp(uint8_t *p, const struct arp *a)
{
    put16(p, 1); /* Ethernet */
    put16(p + 2, TYPE_IPV4);
    p[4] = 6;
    p[5] = 4;
    put16(p + 6, a->operation);
    copy(p + 8, a->sender_mac, 6);
    put32(p + 14, a->sender_ip);
    copy(p + 18, a->target_mac, 6);
    put32(p + 24, a->target_ip);
    return ARP;
}

void get_arp(const uint8_t *p, struct arp *out)
{
    out->operation = get16(p + 6);
    copy(out->sender_mac, p + 8, 6);
    out->sender_ip = get32(p + 14);
    copy(out->target_mac, p + 18, 6);
    out->target_ip = get32(p + 24);
}

size_t put_ipv4(uint8_t *p, uint32_t from, uint32_t to, uint8_t protocol, size_t len)
{
    p[0] = 0x45;
    p[1] = 0;
    put16(p + 2, (uint16_t)(IPV4 + len));
    put32(p + 4, 0x4000); /* not to be cut into fragments, so that it needs no number */
    p[8] = 64;
    p[9] = protocol;
    put16(p + 10, 0);
    put32(p + 12, from);
    put32(p + 16, to);
    put16(p + 10, checksum(0, p, IPV4));
    return IPV4;
}

size_t put_udp(uint8_t *p, uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port,
               const void *data, size_t len)
{
    uint8_t *u = p + put_ipv4(p, from, to, PROTOCOL_UDP, UDP + len);
    put16(u, from_port);
    put16(u + 2, to_port);
    put16(u + 4, (uint16_t)(UDP + len));
    put16(u + 6, 0);
    copy(u + UDP, data, len);
    uint16_t sum =
        checksum(pseudo_header(p + 12, p + 16, 4, PROTOCOL_UDP, UDP + len), u, UDP + len);
    put16(u + 6, sum == 0 ? 0xffff : sum); /* 0 stands for none */
    return IPV4 + UDP + len;
}

static bool read_digits(const char **s, uint32_t *out)
{
    if (**s < '0' || **s > '9')
        return false;
    for (*out = 0; **s >= '0' && **s <= '9' && *out < 1000; (*s)++)
        *out = *out * 10 + (uint32_t)(**s - '0');
    return true;
}

bool read_ipv4(const char **s, uint32_t *out)
{
    uint32_t part;
    *out = 0;
    for (unsigned i = 0; i < 4; i++) {
        if ((i > 0 && *(*s)++ != '.') || !read_digits(s, &part) || part > 255)
            return false;
        *out = *out << 8 | part;
    }
    return true;
}

bool read_mac(const char **s, uint8_t out[static 6])
{
    for (unsigned i = 0; i < 12; i++) {
        if (i > 0 && i % 2 == 0 && *(*s)++ != ':')
            return false;
        char c = *(*s)++;
        uint8_t v = c >= '0' && c <= '9'   ? (uint8_t)(c - '0')
                    : c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10)
                                           : 255;
        if (v == 255)
            return false;
        out[i / 2] = (uint8_t)(i % 2 == 0 ? v << 4 : out[i / 2] | v);
    }
    return true;
}

void say_ipv4(uint32_t address)
{
    for (unsigned i = 0; i < 4; i++) {
        say(i > 0 ? "." : "");
        say_number(address >> (24 - 8 * i) & 255);
    }
}

void say_mac(const uint8_t *mac)
{
    static const char digit[] = "0123456789abcdef";
    char text[18];
    for (unsigned i = 0; i < 6; i++) {
        text[3 * i] = digit[mac[i] >> 4];
        text[3 * i + 1] = digit[mac[i] & 15];
        text[3 * i + 2] = i < 5 ? ':' : '\0';
    }
    say(text);
}

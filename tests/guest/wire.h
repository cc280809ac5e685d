/* Ethernet, ARP, IPv4, UDP and ICMP as bytes: building them, and addresses as text. IPv4 addresses
 * are numbers here. */
#ifndef UNIMESH_TESTS_GUEST_WIRE_H
#define UNIMESH_TESTS_GUEST_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ETHERNET = 14,
    IPV4 = 20, /* as we send it: without options */
    UDP = 8,
    ICMP = 8,
    ARP = 28,
    TYPE_IPV4 = 0x0800,
    TYPE_ARP = 0x0806,
    TYPE_VLAN = 0x8100,
    TYPE_IPV6 = 0x86dd,
    PROTOCOL_ICMP = 1,
    PROTOCOL_UDP = 17,
    ARP_REQUEST = 1,
    ARP_REPLY = 2,
    ICMP_ECHO_REPLY = 0,
    ICMP_ECHO_REQUEST = 8
};

uint16_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);
void put16(uint8_t *p, uint16_t v);
void put32(uint8_t *p, uint32_t v);
void copy(uint8_t *to, const void *from, size_t len);
bool same(const void *a, const void *b, size_t len);

/* The internet checksum of these bytes and of what was summed before (0 at first). Zero over what
 * carries its own. */
uint16_t checksum(uint32_t sum, const uint8_t *p, size_t len);
/* What a UDP or ICMPv6 checksum counts beside the packet. */
uint32_t pseudo_header(const uint8_t *source, const uint8_t *destination, size_t address_len,
                       uint8_t protocol, size_t len);

extern const uint8_t MAC_ALL[6];
/* Each writes at the frame's begin, or where its own header begins, and returns the length of what
 * it wrote. */
size_t put_ethernet(uint8_t *frame, const uint8_t *to, const uint8_t *from, uint16_t type);
struct arp {
    uint16_t operation;
    uint8_t sender_mac[6], target_mac[6];
    uint32_t sender_ip, target_ip;
};
size_t put_arp(uint8_t *p, const struct arp *a);
void get_arp(const uint8_t *p, struct arp *out);
/* A header for `len` bytes behind it. */
size_t put_ipv4(uint8_t *p, uint32_t from, uint32_t to, uint8_t protocol, size_t len);
/* A whole datagram with its IPv4 header. */
size_t put_udp(uint8_t *p, uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port,
               const void *data, size_t len);

/* From text; they move *s behind what they read. False: it is none. */
bool read_ipv4(const char **s, uint32_t *out);
bool read_mac(const char **s, uint8_t out[static 6]);
void say_ipv4(uint32_t address);
void say_mac(const uint8_t *mac);

#endif

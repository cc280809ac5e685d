/* IP addresses and the nets that they are in. Pure.
 *
 * Both families are 16 bytes: IPv6, or IPv4 mapped into it (::ffff:a.b.c.d). Zeros: none. */
#ifndef UNIMESH_BASE_IP_H
#define UNIMESH_BASE_IP_H

#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IP_TEXT = 40, SUBNET_TEXT = IP_TEXT + 4, IP4_AT = 12 /* where an IPv4 address begins in its 16 bytes */ };

struct ip {
    uint8_t b[16];
};

struct subnet { /* zeros: none */
    struct ip base;
    uint8_t bits; /* of its family: 24 of 10.0.0.0/24 */
};

bool ip_is4(const struct ip *ip);
bool ip_is_zero(const struct ip *ip);
bool ip_equal(const struct ip *a, const struct ip *b);
int ip_compare(const struct ip *a, const struct ip *b);
void ip_text(const struct ip *ip, char out[static IP_TEXT]); /* 192.0.2.1, or as RFC 5952 says */
/* An address at *s, which moves behind it. A dotted tail of an IPv6 address is not taken. False: there is none. */
bool ip_scan(const char **s, struct ip *out);
enum err ip_parse(const char *s, struct ip *out) MUST_USE; /* all of s */

bool subnet_given(const struct subnet *n);
/* "10.0.0.0/24". ERR_INVALID; so is a base with bits behind the prefix. */
enum err subnet_parse(const char *s, struct subnet *out) MUST_USE;
void subnet_text(const struct subnet *n, char out[static SUBNET_TEXT]);
bool subnet_has(const struct subnet *n, const struct ip *ip);
struct ip subnet_last(const struct subnet *n); /* its highest address */

/* Counting in 64 bits, which is all of a range that anybody picks from: ip + n, and b - a (UINT64_MAX: more). */
struct ip ip_add(const struct ip *ip, uint64_t n);
uint64_t ip_distance(const struct ip *a, const struct ip *b); /* a <= b */

#endif

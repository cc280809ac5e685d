#include "store/base/id.h"

#include "store/base/ip.h"
#include "store/base/text.h"

#include <stdio.h>
#include <string.h>

bool uid_equal(const struct uid *a, const struct uid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool hash_equal(const struct hash *a, const struct hash *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool hash_is_zero(const struct hash *h)
{
    static const struct hash zero;
    return hash_equal(h, &zero);
}

bool address_equal(const struct address *a, const struct address *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip) == 0 && a->port == b->port;
}

static void to_hex(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

static enum err from_hex(const char *s, uint8_t *out, size_t n)
{
    if (strlen(s) != 2 * n)
        return ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        int high = text_hex_digit(s[2 * i]), low = text_hex_digit(s[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return ERR_OK;
}

void node_id_text(node_id id, char out[static NODE_ID_TEXT])
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(id >> (56 - 8 * i));
    to_hex(b, sizeof b, out);
}

void uid_text(const struct uid *u, char out[static UID_TEXT])
{
    to_hex(u->b, sizeof u->b, out);
}

void hash_text(const struct hash *h, char out[static HASH_TEXT])
{
    to_hex(h->b, sizeof h->b, out);
}

enum err node_id_parse(const char *s, node_id *out)
{
    uint8_t b[8];
    enum err err = from_hex(s, b, sizeof b);
    if (err)
        return err;
    *out = 0;
    for (int i = 0; i < 8; i++)
        *out = *out << 8 | b[i];
    return ERR_OK;
}

enum err uid_parse(const char *s, struct uid *out)
{
    return from_hex(s, out->b, sizeof out->b);
}

enum err hash_parse(const char *s, struct hash *out)
{
    return from_hex(s, out->b, sizeof out->b);
}

/* ---- Addresses ----------------------------------------------------------------------------------- */

void address_text(const struct address *a, char out[static ADDRESS_TEXT])
{
    struct ip ip;
    char text[IP_TEXT];
    memcpy(ip.b, a->ip, sizeof ip.b);
    ip_text(&ip, text);
    snprintf(out, ADDRESS_TEXT, ip_is4(&ip) ? "%s:%u" : "[%s]:%u", text, a->port);
}

/* A decimal number without leading zeros, to the end of s. */
static bool port_parse(const char *s, uint16_t *out)
{
    unsigned v = 0;
    if (*s < '0' || *s > '9' || (s[0] == '0' && s[1]))
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        v = v * 10 + (unsigned)(*s - '0');
        if (v > UINT16_MAX)
            return false;
    }
    *out = (uint16_t)v;
    return !*s;
}

enum err address_parse(const char *s, struct address *out)
{
    struct address a = {0};
    struct ip ip;
    bool bracket = *s == '[', dotted = s[strspn(s, "0123456789")] == '.';
    s += bracket;
    if (dotted == bracket || !ip_scan(&s, &ip))
        return ERR_INVALID;
    if ((bracket && *s++ != ']') || *s++ != ':' || !port_parse(s, &a.port))
        return ERR_INVALID;
    memcpy(a.ip, ip.b, sizeof a.ip);
    *out = a;
    return ERR_OK;
}

bool name_valid(const char *s)
{
    size_t len = 0;
    while (len < NAME_SIZE && s[len])
        len++;
    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');
        bool inner = s[i] == '-' || s[i] == '.';
        if (!letter && !(inner && i > 0 && i + 1 < len))
            return false;
    }
    return true;
}

/* What comes in to an app's guests: ports that are open, to whom, and which of their hosts' ports lead to them. All
 * else is closed, but for answers to what a guest asked itself. Pure.
 *
 *   ports:   80  80/tcp  8000-8010/tcp  53/udp  icmp
 *   publish: 8080:80/tcp           the host's port, the guest's: which is open by that
 *   allow:   front  app:front  network:lan  10.0.0.0/8  fd00::1        (nothing: everybody)
 *   deny:    likewise; nothing of theirs comes in, not even answers */
#ifndef UNIMESH_MODEL_ACCESS_H
#define UNIMESH_MODEL_ACCESS_H

#include "store/base/cursor.h"
#include "store/base/err.h"
#include "store/base/ip.h"
#include "store/base/pack.h"
#include "store/model/record.h"

enum {
    PORTS_MAX = 16,   /* of an app */
    PEERS_MAX = 16,   /* whom it allows and denies, together */
    SOURCES_MAX = 256, /* … as subnets; of an app that is named, each address of its units is one */
    PORT_TEXT = 32
};

enum port_protocol { PORT_ICMP = 1, PORT_TCP = 6, PORT_UDP = 17 }; /* as IP numbers them; ICMPv6 is meant along */

struct port_ref {
    enum port_protocol protocol;
    uint16_t first, last; /* 0 for ICMP */
    uint16_t published;   /* the host's port that leads to `first`, which is `last`; 0: none */
};

enum peer_kind { PEER_SUBNET = 0, PEER_APP = 1, PEER_NETWORK = 2 };
enum peer_wish { PEER_ALLOW = 0, PEER_DENY = 1 };

struct peer_ref {
    enum peer_wish wish;
    enum peer_kind kind;
    char name[NAME_SIZE];
    struct subnet subnet;
};

struct access {
    uint32_t port_count;
    struct port_ref ports[PORTS_MAX];
    uint32_t peer_count;
    struct peer_ref peers[PEERS_MAX];
};

/* From words; `text` begins with the key. ERR_INVALID, ERR_FULL. */
enum err access_add_port(struct access *a, const char *word, char *text, size_t size) MUST_USE;
enum err access_add_published(struct access *a, const char *word, char *text, size_t size) MUST_USE;
enum err access_add_peer(struct access *a, enum peer_wish wish, const char *word, char *text, size_t size) MUST_USE;
/* By its key in an app file: ports, publish, allow or deny. */
enum err access_add(struct access *a, const char *key, const char *word, char *text, size_t size) MUST_USE;
void port_text(const struct port_ref *p, char out[static PORT_TEXT]); /* as `ports` or `publish` take it */
void peer_text(const struct peer_ref *p, char out[static NAME_SIZE + 16]);

/* No port twice, and all as the words above would make it. */
enum err access_check(const struct access *a, char *text, size_t size) MUST_USE;
bool access_empty(const struct access *a);
void access_encode(const struct access *a, struct pack *k);
void access_decode(struct cursor *c, struct access *out);

/* What a host does of it: names are resolved. */
struct source {
    enum peer_wish wish;
    struct subnet subnet;
};
struct guest_access {
    uint32_t port_count;
    struct port_ref ports[PORTS_MAX];
    uint32_t limited; /* 1: only those who are allowed may come, be there any or not */
    uint32_t source_count;
    struct source sources[SOURCES_MAX]; /* none within another of the same wish */
};
/* One that is within another is left out, and what is within it goes. ERR_FULL. */
enum err guest_access_add(struct guest_access *g, enum peer_wish wish, const struct subnet *s) MUST_USE;
void guest_access_encode(const struct guest_access *g, struct pack *k);
void guest_access_decode(struct cursor *c, struct guest_access *out);

#endif

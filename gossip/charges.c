#include "gossip/charges.h"

#include "store/base/list.h"

void charge_drop(struct charge_queues *q, struct charge *c)
{
    if (c->queued)
        DL_DELETE(q->told[c->told], c);
    c->queued = false;
}

static void queue(struct charge_queues *q, struct charge *c, uint32_t told)
{
    charge_drop(q, c);
    c->told = (uint8_t)told;
    c->queued = true;
    DL_APPEND(q->told[told], c);
}

void charge_set(struct charge_queues *q, struct charge *c, const struct accusation *by)
{
    const struct accusation word = *by; /* maybe this very one */
    charge_drop(q, c);
    *c = (struct charge){.a = word};
    queue(q, c, 0);
}

bool accusation_put(const struct accusation *a, struct pack *k, size_t room)
{
    struct pack part;
    size_t space = k->size - k->len;
    pack_init(&part, k->p + k->len, room < space ? room : space);
    accusation_encode(a, &part);
    if (pack_end(&part))
        return false;
    k->len += part.len;
    return true;
}

uint32_t charges_put(struct charge_queues *q, uint32_t limit, node_id not, struct pack *k, size_t room)
{
    uint32_t count = 0;
    size_t from = k->len;
    q->packet++;
    for (uint32_t told = 0; told < limit; told++) {
        struct charge *c, *next;
        DL_FOREACH_SAFE(q->told[told], c, next) {
            if (c->packet == q->packet || c->a.subject == not)
                continue;
            if (!accusation_put(&c->a, k, room - (k->len - from)))
                return count;
            count++;
            c->packet = q->packet;
            if (told + 1 < limit)
                queue(q, c, told + 1);
            else
                charge_drop(q, c);
        }
    }
    return count;
}

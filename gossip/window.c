/* The replay window of one sender (RFC 4303 §3.4.3): bit i of `seen` stands for the counter top - i. */
#include "gossip/packet.h"

enum { WINDOW_WIDTH = 128 };

enum err window_check(const struct window *w, uint64_t boot, uint64_t counter)
{
    if (boot < w->boot)
        return ERR_REPLAYED;
    if (boot > w->boot || counter > w->top)
        return ERR_OK;
    uint64_t back = w->top - counter;
    if (back >= WINDOW_WIDTH)
        return ERR_REPLAYED;
    return w->seen[back / 64] >> (back % 64) & 1 ? ERR_REPLAYED : ERR_OK;
}

static void shift(struct window *w, uint64_t by)
{
    if (by >= WINDOW_WIDTH) {
        w->seen[0] = w->seen[1] = 0;
    } else if (by >= 64) {
        w->seen[1] = w->seen[0] << (by - 64);
        w->seen[0] = 0;
    } else if (by > 0) {
        w->seen[1] = w->seen[1] << by | w->seen[0] >> (64 - by);
        w->seen[0] <<= by;
    }
}

void window_accept(struct window *w, uint64_t boot, uint64_t counter)
{
    if (boot < w->boot)
        return;
    if (boot > w->boot)
        *w = (struct window){.boot = boot};
    if (counter > w->top) {
        shift(w, counter - w->top);
        w->top = counter;
    }
    uint64_t back = w->top - counter;
    if (back < WINDOW_WIDTH)
        w->seen[back / 64] |= UINT64_C(1) << (back % 64);
}

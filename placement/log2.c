#include "placement/placement.h"

__extension__ typedef unsigned __int128 u128;

enum { FRACTION_BITS = 32 };

/* Bits of a binary logarithm by squaring (Knuth, TAOCP 1, 1.2.2, exercise 25): the mantissa lies in [1, 2), as
 * 1.63; a square of 2 or more is a one bit. Each squaring doubles the relative error of 2^-63, so that 32 of them
 * leave 2^-31. */
uint64_t placement_neg_log2(uint64_t u)
{
    if (u == 0)
        u = 1;
    unsigned top = 63;
    while (!(u >> top))
        top--;
    uint64_t mantissa = u << (63 - top);
    uint64_t log2 = (uint64_t)top << FRACTION_BITS;
    for (int bit = FRACTION_BITS - 1; bit >= 0; bit--) {
        u128 square = (u128)mantissa * mantissa; /* 2.126 */
        if (square >> 127) {
            log2 |= UINT64_C(1) << bit;
            mantissa = (uint64_t)(square >> 64);
        } else {
            mantissa = (uint64_t)(square >> 63);
        }
    }
    return ((uint64_t)64 << FRACTION_BITS) - log2;
}

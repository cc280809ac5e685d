/* libFuzzer: the control protocol's decoder, and what is inside a deploy. What is understood is
 * written again, and is understood the same. */
#include "tests/unit/control_samples.h"

#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);

static uint8_t out[2][CONTROL_HEAD + CONTROL_FRAME_MAX];

static size_t encode(const struct control_message *m, uint8_t *to)
{
    struct pack k;
    pack_init(&k, to, sizeof out[0]);
    CHECK(!control_encode(m, &k));
    return k.len;
}

/* Now and then begin again from something that is right. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    if (seed % 64 != 0)
        return LLVMFuzzerMutate(data, size, size_max);
    const struct control_message m = control_sample((int)(seed / 64 % CONTROL_SAMPLES));
    size_t n = encode(&m, out[0]) - CONTROL_HEAD;
    n = n < size_max ? n : size_max;
    memcpy(data, out[0] + CONTROL_HEAD, n);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct control_message m, again;
    size_t len;
    if (size >= CONTROL_HEAD && !control_length(data, &len))
        CHECK(len > 0 && len <= CONTROL_FRAME_MAX);
    if (control_decode(data, size, &m))
        return 0;
    size_t n = encode(&m, out[0]);
    CHECK(n - CONTROL_HEAD <= size); /* what was skipped is gone */
    CHECK(!control_decode(out[0] + CONTROL_HEAD, n - CONTROL_HEAD, &again));
    CHECK(encode(&again, out[1]) == n && memcmp(out[0], out[1], n) == 0);
    if (m.type == CONTROL_DEPLOY) {
        struct spec_body s;
        struct slice rest, arg;
        uint32_t args = 0;
        if (spec_body_decode(m.deploy.spec, &s))
            return 0;
        for (rest = s.args; spec_arg_next(&rest, &arg);)
            args++;
        CHECK(args == s.args_count);
    }
    return 0;
}

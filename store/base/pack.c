#include "store/base/pack.h"

#include "store/base/text.h"

#include <msgpack/pack.h>
#include <string.h>

static int write_bounded(void *data, const char *p, size_t len)
{
    struct pack *k = data;
    if (k->err || len > k->size - k->len) {
        k->err = ERR_TOO_LARGE;
        return -1;
    }
    if (len > 0)
        memcpy(k->p + k->len, p, len);
    k->len += len;
    return 0;
}

static msgpack_packer packer(struct pack *k)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, k, write_bounded);
    return pk;
}

void pack_init(struct pack *k, void *buffer, size_t size)
{
    *k = (struct pack){.p = buffer, .size = size};
}

void pack_uint(struct pack *k, uint64_t v)
{
    msgpack_packer pk = packer(k);
    msgpack_pack_uint64(&pk, v);
}

void pack_int(struct pack *k, int64_t v)
{
    msgpack_packer pk = packer(k);
    msgpack_pack_int64(&pk, v);
}

void pack_bool(struct pack *k, bool v)
{
    msgpack_packer pk = packer(k);
    if (v)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
}

void pack_bin(struct pack *k, const void *p, size_t len)
{
    msgpack_packer pk = packer(k);
    msgpack_pack_bin(&pk, len);
    if (len > 0)
        msgpack_pack_bin_body(&pk, p, len);
}

void pack_str(struct pack *k, const char *s)
{
    msgpack_packer pk = packer(k);
    size_t len = strlen(s);
    msgpack_pack_str(&pk, len);
    if (len > 0)
        msgpack_pack_str_body(&pk, s, len);
}

void pack_text(struct pack *k, const char *s, size_t size)
{
    char clean[PACK_TEXT_SIZE];
    CHECK(size <= sizeof clean);
    text_clean(clean, size, s);
    pack_str(k, clean);
}

void pack_array(struct pack *k, uint32_t count)
{
    msgpack_packer pk = packer(k);
    msgpack_pack_array(&pk, count);
}

void pack_raw(struct pack *k, const void *p, size_t len)
{
    (void)write_bounded(k, p, len);
}

enum err pack_end(const struct pack *k)
{
    return k->err;
}

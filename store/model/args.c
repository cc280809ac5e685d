#include "store/model/args.h"

#include "store/model/bodies.h"

#include <stdio.h>
#include <string.h>

enum template { TEMPLATE_SLOT, TEMPLATE_NODE, TEMPLATE_APP, TEMPLATE_COUNT };

static const struct {
    const char *word;
    size_t most; /* bytes of its value */
} templates[TEMPLATE_COUNT] = {{"slot", 5}, {"node", NAME_MAX_LEN}, {"app", NAME_MAX_LEN}};

/* The next word in double braces from *at on: its bytes, braces and all, and which it is (TEMPLATE_COUNT: none of
 * ours). Spaces within the braces don't count. false: there is none. */
static bool next(struct slice arg, size_t *at, size_t *len, enum template *which)
{
    for (size_t i = *at; i + 4 <= arg.len; i++) {
        if (arg.p[i] != '{' || arg.p[i + 1] != '{')
            continue;
        size_t from = i + 2, to = from;
        while (to + 2 <= arg.len && !(arg.p[to] == '}' && arg.p[to + 1] == '}'))
            to++;
        if (to + 2 > arg.len)
            return false; /* it is never closed */
        *at = i;
        *len = to + 2 - i;
        while (from < to && arg.p[from] == ' ')
            from++;
        while (to > from && arg.p[to - 1] == ' ')
            to--;
        *which = TEMPLATE_SLOT;
        while (*which < TEMPLATE_COUNT && (strlen(templates[*which].word) != to - from ||
                                           memcmp(templates[*which].word, arg.p + from, to - from) != 0))
            *which = (enum template)(*which + 1);
        return true;
    }
    return false;
}

enum err arg_check(const char *arg, char *text, size_t size)
{
    const struct slice s = {.p = (const uint8_t *)arg, .len = strlen(arg)};
    enum template which;
    for (size_t at = 0, len; next(s, &at, &len, &which); at += len) {
        if (which < TEMPLATE_COUNT)
            continue;
        snprintf(text, size, "args: %.*s is nothing that can be filled in; there are {{slot}}, {{node}} and {{app}}",
                 (int)(len < 40 ? len : 40), arg + at);
        return ERR_INVALID;
    }
    return ERR_OK;
}

size_t arg_len_most(struct slice arg)
{
    enum template which;
    size_t most = arg.len;
    for (size_t at = 0, len; next(arg, &at, &len, &which); at += len)
        if (which < TEMPLATE_COUNT && templates[which].most > len)
            most += templates[which].most - len;
    return most;
}

void arg_expand(struct slice arg, const struct arg_values *v, struct pack *k)
{
    char out[ARGS_BYTES_MAX + 1], slot[8];
    size_t at = 0, used = 0, from = 0;
    enum template which;
    snprintf(slot, sizeof slot, "%u", (unsigned)v->slot);
    const char *const values[TEMPLATE_COUNT] = {slot, v->node, v->app};
    for (size_t len; next(arg, &at, &len, &which); at = from) {
        const char *value = which < TEMPLATE_COUNT ? values[which] : NULL;
        size_t before = value ? at - from : at + len - from, more = value ? strlen(value) : 0;
        if (used + before + more > ARGS_BYTES_MAX)
            break; /* arg_len_most said so */
        memcpy(out + used, arg.p + from, before);
        used += before;
        if (more)
            memcpy(out + used, value, more);
        used += more;
        from = at + len;
    }
    size_t rest = arg.len - from < ARGS_BYTES_MAX - used ? arg.len - from : ARGS_BYTES_MAX - used;
    if (rest)
        memcpy(out + used, arg.p + from, rest);
    out[used + rest] = '\0';
    pack_str(k, out);
}

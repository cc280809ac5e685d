#include "node/networks.h"

#include <stdio.h>
#include <string.h>

static bool link_valid(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n >= LINK_SIZE || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/' || name[i] == ':' || name[i] == '=')
            return false;
    return true;
}

enum err networks_add(struct networks *n, const char *name, const char *bridge, char *why, size_t why_size)
{
    if (!name_valid(name)) {
        (void)snprintf(why, why_size, "\"%.70s\" is no network's name; take what an app may be called", name);
        return ERR_INVALID;
    }
    if (!link_valid(bridge)) {
        (void)snprintf(why, why_size, "\"%.40s\" is no bridge's name; `ip link show type bridge` lists what is there",
                       bridge);
        return ERR_INVALID;
    }
    uint32_t at = 0;
    while (at < n->count && strcmp(n->v[at].name, name) < 0)
        at++;
    if (at == n->count || strcmp(n->v[at].name, name) != 0) {
        if (n->count == NETWORKS_MAX) {
            (void)snprintf(why, why_size, "more than %d networks are given", NETWORKS_MAX);
            return ERR_FULL;
        }
        memmove(&n->v[at + 1], &n->v[at], (n->count - at) * sizeof n->v[0]);
        n->count++;
    }
    memset(&n->v[at], 0, sizeof n->v[at]);
    (void)snprintf(n->v[at].name, sizeof n->v[at].name, "%s", name);
    (void)snprintf(n->v[at].bridge, sizeof n->v[at].bridge, "%s", bridge);
    return ERR_OK;
}

const struct network *networks_find(const struct networks *n, const char *name)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (strcmp(n->v[i].name, name) == 0)
            return &n->v[i];
    return NULL;
}

#include "node/jail_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { UID_LEAST = 1000 /* below are the system's own */ };

static bool uid_parse_at(const char **text, uint64_t *out)
{
    size_t len = strspn(*text, "0123456789");
    *out = 0;
    for (size_t i = 0; i < len && *out <= UINT32_MAX; i++)
        *out = *out * 10 + (uint64_t)((*text)[i] - '0');
    *text += len;
    return len > 0 && *out < UINT32_MAX;
}

enum err jail_uids_parse(const char *text, struct jail_config *out)
{
    uint64_t first, last;
    if (!uid_parse_at(&text, &first) || *text++ != '-' || !uid_parse_at(&text, &last) || *text != '\0' ||
        first < UID_LEAST || last < first)
        return ERR_INVALID;
    out->uid_first = (uint32_t)first;
    out->uid_count = (uint32_t)(last - first + 1);
    return ERR_OK;
}

enum err jail_client_parse(const char *text, struct jail_config *out)
{
    uint64_t uid, gid;
    if (!uid_parse_at(&text, &uid) || *text++ != ':' || !uid_parse_at(&text, &gid) || *text != '\0' || uid == 0 ||
        gid == 0)
        return ERR_INVALID;
    out->client_uid = (uint32_t)uid;
    out->client_gid = (uint32_t)gid;
    return ERR_OK;
}

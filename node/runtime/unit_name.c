#include "node/runtime/unit_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void unit_name(const struct unit_id *u, char out[static UNIT_NAME_SIZE])
{
    char app[UID_TEXT];
    uid_text(&u->app, app);
    (void)snprintf(out, UNIT_NAME_SIZE, "%s.%u.%016" PRIx64, app, (unsigned)u->slot, u->epoch);
}

enum err unit_name_parse(const char *s, struct unit_id *out)
{
    char app[UID_TEXT], again[UNIT_NAME_SIZE];
    unsigned slot;
    if (sscanf(s, "%32[0-9a-f].%5u.%16" SCNx64, app, &slot, &out->epoch) != 3 || slot > UINT16_MAX)
        return ERR_INVALID;
    out->slot = (uint16_t)slot;
    if (uid_parse(app, &out->app) != ERR_OK)
        return ERR_INVALID;
    unit_name(out, again);
    return strcmp(s, again) == 0 ? ERR_OK : ERR_INVALID;
}

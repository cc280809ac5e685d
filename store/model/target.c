#include "store/model/target.h"

#include <string.h>

static const char *const names[TARGET_COUNT] = {
    [TARGET_NONE] = "",
    [TARGET_HVT] = "hvt",
    [TARGET_SPT] = "spt",
    [TARGET_VIRTIO] = "virtio",
};

const char *target_name(enum target t)
{
    return (unsigned)t < TARGET_COUNT ? names[t] : "";
}

enum err target_parse(const char *text, enum target *out)
{
    for (unsigned t = TARGET_NONE + 1; t < TARGET_COUNT; t++)
        if (strcmp(text, names[t]) == 0) {
            *out = (enum target)t;
            return ERR_OK;
        }
    return ERR_NOT_FOUND;
}

#include "store/base/err.h"

#include <stdio.h>
#include <stdlib.h>

const char *err_text(enum err e)
{
    switch (e) {
#define X(name, number, text)                                                                      \
    case ERR_##name:                                                                               \
        return text;
        ERR_LIST(X)
#undef X
    }
    return "unknown error";
}

const char *err_name(enum err e)
{
    switch (e) {
#define X(name, number, text)                                                                      \
    case ERR_##name:                                                                               \
        return #name;
        ERR_LIST(X)
#undef X
    }
    return "UNKNOWN";
}

_Noreturn void check_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: CHECK(%s) failed: this is a bug in unimesh\n", file, line, expression);
    abort();
}

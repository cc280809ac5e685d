/* Doubly linked lists: utlist, with its assertions bound to CHECK(), as the cores may not call the C library's. */
#ifndef UNIMESH_BASE_LIST_H
#define UNIMESH_BASE_LIST_H

#include "store/base/err.h"

#include <assert.h>
#include <utlist.h>

#undef assert
#define assert(what) CHECK(what)

#endif

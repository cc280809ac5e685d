/* Words for people that come from elsewhere: an operating system, a guest, a path, a peer. */
#ifndef UNIMESH_BASE_TEXT_H
#define UNIMESH_BASE_TEXT_H

#include <stddef.h>

/* Copy what src has before its NUL, at most size - 1 bytes; what is not UTF-8, and control characters, become '?',
 * and a character is not cut in two. */
void text_clean(char *out, size_t size, const char *src);

int text_hex_digit(char c); /* -1: it is none */

#endif

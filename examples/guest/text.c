/* Words to the console, words of the command line, and how a guest says that it ends. */
#include "guest.h"

/* What the compiler may call without a library. */
void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *memset(void *p, int v, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)p)[i] = (uint8_t)v;
    return p;
}

void say(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0')
        n++;
    guest_write(s, n);
}

void say_number(uint64_t v)
{
    char text[21];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    guest_write(text + at, sizeof text - at);
}

void guest_exit(int status)
{
    say("Solo5: solo5_exit(");
    say_number((uint64_t)status & 0xff);
    say(") called\n");
    guest_halt(status);
}

void guest_abort(void)
{
    say("Solo5: solo5_abort() called\n");
    guest_halt(255);
}

const char *word_next(const char *word)
{
    for (; *word != '\0' && *word != ' '; word++)
        if (*word == '\\' && word[1] != '\0')
            word++;
    while (*word == ' ')
        word++;
    return word;
}

const char *value_of(const char *word, const char *name)
{
    while (*name != '\0')
        if (*word++ != *name++)
            return NULL;
    if (*word == '=')
        return word + 1;
    return *word == '\0' || *word == ' ' ? word : NULL;
}

uint64_t number(const char *s)
{
    uint64_t v = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        v = v * 10 + (uint64_t)(*s - '0');
    return v;
}

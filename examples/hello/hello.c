/* A small guest: prints its arguments, then a heartbeat with a counter. By argument:
 *
 *   --interval=MS   between two beats (500)
 *   --beats=N       that many, then exit as --exit says (0: for ever)
 *   --exit=N        the exit status; alone: at once
 *   --abort         abort after the beats (or at once)
 *   --fill          write to all of its memory first
 *   --fault         read what isn't there, after the beats (or at once)
 *   --probe         use SSE, as every real guest does, and exit: can this host run the target?
 *
 * A beat is a line `beat 17`; the others begin otherwise. */
#include "examples/guest/guest.h"
#include "examples/guest/notes.h"

GUEST_NOTES()

static void fill(void)
{
    uint8_t *start;
    uint64_t len;
    guest_memory(&start, &len);
    for (uint64_t at = 0; at < len; at += 4096)
        *(volatile uint8_t *)(start + at) = 0xa5;
    say("filled ");
    say_number(len / 1024);
    say(" KiB\n");
}

static void probe(void)
{
    uint64_t in[2] = {40, 2}, out[2] = {0, 0};
    __asm__ volatile("movups %1, %%xmm0\n\tpaddq %%xmm0, %%xmm0\n\tmovups %%xmm0, %0"
                     : "=m"(out)
                     : "m"(in)
                     :); /* no other code here uses xmm0 */
    say(out[0] == 80 && out[1] == 4 ? "probe: ok\n" : "probe: SSE is broken\n");
    guest_exit(out[0] == 80 && out[1] == 4 ? 0 : 1);
}

struct options {
    uint64_t interval_ms, beats;
    int status;
    enum { END_EXIT, END_ABORT, END_FAULT } end;
};

static void option(struct options *o, const char *word)
{
    const char *v;
    if ((v = value_of(word, "--interval")) != NULL)
        o->interval_ms = number(v);
    else if ((v = value_of(word, "--beats")) != NULL)
        o->beats = number(v);
    else if ((v = value_of(word, "--exit")) != NULL)
        o->status = (int)number(v);
    else if (value_of(word, "--abort") != NULL)
        o->end = END_ABORT;
    else if (value_of(word, "--fault") != NULL)
        o->end = END_FAULT;
    else if (value_of(word, "--fill") != NULL)
        fill();
    else if (value_of(word, "--probe") != NULL)
        probe();
}

void guest_main(const char *command_line)
{
    struct options o = {.interval_ms = 500, .status = -1};
    say("hello: arguments: ");
    say(command_line);
    say("\n");
    for (const char *p = command_line; *p != '\0'; p = word_next(p))
        option(&o, p);
    int endless = o.beats == 0 && o.status < 0 && o.end == END_EXIT;
    for (uint64_t beat = 1; endless || beat <= o.beats; beat++) {
        say("beat ");
        say_number(beat);
        say("\n");
        guest_sleep_ms(o.interval_ms);
    }
    if (o.end == END_ABORT)
        guest_abort();
    if (o.end == END_FAULT)
        *(volatile uint8_t *)UINT64_C(0x4000000000) = 0; /* beyond what any target maps */
    guest_exit(o.status < 0 ? 0 : o.status);
}

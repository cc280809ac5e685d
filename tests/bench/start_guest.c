/* The image of scripts/bench start: its manifest asks for a net and a block device, and nothing else of it counts. */
#include "examples/guest/guest.h"
#include "examples/guest/notes.h"

GUEST_NOTES(GUEST_DEVICE("service", GUEST_NET), GUEST_DEVICE("storage", GUEST_BLOCK))

void guest_main(const char *command_line)
{
    (void)command_line;
    guest_exit(0);
}

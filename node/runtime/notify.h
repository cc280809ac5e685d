/* What systemd is told, where it started us: a datagram to the socket that it named (sd_notify(3)); nothing elsewhere.
 */
#ifndef UNIMESH_NODE_RUNTIME_NOTIFY_H
#define UNIMESH_NODE_RUNTIME_NOTIFY_H

#include <stdint.h>

/* "READY=1", "WATCHDOG=1", "STOPPING=1", "STATUS=…". */
void notify(const char *state);

/* So often it wants to hear from us, in ms, half of what it allows; 0: it doesn't. */
uint64_t notify_watchdog_ms(void);

#endif

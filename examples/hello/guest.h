/* What a target gives to hello.c: a console, sleep, an end. One file a target implements it. */
#ifndef UNIMESH_EXAMPLES_HELLO_GUEST_H
#define UNIMESH_EXAMPLES_HELLO_GUEST_H

#include <stddef.h>
#include <stdint.h>

void guest_main(const char *command_line); /* hello.c's; may not return */

void guest_write(const char *p, size_t len);
void guest_sleep_ms(uint64_t ms); /* halts meanwhile */
_Noreturn void guest_exit(int status); /* says so first, as Solo5's bindings do: hello.c */
_Noreturn void guest_abort(void);      /* likewise */
_Noreturn void guest_halt(int status);
/* Memory that the guest may use beyond its image. */
void guest_memory(uint8_t **start, uint64_t *len);

#endif

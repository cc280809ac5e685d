/* What a guest is given. guest_…: by its target, one file a target (hvt.c, spt.c, virtio.c). The
 * rest: by text.c. */
#ifndef UNIMESH_EXAMPLES_GUEST_H
#define UNIMESH_EXAMPLES_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void guest_main(const char *command_line); /* the guest's own; may not return */

void guest_write(const char *p, size_t len);
void guest_sleep_ms(uint64_t ms); /* halts meanwhile */
_Noreturn void guest_halt(int status);
/* Memory that the guest may use beyond its image. */
void guest_memory(uint8_t **start, uint64_t *len);

/* End, and say so first, as Solo5's bindings do. */
_Noreturn void guest_exit(int status);
_Noreturn void guest_abort(void);

void say(const char *s);
void say_number(uint64_t v);

/* Arguments. A word ends at a space that no backslash quotes. */
const char *word_next(const char *word); /* the word after this one; "" behind the last */
/* What follows `name` in this word, if it begins so and ends there or in '='; else NULL. */
const char *value_of(const char *word, const char *name);
uint64_t number(const char *s); /* as many digits as there are */

#endif

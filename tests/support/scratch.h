/* A folder of a test's own, and what tests of programs need beside it. Failures end the test (cmocka). */
#ifndef UNIMESH_TESTS_SUPPORT_SCRATCH_H
#define UNIMESH_TESTS_SUPPORT_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRATCH_PATH = 512, SCRATCH_WAIT_MS = 20000 /* for an event that must come: a loaded machine is slow */ };

void scratch_new(char out[static SCRATCH_PATH]); /* by mkdtemp */
void scratch_remove(const char *dir);            /* with all that is in it */

/* out = format … */
const char *scratch_path(char out[static SCRATCH_PATH], const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A program of this build: it lies beside the test. */
const char *scratch_program(char out[static SCRATCH_PATH], const char *name);
/* Write a file; mode 0755 makes a script of it. */
void scratch_write(const char *path, unsigned mode, const char *content);
bool scratch_exists(const char *path);
uint64_t scratch_now_ms(void); /* CLOCK_BOOTTIME */
/* Any process, so that it can be told from a later one of the same pid; -1: it is gone already. */
int scratch_pid_fd(uint32_t pid);
void scratch_wait_gone(uint32_t pid);
/* SIGKILL, wait, close. */
void scratch_kill_fd(int *pid_fd);

#endif

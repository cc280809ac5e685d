/* What must always hold (docs/placement.md lists the numbers), checked on every effect and after every step;
 * and what must hold once all is healed and quiet. */
#ifndef UNIMESH_TESTS_SIM_CHECK_H
#define UNIMESH_TESTS_SIM_CHECK_H

#include "tests/sim/world.h"

struct check; /* what the checks remember */

struct check *check_new(struct world *w); /* hooks itself into w */
void check_free(struct check *c);

/* An app whose removal was acknowledged: 12, it stays deleted. */
void check_removed(struct check *c, const struct uid *app);
/* A deploy, asked of h at since_ms, that was acknowledged for `need` copies: they are on disks now (but for disks that
 * were lost meanwhile), and it is there in the end. */
void check_acknowledged(struct check *c, const struct host *h, const struct uid *app, uint32_t revision,
                        uint32_t need, uint64_t since_ms);

/* A host is about to lose its records, or to go for good: what no other disk keeps is nobody's fault. */
void check_disk_lost(struct check *c, const struct host *h);
/* A host that was asked to leave at since_ms has done so. What it kept and was acknowledged is on other disks, but for
 * what it handed over to disks that were lost meanwhile, or said that it couldn't hand over. */
void check_left(struct check *c, const struct host *h, uint64_t since_ms);
/* … some of its records, which other disks hold. */
void check_records_lost(struct check *c, const struct host *h);

/* Healed and quiet: NULL if all is right, else what isn't (in a static buffer). */
const char *check_settled(struct check *c);

/* Does everybody hold everybody alive? */
bool check_all_alive(struct check *c);

/* 9: from now on nobody of these hosts may raise an epoch. */
void check_minority_begin(struct check *c, uint32_t side);
void check_minority_end(struct check *c);
/* 7, 8: guests that were started, or told to stop, since the mark. */
void check_mark(struct check *c);
uint64_t check_starts(const struct check *c);
uint64_t check_stops(const struct check *c);
uint64_t check_readdressed(const struct check *c); /* guests that had to give their address up, likewise */
/* 8: from now on no slot gets more than one new owner. */
void check_claims_begin(struct check *c);
void check_claims_end(struct check *c);
/* 13: from now on an instance of the slot is ready at any time. */
void check_watch(struct check *c, const struct uid *app, uint16_t slot);
void check_watch_end(struct check *c);

/* Guests on this host that need a network, of apps that fit on some host. */
uint32_t check_nets_on(const struct check *c, const struct host *h);

/* The host of a slot's volume, as the records of `view` tell it; NULL: there is none yet. */
const struct host *volume_home(struct world *w, const struct host *view, const struct uid *app, uint16_t slot);

/* Guests that run for a slot. */
uint32_t check_instances(const struct world *w, const struct uid *app, uint16_t slot);

#endif

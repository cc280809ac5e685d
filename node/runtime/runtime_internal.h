/* Between the files of the runtime. */
#ifndef UNIMESH_NODE_RUNTIME_INTERNAL_H
#define UNIMESH_NODE_RUNTIME_INTERNAL_H

#include "node/runtime/priv_protocol.h"
#include "node/runtime/proc.h"
#include "node/runtime/runtime.h"
#include "node/runtime/shim_protocol.h"
#include "node/runtime/unit_name.h"

#include <stdbool.h>

enum {
    RUN_TEXT = 160,
    RUN_PATH = PRIV_PATH_SIZE,
    TICK_MS = 100,
    ADOPT_MS = 5000,      /* a shim that has just been forked listens within that, also on a loaded machine */
    HANG_MS = 2000,       /* beyond the grace of a stop: then the shim itself is killed */
    WATCH_PAUSE_MS = 5,   /* a burst of console writes is told once */
    PRIV_RETRY_MS = 1000
};

/*  ASKED   mesh-priv was asked to start it, or its shim to tell who it is
 *  UP      its shim answered; we hold a connection to it
 *  OVER    it has ended, and stays until it is forgotten */
enum phase { PHASE_ASKED, PHASE_UP, PHASE_OVER };

struct run;

struct shim_link { /* lives until its handle is closed */
    uv_poll_t poll;
    struct runtime *rt;
    struct run *run; /* NULL: closing */
    int fd;
    uint32_t peer;   /* who listens there, as the kernel says */
};

struct file_watch { /* likewise */
    uv_fs_event_t event;
    struct run *run;
};

struct console_watch {
    struct console_watch *next;
    struct run *run; /* NULL: forgotten */
    struct runtime *rt;
    void (*on_more)(void *ctx);
    void *ctx;
    bool due;
};

struct run {
    struct run *next;
    struct runtime *rt;
    struct unit_id id;
    enum phase phase;
    enum target target;
    struct shim_status status;
    struct shim_link *link;
    uint64_t adopt_until_ms; /* its shim may not listen yet: tried again till then; 0: no */
    uint64_t stop_limit_ms;  /* then its shim is killed; 0: it is not being stopped */
    bool stop_wanted, deadline_wanted;
    uint64_t deadline_ms;
    bool untold; /* was there before us, and nobody knows yet */
    bool trial;  /* a trial boot: told to the probe, nobody else */
    bool stray;  /* made up for an answer about a run that isn't there: goes with it */
    bool tell_started, tell_ended;
    struct unit_end end;
    char text[RUN_TEXT];
    struct file_watch *file_watch;
};

struct call { /* a request to mesh-priv, kept until it is answered */
    struct call *next;
    uint64_t id;
    enum priv_verb verb;
    struct unit_id unit;
    bool sent;
    uint64_t not_before_ms; /* boottime; of a REMOVE that came while its tender was still ending */
    uint32_t tries;
    size_t len;
    uint8_t bytes[];
};

struct helper { /* the connection to mesh-priv */
    uv_poll_t poll;
    struct runtime *rt; /* NULL: closing */
    int fd;
};

enum trial_step { TRIAL_IDLE, TRIAL_SPT, TRIAL_HVT, TRIAL_VIRTIO, TRIAL_KVM, TRIAL_DONE };

struct found { /* what a trial boot found */
    bool known, runs;
    bool lasting; /* worth remembering: not a matter of load */
    uint8_t abi;
    uint32_t boot_ms;
    char text[RUN_TEXT];
};

struct probe {
    enum trial_step step;
    struct unit_id trial;    /* the run under way */
    uint64_t from_ms, limit_ms;
    struct found found[TARGET_COUNT];
    struct found kvm; /* virtio, with KVM */
};

struct runtime {
    uv_loop_t *loop;
    struct runtime_config cfg;
    struct runtime_callbacks cb;
    void *ctx;
    char run_dir[RUN_PATH], shim_path[RUN_PATH], priv_path[RUN_PATH], cache_path[RUN_PATH],
        volumes_dir[RUN_PATH];
    char tender[TARGET_COUNT][RUN_PATH];      /* "": none */
    char probe_image[TARGET_COUNT][RUN_PATH]; /* "": none */
    char strangers[RUN_TEXT];                 /* what was found of another node, for on_host's words */
    uint8_t boot[BOOT_ID_SIZE];
    int units_fd, owner_fd;
    struct run *runs;
    struct console_watch *watches;
    struct helper *helper; /* NULL: mesh-priv is gone */
    struct call *calls;
    uint64_t call_ids;
    uint64_t priv_retry_ms;
    bool tell_priv_lost, tell_host;
    uv_timer_t later; /* what is to be told from the loop */
    uv_timer_t tick;  /* runs while something has a time limit */
    uv_timer_t look;  /* at the networks, where there are some */
    struct link_watch *links; /* NULL: the kernel tells nothing of links, and the look alone finds out */
    uint32_t networks_up; /* bit 1 << i */
    bool networks_known;
    char networks_lack[PRIV_TEXT_SIZE], jail_lack[JAIL_TEXT];
    struct probe probe;
    enum accel accel;
    unsigned handles; /* open ones, these two timers included */
    bool delivering;
    void (*on_gone)(void *ctx); /* set: closing */
    bool closing;
};

uint64_t boottime_ms(void);

/* ---- runtime.c ------------------------------------------------------------------------------------ */

struct run *run_find(const struct runtime *rt, const struct unit_id *id);
struct run *run_new(struct runtime *rt, const struct unit_id *id); /* NULL: no memory */
void run_free(struct run *r);
/* It has ended as its folder says. */
void run_over(struct run *r);
/* It has ended, or never began, as we say. */
void run_failed(struct run *r, enum end_cause cause, const char *text);
void run_up(struct run *r);
/* start: the networks of the guest's nets, and which volume its blocks are of; NULL: it has neither. */
void start_run(struct runtime *rt, const struct unit_id *unit, const struct tender_guest *guest,
               const struct effect_start *start, uint64_t deadline_ms, const char *image);
void handle_opened(struct runtime *rt);
void handle_closed(struct runtime *rt);
/* Call back from the loop: at its next turn; or after a short pause, so that a burst is told once. */
void tell_later(struct runtime *rt);
void tell_soon(struct runtime *rt);
/* Call back now; we are in the loop. Runs may be gone afterwards. */
void deliver(struct runtime *rt);
/* Have on_tick called while there is a reason. */
void tick_want(struct runtime *rt);

/* ---- runtime_nets.c: what mesh-priv says of the networks ------------------------------------------- */

/* Ask now, and each minute. */
void nets_begin(struct runtime *rt);
void nets_end(struct runtime *rt);
void nets_answer(struct runtime *rt, const struct priv_answer *a);
/* Is it known which there are? If not, the host's facts wait. */
bool nets_known(const struct runtime *rt);
void nets_facts(const struct runtime *rt, struct host_facts *facts);
/* A line each, for people; returns how many bytes. */
size_t nets_words(const struct runtime *rt, char *out, size_t size);

/* ---- runtime_shim.c: folders and shims ------------------------------------------------------------ */

/* Open a file of a run's folder; -1. */
int run_open(const struct run *r, const char *file);
/* Connect to the run's shim. ERR_OK: r->link; ERR_CLOSED: it listened, and has ended; ERR_NOT_FOUND: nobody listens
 * (yet); ERR_BUSY: try again. */
enum err shim_connect(struct run *r) MUST_USE;
/* From now on the loop watches the connection. */
void shim_watch(struct run *r);
void shim_unlink(struct run *r);
void shim_say(struct run *r, enum shim_verb verb, uint64_t argument);
/* Take what the shim said. ERR_OK: r->status; ERR_BUSY: nothing yet; ERR_CLOSED: it has ended. */
enum err shim_hear(struct run *r) MUST_USE;
/* Is r->status what the kernel says too? */
bool shim_verified(const struct run *r);
/* The status that it wrote down at its start. */
bool shim_wrote(const struct run *r, struct shim_status *out);
/* How it ended, from what it left in its folder. */
void shim_end(struct run *r);
/* The end of its console, for tender_end. */
size_t console_end(const struct run *r, char *out, size_t size);

/* ---- runtime_scan.c: what was there before us ------------------------------------------------------ */

enum err scan(struct runtime *rt, char *why, size_t why_size) MUST_USE;

/* ---- runtime_priv.c: mesh-priv ------------------------------------------------------------------------ */

void helper_open(struct runtime *rt, int fd);
void helper_close(struct runtime *rt);
void helper_call(struct runtime *rt, struct priv_request *r);
bool helper_waits(const struct runtime *rt); /* to ask something again, at a tick */
void helper_tick(struct runtime *rt);
void helper_flush(struct runtime *rt);
void calls_drop(struct runtime *rt);

/* ---- runtime_console.c ------------------------------------------------------------------------------------ */

void watches_due(struct run *r);
void watches_lose(struct run *r); /* it is forgotten */
bool watches_polled(const struct runtime *rt);
void file_unwatch(struct run *r);

/* ---- runtime_probe.c ---------------------------------------------------------------------------------- */

void tenders_find(struct runtime *rt);
bool probe_busy(const struct runtime *rt);
void probe_tell(struct runtime *rt);
void probe_started(struct run *r);
void probe_ended(struct run *r);
bool is_trial(const struct unit_id *id);

#endif

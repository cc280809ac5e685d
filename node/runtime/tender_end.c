/* What an end means: see the table in tender.h. */
#define _GNU_SOURCE
#include "node/runtime/tender.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    STATUS_DEBUG_EXIT = 83,   /* QEMU's, when a guest wrote 41 to isa-debug-exit */
    STATUS_ABORT = 255,       /* Solo5's */
    STATUS_USAGE = 63,        /* MirageOS: help or version */
    STATUS_BAD_ARGUMENT = 64  /* MirageOS */
};

struct words { /* where to write what people read */
    char *p;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void say(struct words w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(w.p, w.size, format, args);
    va_end(args);
    for (char *c = w.p; *c != '\0'; c++) /* it may quote a guest, which writes what it likes */
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* ---- the console -------------------------------------------------------------------------------- */

struct tail {
    const char *p;
    size_t len;
};

/* The last place where `what` stands; NULL: nowhere. */
static const char *last(struct tail t, const char *what)
{
    const char *found = NULL;
    size_t len = strlen(what);
    for (const char *p = t.p; p != NULL && (p = memmem(p, t.len - (size_t)(p - t.p), what, len)) != NULL; p += len)
        found = p;
    return found;
}

static bool has(struct tail t, const char *what)
{
    return last(t, what) != NULL;
}

/* The line at p, to its end. */
static struct tail line_at(struct tail t, const char *p)
{
    size_t left = t.len - (size_t)(p - t.p);
    const char *end = memchr(p, '\n', left);
    size_t len = end != NULL ? (size_t)(end - p) : left;
    while (len > 0 && p[len - 1] == '\r')
        len--;
    return (struct tail){p, len};
}

/* The last line that begins with `start`; empty: none. */
static struct tail last_line(struct tail t, const char *start)
{
    const char *p = last(t, start);
    while (p != NULL && p > t.p && p[-1] != '\n')
        p = last((struct tail){t.p, (size_t)(p - t.p)}, start);
    return p != NULL ? line_at(t, p) : (struct tail){t.p, 0};
}

enum bye { BYE_NONE, BYE_EXIT, BYE_ABORT };

/* What Solo5's bindings wrote last: "solo5_exit(n) called", or one of the ways to abort. */
static enum bye bye(struct tail t, int32_t *status)
{
    static const char exits[] = "solo5_exit(";
    const char *e = last(t, exits), *abort = last(t, "solo5_abort() called"), *panic = last(t, "Solo5: ABORT: ");
    if (panic > abort)
        abort = panic;
    if (abort != NULL && abort > e)
        return BYE_ABORT;
    if (e == NULL)
        return BYE_NONE;
    struct tail line = line_at(t, e);
    int32_t v = 0;
    const char *p = e + sizeof exits - 1, *end = line.p + line.len;
    bool minus = p < end && *p == '-';
    for (p += minus; p < end && *p >= '0' && *p <= '9' && v < 100000000; p++)
        v = v * 10 + (*p - '0');
    if (p == end || *p != ')')
        return BYE_NONE;
    *status = (minus ? -v : v) & 0xff; /* as a process's status would have it */
    return BYE_EXIT;
}

/* ---- causes ------------------------------------------------------------------------------------- */

static void exited(struct unit_end *end, int32_t status, struct words w)
{
    end->status = status;
    end->cause = status == STATUS_USAGE || status == STATUS_BAD_ARGUMENT ? END_IMAGE : END_EXIT;
    if (end->cause == END_IMAGE)
        say(w, "exit status %d: the guest does not take its arguments", status);
    else
        say(w, "exit status %d", status);
}

static void aborted(struct unit_end *end, struct tail t, struct words w)
{
    struct tail why = last_line(t, "Solo5: ABORT: ");
    end->status = STATUS_ABORT;
    /* Neither too little memory nor a device that isn't given gets better elsewhere. */
    bool image = has(t, "Not enough memory") || has(t, "declared devices must be attached");
    end->cause = image ? END_IMAGE : END_CRASH;
    if (why.len > 0)
        say(w, "the guest aborted: %.*s", (int)(why.len - 14), why.p + 14);
    else
        say(w, "the guest aborted%s", image ? ": all devices of its manifest must be attached" : "");
}

static bool any(struct tail line, const char *const *words)
{
    for (; *words != NULL; words++)
        if (has(line, *words))
            return true;
    return false;
}

/* A Solo5 tender ended with 1 and this line. What isn't known is the host's: it is tried elsewhere, a few times. */
static enum end_cause solo5_cause(struct tail line)
{
    static const char *const guest[] = {"KVM: unhandled exit", "translation fault", "Invalid guest", NULL};
    static const char *const host[] = {"KVM: ", "/dev/kvm", "Could not", "Error allocating", "failed", "malloc", NULL};
    static const char *const image[] = {
        "Executable ", "No Solo5 ", "manifest", "declared", "attached", "invalid executable", "INV_EXE", "phdr[",
        "elf ", "note", "too long", "exceeds the max", NULL};
    return any(line, guest) ? END_CRASH : any(line, host) ? END_HOST : any(line, image) ? END_IMAGE : END_HOST;
}

static void solo5_exited(const struct shim_exit *e, struct tail t, struct unit_end *end, struct words w)
{
    struct tail line = last_line(t, e->target == TARGET_HVT ? "solo5-hvt: " : "solo5-spt: ");
    int32_t said = 0;
    enum bye how = bye(t, &said);
    if (how == BYE_EXIT && said == e->status) {
        exited(end, e->status, w);
    } else if (e->status == STATUS_ABORT) {
        aborted(end, t, w);
    } else if (e->status == 1 && line.len > 0) {
        end->status = 1;
        end->cause = has(line, "Exiting on signal") ? END_HOST : solo5_cause(line);
        say(w, "%.*s%s", (int)line.len, line.p,
            has(line, "KVM: internal error") ? ": this host's KVM does not run it" : "");
    } else {
        exited(end, e->status, w); /* a quiet guest */
    }
}

static void qemu_exited(const struct shim_exit *e, struct tail t, struct unit_end *end, struct words w)
{
    static const char *const image[] = {
        "Error loading", "invalid kernel header", "fread() failed", "could not load", NULL};
    struct tail line = last_line(t, "qemu");
    int32_t said = 0;
    enum bye how = bye(t, &said);
    if (e->status == STATUS_DEBUG_EXIT && how == BYE_EXIT) {
        exited(end, said, w);
    } else if (e->status == STATUS_DEBUG_EXIT && how == BYE_ABORT) {
        aborted(end, t, w);
    } else if (e->status == STATUS_DEBUG_EXIT) {
        end->cause = END_EXIT;
        say(w, "the guest ended; how is not known, as it keeps Solo5's messages quiet");
    } else if (has(line, "terminating on signal")) {
        end->cause = END_HOST;
        say(w, "%.*s", (int)line.len, line.p);
    } else if (e->status == 1 && line.len > 0) {
        end->cause = any(line, image) ? END_IMAGE : END_HOST;
        say(w, "%.*s", (int)line.len, line.p);
    } else {
        end->cause = END_CRASH;
        say(w, e->status == 0 ? "the guest reset its machine" : "QEMU ended with status %d", e->status);
    }
}

static void signaled(const struct shim_exit *e, struct tail t, struct unit_end *end, struct words w)
{
    const char *name = sigabbrev_np((int)e->signal);
    end->signal = e->signal;
    switch (e->signal) {
    case SIGKILL: /* no guest can do that to its tender: the kernel short of memory, or somebody's hand */
        end->cause = END_HOST;
        if (e->target == TARGET_VIRTIO && last_line(t, "KVM internal error").len > 0) /* the shim did */
            say(w, "KVM internal error: this host's KVM does not run it");
        else if (e->error == ENOMEM)
            say(w, "its tender was killed: it took more memory than was reserved for it");
        else
            say(w, "its tender was killed (SIGKILL), perhaps for lack of memory");
        return;
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
    case SIGQUIT:
        end->cause = END_HOST;
        say(w, "its tender was ended from outside (SIG%s)", name);
        return;
    default:
        /* QEMU gives up so where a nested KVM refuses it something. */
        end->cause = e->target == TARGET_VIRTIO && (has(t, "kvm") || has(t, "KVM")) ? END_HOST : END_CRASH;
        say(w, "killed by signal %u (SIG%s)%s", e->signal, name != NULL ? name : "?",
            end->cause == END_HOST ? ": this host's KVM does not run it" : "");
    }
}

void tender_end(const struct shim_exit *e, const char *console, size_t len, struct unit_end *end, char *text,
                size_t text_size)
{
    struct tail t = {console, len};
    struct words w = {text, text_size};
    *end = (struct unit_end){.cause = END_HOST, .status = -1, .text = text};
    text[0] = '\0';
    if (e->intent != SHIM_INTENT_NONE) { /* how it ended then says little */
        end->cause = END_STOPPED;
        say(w, "%s", e->intent == SHIM_INTENT_DEADLINE ? "its deadline passed: nobody renewed it" : "");
        return;
    }
    switch ((uint32_t)e->end) {
    case SHIM_END_EXITED:
        if (e->target == TARGET_VIRTIO)
            qemu_exited(e, t, end, w);
        else
            solo5_exited(e, t, end, w);
        return;
    case SHIM_END_SIGNALED:
        signaled(e, t, end, w);
        return;
    case SHIM_END_NOT_STARTED:
        say(w, "%s: %s", e->text, strerror((int)e->error));
        return;
    default:
        say(w, "a newer shim recorded an end that is not known here");
        return;
    }
}

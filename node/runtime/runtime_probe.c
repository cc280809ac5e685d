/* What this host can run: a trial boot for each target, with a probe image that uses SSE, as a run like any other but
 * of an app that nobody has. Targets are told as soon as they are known; whether QEMU may use KVM is tried afterwards,
 * for a nested KVM often hangs. What was found is remembered by boot, tender and image. */
#define _GNU_SOURCE
#include "node/runtime/runtime_internal.h"
#include "store/model/solo5.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TRIAL_MIB = 8,
    TRIAL_LIMIT_MS = 20000,   /* emulated, on a loaded machine */
    KVM_LIMIT_MS = 5000,
    /* A nested KVM that traps at every turn boots several times slower than the emulation, and is not worth it. */
    KVM_SLOWER_MS = 300,
    KVM_SLOWER_TIMES = 4,
    IMAGE_MAX = 4 * 1024 * 1024,
    LINE_MAX_LEN = 3 * RUN_PATH
};

static const enum target target_of[] = {
    [TRIAL_IDLE] = TARGET_NONE, [TRIAL_SPT] = TARGET_SPT, [TRIAL_HVT] = TARGET_HVT,
    [TRIAL_VIRTIO] = TARGET_VIRTIO, [TRIAL_KVM] = TARGET_VIRTIO, [TRIAL_DONE] = TARGET_NONE};

bool is_trial(const struct unit_id *id)
{
    static const struct uid nobody; /* an app's is random */
    return uid_equal(&id->app, &nobody);
}

static struct found *found_of(struct runtime *rt, enum trial_step step)
{
    return step == TRIAL_KVM ? &rt->probe.kvm : &rt->probe.found[target_of[step]];
}

bool probe_busy(const struct runtime *rt)
{
    return rt->probe.step != TRIAL_IDLE && rt->probe.step != TRIAL_DONE;
}

/* Where mesh-priv is root and we aren't, guests get it though we may not, or see no devices: the trial will tell. */
static bool kvm_open_to_us(const struct runtime *rt)
{
    return rt->cfg.jail.client_uid != 0 || access("/dev/kvm", R_OK | W_OK) == 0;
}

/* ---- tenders ------------------------------------------------------------------------------------------ */

static bool on_path(const char *name, char out[static RUN_PATH])
{
    const char *path = getenv("PATH");
    struct stat st;
    if (path == NULL || path[0] == '\0')
        path = "/usr/local/bin:/usr/bin:/bin";
    while (*path != '\0') {
        size_t len = strcspn(path, ":");
        int n = snprintf(out, RUN_PATH, "%.*s/%s", (int)len, path, name);
        if (path[0] == '/' && n < RUN_PATH && stat(out, &st) == 0 && S_ISREG(st.st_mode) && access(out, X_OK) == 0)
            return true;
        path += len;
        path += *path == ':';
    }
    out[0] = '\0';
    return false;
}

void tenders_find(struct runtime *rt)
{
    for (int t = TARGET_NONE + 1; t < TARGET_COUNT; t++)
        if (rt->tender[t][0] == '\0')
            (void)on_path(tender_program((enum target)t), rt->tender[t]);
}

/* ---- what was found before --------------------------------------------------------------------------- */

static const char *const step_name[] = {
    [TRIAL_IDLE] = "", [TRIAL_SPT] = "spt", [TRIAL_HVT] = "hvt", [TRIAL_VIRTIO] = "virtio", [TRIAL_KVM] = "kvm",
    [TRIAL_DONE] = ""};

/* What a result holds for: the boot, the tender, the image, and whether /dev/kvm is open to us. */
static void key(const struct runtime *rt, enum trial_step step, char *out, size_t size)
{
    enum target t = target_of[step];
    struct stat tender = {0}, image = {0};
    (void)stat(rt->tender[t], &tender);
    (void)stat(rt->probe_image[t], &image);
    int n = snprintf(out, size, "%s ", step_name[step]);
    for (size_t i = 0; i < BOOT_ID_SIZE; i++)
        n += snprintf(out + n, size - (size_t)n, "%02x", rt->boot[i]);
    (void)snprintf(out + n, size - (size_t)n, " %d %lld.%09ld %lld %lld.%09ld %lld %s", kvm_open_to_us(rt),
                   (long long)tender.st_mtim.tv_sec, tender.st_mtim.tv_nsec, (long long)tender.st_size,
                   (long long)image.st_mtim.tv_sec, image.st_mtim.tv_nsec, (long long)image.st_size, rt->tender[t]);
}

static void cache_load(struct runtime *rt)
{
    char line[LINE_MAX_LEN], wanted[LINE_MAX_LEN];
    FILE *f = rt->cache_path[0] == '\0' ? NULL : fopen(rt->cache_path, "re");
    if (f == NULL)
        return;
    while (fgets(line, sizeof line, f) != NULL) {
        char *result = strchr(line, '\t'), *end = strchr(line, '\n');
        int runs, text = 0;
        unsigned abi, boot;
        if (result == NULL || end == NULL)
            continue;
        *end = *result++ = '\0';
        for (int s = TRIAL_SPT; s <= TRIAL_KVM; s++) {
            key(rt, (enum trial_step)s, wanted, sizeof wanted);
            struct found *found = found_of(rt, (enum trial_step)s);
            if (strcmp(line, wanted) != 0 || sscanf(result, "%d %u %u %n", &runs, &abi, &boot, &text) != 3)
                continue;
            *found = (struct found){.known = true, .runs = runs != 0, .lasting = true, .abi = (uint8_t)abi,
                                    .boot_ms = boot};
            (void)snprintf(found->text, sizeof found->text, "%s", text > 0 ? result + text : "");
        }
    }
    (void)fclose(f);
}

static void cache_save(struct runtime *rt)
{
    char path[RUN_PATH + 8], line[LINE_MAX_LEN];
    if (rt->cache_path[0] == '\0')
        return;
    (void)snprintf(path, sizeof path, "%s.new", rt->cache_path);
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return; /* only a convenience */
    for (int s = TRIAL_SPT; s <= TRIAL_KVM; s++) {
        const struct found *found = found_of(rt, (enum trial_step)s);
        if (!found->known || !found->lasting)
            continue;
        key(rt, (enum trial_step)s, line, sizeof line);
        (void)fprintf(f, "%s\t%d %u %u %s\n", line, found->runs, found->abi, found->boot_ms, found->text);
    }
    if (fclose(f) == 0)
        (void)rename(path, rt->cache_path);
}

/* ---- trials -------------------------------------------------------------------------------------------- */

/* The ABI that the tender will have proven; 0: no image of that target. */
static uint8_t image_abi(const char *path, enum target t, char *why, size_t why_size)
{
    struct solo5_image image;
    char inspected[128];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t abi = 0;
    void *bytes = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= IMAGE_MAX
                      ? malloc((size_t)st.st_size)
                      : NULL;
    (void)snprintf(why, why_size, "was not tried: the probe image %.80s can't be read", path);
    if (bytes != NULL && read(fd, bytes, (size_t)st.st_size) == st.st_size &&
        solo5_inspect(bytes, (size_t)st.st_size, &image, inspected, sizeof inspected) == ERR_OK) {
        if (image.target == t)
            abi = (uint8_t)image.abi_version;
        else
            (void)snprintf(why, why_size, "was not tried: the probe image %.80s is not for %s", path,
                           target_name(t));
    }
    free(bytes);
    if (fd >= 0)
        close(fd);
    return abi;
}

/* true: it is under way. Else what can be said without a trial has been. */
static bool trial_begin(struct runtime *rt, enum trial_step step)
{
    struct probe *p = &rt->probe;
    struct found *found = found_of(rt, step);
    enum target t = target_of[step];
    static const uint8_t argument[] = {0xa7, '-', '-', 'p', 'r', 'o', 'b', 'e'};
    if (found->known || rt->probe_image[t][0] == '\0')
        return false;
    *found = (struct found){.known = true};
    if (rt->tender[t][0] == '\0') {
        (void)snprintf(found->text, sizeof found->text, "is not on PATH");
        return false;
    }
    if ((step == TRIAL_HVT || step == TRIAL_KVM) && !kvm_open_to_us(rt)) {
        (void)snprintf(found->text, sizeof found->text, "%s", access("/dev/kvm", F_OK) == 0
                           ? "may not use /dev/kvm" : "finds no /dev/kvm");
        return false;
    }
    found->abi = image_abi(rt->probe_image[t], t, found->text, sizeof found->text);
    if (found->abi == 0)
        return false;
    const struct tender_guest guest = {
        .target = t, .accel = step == TRIAL_KVM ? ACCEL_KVM : ACCEL_EMULATION, .tender = rt->tender[t],
        .memory_mib = TRIAL_MIB, .args_count = 1, .args = {argument, sizeof argument}};
    uint64_t now = boottime_ms();
    p->trial = (struct unit_id){.slot = (uint16_t)step, .epoch = now};
    p->from_ms = now;
    p->limit_ms = now + (step == TRIAL_KVM ? KVM_LIMIT_MS : TRIAL_LIMIT_MS);
    start_run(rt, &p->trial, &guest, NULL, p->limit_ms, rt->probe_image[t]);
    return true;
}

static void trials_go_on(struct runtime *rt)
{
    struct probe *p = &rt->probe;
    while (p->step != TRIAL_DONE) {
        p->step = (enum trial_step)(p->step + 1);
        if (p->step == TRIAL_KVM && !p->found[TARGET_VIRTIO].runs)
            continue;
        if (p->step == TRIAL_DONE || !trial_begin(rt, p->step))
            continue;
        if (p->step == TRIAL_KVM)
            break;
        return;
    }
    if (p->step == TRIAL_DONE) {
        rt->accel = p->kvm.runs ? ACCEL_KVM : ACCEL_EMULATION;
        cache_save(rt);
    }
    rt->tell_host = true;
    tell_later(rt);
}

void runtime_probe(struct runtime *rt)
{
    if (probe_busy(rt))
        return;
    memset(&rt->probe, 0, sizeof rt->probe);
    cache_load(rt);
    trials_go_on(rt);
    tick_want(rt);
}

static bool same_trial(const struct run *r)
{
    return probe_busy(r->rt) && r->id.slot == r->rt->probe.trial.slot && r->id.epoch == r->rt->probe.trial.epoch;
}

void probe_started(struct run *r)
{
    if (same_trial(r))
        r->rt->probe.from_ms = boottime_ms();
}

void probe_ended(struct run *r)
{
    struct runtime *rt = r->rt;
    struct probe *p = &rt->probe;
    if (!same_trial(r))
        return; /* of a meshd before us */
    struct found *f = found_of(rt, p->step);
    uint32_t took = (uint32_t)(boottime_ms() - p->from_ms), emulated = p->found[TARGET_VIRTIO].boot_ms;
    f->boot_ms = took;
    f->runs = r->end.cause == END_EXIT && r->end.status == 0;
    f->lasting = f->runs || r->end.cause == END_CRASH || r->end.cause == END_IMAGE || strstr(r->text, "KVM") != NULL ||
                 p->step == TRIAL_KVM;
    if (f->runs && p->step == TRIAL_KVM && took > KVM_SLOWER_MS + KVM_SLOWER_TIMES * emulated) {
        f->runs = false;
        (void)snprintf(f->text, sizeof f->text, "it boots in %u ms, emulation in %u", took,
                       emulated);
    } else if (f->runs) {
        (void)snprintf(f->text, sizeof f->text, "boots in %u ms", took);
    } else if (r->end.cause == END_STOPPED) {
        (void)snprintf(f->text, sizeof f->text, "a trial boot did not end in %u s",
                       (unsigned)(p->limit_ms - p->from_ms + 999) / 1000);
    } else {
        (void)snprintf(f->text, sizeof f->text, "a trial boot failed: %.130s", r->text);
    }
    trials_go_on(rt);
}

/* ---- telling ---------------------------------------------------------------------------------------------- */

/* What more there is to say of QEMU. */
static void kvm_words(const struct runtime *rt, char *out, size_t size)
{
    const struct probe *p = &rt->probe;
    if (p->step == TRIAL_KVM)
        (void)snprintf(out, size, "; emulated, KVM is being tried");
    else if (p->kvm.runs)
        (void)snprintf(out, size, "; with KVM: %.100s", p->kvm.text);
    else
        (void)snprintf(out, size, "; emulated: %.100s", p->kvm.text);
}

void probe_tell(struct runtime *rt)
{
    static const enum target order[] = {TARGET_SPT, TARGET_HVT, TARGET_VIRTIO};
    struct host_facts facts = {0};
    nets_facts(rt, &facts);
    char text[2048] = "", kvm[200];
    size_t at = 0;
    if (rt->strangers[0] != '\0')
        at += (size_t)snprintf(text, sizeof text, "%s\n", rt->strangers);
    rt->strangers[0] = '\0';
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const enum target t = order[i];
        const struct found *f = &rt->probe.found[t];
        if (!f->known)
            continue;
        kvm[0] = '\0';
        if (t == TARGET_VIRTIO && f->runs)
            kvm_words(rt, kvm, sizeof kvm);
        if (f->runs) {
            facts.targets |= 1u << t;
            facts.target_abi[t] = f->abi;
        }
        at += (size_t)snprintf(text + at, sizeof text - at, "%s: %s: %s %s%s\n", target_name(t),
                               f->runs ? "yes" : "no", tender_program(t), f->text, kvm);
    }
    at += nets_words(rt, text + at, sizeof text - at);
    if (at > 0)
        text[at - 1] = '\0'; /* a line each, parted by newlines */
    rt->cb.on_host(rt->ctx, &facts, text);
}

#include "node/runtime/tender.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the command line --------------------------------------------------------------------------- */

struct line {
    struct tender_command *c;
    size_t used;
    enum err err;
};

static void put(struct line *l, char ch)
{
    if (l->used >= sizeof l->c->text)
        l->err = ERR_TOO_LARGE;
    else
        l->c->text[l->used++] = ch;
}

static void word(struct line *l, const char *s)
{
    if (l->c->argc >= TENDER_ARGV_MAX)
        l->err = ERR_TOO_LARGE;
    else
        l->c->argv[l->c->argc++] = s;
}

__attribute__((format(printf, 2, 3))) static void word_format(struct line *l, const char *format, ...)
{
    size_t left = sizeof l->c->text - l->used;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->c->text + l->used, left, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= left) {
        l->err = ERR_TOO_LARGE;
        return;
    }
    word(l, l->c->text + l->used);
    l->used += (size_t)n + 1;
}

/* An argument as MirageOS's boot arguments are split: white space parts words, both quotes and the backslash are
 * special, and a backslash takes the next byte as it is. */
static void put_quoted(struct line *l, struct slice arg)
{
    for (size_t i = 0; i < arg.len; i++) {
        char ch = (char)arg.p[i];
        if (ch == '\0' || ch == '\n' || ch == '\r')
            l->err = ERR_INVALID; /* the decoder has refused control characters already */
        if (strchr(" \t\v\f'\"\\", ch) != NULL)
            put(l, '\\');
        put(l, ch);
    }
    if (arg.len == 0) {
        put(l, '"');
        put(l, '"');
    }
}

/* The arguments, as one string (QEMU) or as a word each (Solo5's tenders, which join them with spaces). */
static void arguments(struct line *l, const struct tender_guest *g)
{
    struct slice rest = g->args, arg;
    size_t from = l->used;
    bool one = g->target == TARGET_VIRTIO;
    uint32_t count = 0;
    for (; count < g->args_count && spec_arg_next(&rest, &arg); count++) {
        if (one && count > 0)
            put(l, ' ');
        if (!one)
            word(l, l->c->text + l->used);
        put_quoted(l, arg);
        if (!one)
            put(l, '\0');
    }
    if (count < g->args_count)
        l->err = ERR_INVALID;
    if (one) {
        put(l, '\0');
        word(l, l->c->text + from);
    }
    if (l->used - from > ARGS_BYTES_MAX - 1)
        l->err = ERR_TOO_LARGE;
}

static void solo5_words(struct line *l, const struct tender_guest *g)
{
    /* hvt maps its guest by pages of 2 MiB and says so on the console when it has to round. */
    uint32_t mib = g->target == TARGET_HVT ? g->memory_mib & ~1u : g->memory_mib;
    word_format(l, "--mem=%u", mib);
    for (uint32_t i = 0; i < g->net_count; i++) {
        word_format(l, "--net:%s=%s", g->nets[i].device, g->nets[i].tap);
        word_format(l, "--net-mac:%s=%s", g->nets[i].device, g->nets[i].mac);
    }
    for (uint32_t i = 0; i < g->block_count; i++) {
        char file[TENDER_BLOCK_FILE];
        tender_block_file(i, file);
        word_format(l, "--block:%s=%s", g->blocks[i].device, file);
        word_format(l, "--block-sector-size:%s=%u", g->blocks[i].device, g->blocks[i].sector_bytes);
    }
    word(l, "--");
    word(l, g->image);
    arguments(l, g);
}

/* A PC without what a unikernel doesn't look at. `-cpu max`: all that the emulation (or the host) has.
 * tb-size bounds what the emulation keeps of translated code, which else is a part of the host's memory; the host
 * reserves 32 MiB for the process (placement_reserve_mib). */
static void qemu_words(struct line *l, const struct tender_guest *g)
{
    static const char *const fixed[] = {
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-cpu", "max", "-serial", "stdio",
        "-device", "isa-debug-exit", "-machine", "pc,acpi=off,usb=off,vmport=off,hpet=off"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        word(l, fixed[i]);
    word(l, "-accel");
    word(l, g->accel == ACCEL_KVM ? "kvm" : "tcg,thread=single,tb-size=16");
    word(l, "-m");
    word_format(l, "%u", g->memory_mib);
    for (uint32_t i = 0; i < g->net_count; i++) {
        word(l, "-netdev");
        if (g->nets[i].fd > 0)
            word_format(l, "tap,id=net%u,fd=%d", i, g->nets[i].fd);
        else
            word_format(l, "tap,id=net%u,ifname=%s,script=no,downscript=no", i, g->nets[i].tap);
        word(l, "-device");
        word_format(l, "virtio-net-pci,netdev=net%u,mac=%s,romfile=", i, g->nets[i].mac);
    }
    /* Raw, and said to be: what a guest writes into its first sector must not be taken for a format. A guest that asks
     * for no flushes, as Solo5's bindings, has QEMU write through. */
    for (uint32_t i = 0; i < g->block_count; i++) {
        char file[TENDER_BLOCK_FILE];
        tender_block_file(i, file);
        word(l, "-drive");
        word_format(l, "file=%s,if=none,id=disk%u,format=raw", file, i);
        word(l, "-device");
        word_format(l, "virtio-blk-pci,drive=disk%u,logical_block_size=%u,physical_block_size=%u", i,
                    g->blocks[i].sector_bytes, g->blocks[i].sector_bytes);
    }
    word(l, "-kernel");
    word(l, g->image);
    if (g->args_count > 0) {
        word(l, "-append");
        arguments(l, g);
    }
}

void tender_block_file(uint32_t i, char out[static TENDER_BLOCK_FILE])
{
    (void)snprintf(out, TENDER_BLOCK_FILE, "block%u", i);
}

enum err tender_command(const struct tender_guest *g, struct tender_command *out, char *why, size_t why_size)
{
    struct line l = {.c = out};
    uint32_t most = g->target == TARGET_HVT ? (uint32_t)TENDER_HVT_MIB_MAX
                    : g->target == TARGET_VIRTIO ? (uint32_t)TENDER_VIRTIO_MIB_MAX
                                                 : (uint32_t)MEMORY_MIB_MAX;
    out->argc = 0;
    if (g->memory_mib < MEMORY_MIB_MIN || g->memory_mib > most) {
        (void)snprintf(why, why_size, "a guest for %s takes %u to %u MiB of memory, not %u", target_name(g->target),
                       (unsigned)MEMORY_MIB_MIN, most, g->memory_mib);
        return ERR_UNSUPPORTED;
    }
    word(&l, g->tender);
    switch (g->target) {
    case TARGET_HVT:
    case TARGET_SPT:
        solo5_words(&l, g);
        break;
    case TARGET_VIRTIO:
        qemu_words(&l, g);
        break;
    case TARGET_NONE:
    case TARGET_COUNT:
        l.err = ERR_INVALID;
        break;
    }
    out->argv[out->argc] = NULL;
    if (l.err == ERR_TOO_LARGE)
        (void)snprintf(why, why_size, "the arguments are too long: a guest's command line has %u bytes",
                       (unsigned)ARGS_BYTES_MAX - 1);
    else if (l.err)
        (void)snprintf(why, why_size, "the arguments or the target are malformed");
    return l.err;
}

const char *tender_program(enum target t)
{
    static const char *const name[TARGET_COUNT] = {
        [TARGET_NONE] = "", [TARGET_HVT] = "solo5-hvt", [TARGET_SPT] = "solo5-spt",
        [TARGET_VIRTIO] = "qemu-system-x86_64"};
    return (unsigned)t < TARGET_COUNT ? name[t] : "";
}

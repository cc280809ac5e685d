/* A guest with a disk: writes sectors numbered 1, 2, 3, … one after the other, round and round, and
 * at its start checks that all that earlier runs wrote is there. Its arguments:
 *
 *   --writes=N      that many sectors in this run (0: without end)
 *   --interval=MS   between two of them (100)
 *   --exit[=N]      when they are written, end with N (0); otherwise stay, halted
 *   --sectors=N     use the disk's first N sectors only
 *   --beat=MS       a heartbeat, a line `beat 17` each
 *
 * It says `block: 12 sectors kept, next 13` (as many as the disk has, once it went round), then
 * `block: wrote 13` and so on, each when the sector is kept: what was said to be written and is
 * missing later was lost. It ends with 1 when a sector holds what it should not, with 2 when the
 * disk fails, with 64 for a bad argument.
 *
 * Number n lies in sector (n - 1) mod (how many there are). A sector: "UNIMESH\n", the number, how
 * many sectors there are, noise that follows from the number, and at the end a checksum over all
 * before it. A sector of zeros was never written. */
#include "examples/guest/guest.h"
#include "examples/guest/notes.h"
#include "examples/guest/pc.h"
#include "tests/guest/disk.h"

GUEST_NOTES(GUEST_DEVICE("storage", GUEST_BLOCK))

enum {
    STATUS_CORRUPT = 1,
    STATUS_DISK = 2,
    STATUS_USAGE = 64,
    AT_ONCE_BYTES = 65536,
    WORDS_MAX = DISK_SECTOR_MAX / 8
};

static struct disk disk;
static uint64_t sectors; /* in use */

struct options {
    uint64_t writes, interval_us, sectors, beat_us;
    int status; /* -1: stay */
};

/* ---- a sector -------------------------------------------------------------------------------- */

#define MAGIC UINT64_C(0x0a4853454d494e55)

static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 31) * UINT64_C(0x7fb5d329728ea185);
    v = (v ^ v >> 27) * UINT64_C(0x81dadef4bc2dd44d);
    return v ^ v >> 33;
}

static uint64_t sum(const uint64_t *words, unsigned count)
{
    uint64_t v = count;
    for (unsigned i = 0; i < count; i++)
        v = mix(v + words[i]);
    return v;
}

static void sector_make(uint64_t n, uint64_t *words)
{
    unsigned last = disk.sector_size / 8 - 1;
    words[0] = MAGIC;
    words[1] = n;
    words[2] = sectors;
    for (unsigned i = 3; i < last; i++)
        words[i] = mix(n + i);
    words[last] = sum(words, last);
}

static bool sector_is_empty(const uint64_t *words)
{
    for (unsigned i = 0; i < disk.sector_size / 8; i++)
        if (words[i] != 0)
            return false;
    return true;
}

static bool sector_is(uint64_t n, const uint64_t *words)
{
    static uint64_t right[WORDS_MAX];
    sector_make(n, right);
    for (unsigned i = 0; i < disk.sector_size / 8; i++)
        if (words[i] != right[i])
            return false;
    return true;
}

/* ---- what earlier runs left ------------------------------------------------------------------ */

static _Noreturn void fail(int status, const char *what, uint64_t sector)
{
    say("block: sector ");
    say_number(sector);
    say(": ");
    say(what);
    say("\n");
    guest_exit(status);
}

/* Call for each sector, in order. */
static void each_sector(void (*look)(uint64_t sector, const uint64_t *words))
{
    static uint64_t bytes[AT_ONCE_BYTES / 8];
    uint64_t at_once = AT_ONCE_BYTES / disk.sector_size;
    for (uint64_t at = 0; at < sectors; at += at_once) {
        uint64_t count = sectors - at < at_once ? sectors - at : at_once;
        if (disk_read(&disk, at, bytes, (uint32_t)(count * disk.sector_size)) != 0)
            fail(STATUS_DISK, "can't be read", at);
        for (uint64_t i = 0; i < count; i++)
            look(at + i, bytes + i * (disk.sector_size / 8));
    }
}

static uint64_t newest, kept;

static void look_for_newest(uint64_t sector, const uint64_t *words)
{
    if (sector_is_empty(words))
        return;
    if (words[0] == MAGIC && words[2] != sectors)
        fail(STATUS_CORRUPT, "was written when the disk had another size", sector);
    if (words[0] != MAGIC || words[1] == 0 || !sector_is(words[1], words))
        fail(STATUS_CORRUPT, "corrupt", sector);
    if ((words[1] - 1) % sectors != sector)
        fail(STATUS_CORRUPT, "holds what belongs elsewhere", sector);
    kept++;
    if (words[1] > newest)
        newest = words[1];
}

/* The number that belongs there; 0: it was not written yet. */
static uint64_t number_in(uint64_t sector)
{
    if (newest <= sector)
        return 0;
    return newest - (newest - 1 - sector) % sectors;
}

static void look_for_gaps(uint64_t sector, const uint64_t *words)
{
    uint64_t n = number_in(sector);
    if (n == 0 ? !sector_is_empty(words) : words[1] != n)
        fail(STATUS_CORRUPT, "what was written is missing", sector);
}

/* ---- start, and then on ---------------------------------------------------------------------- */

static void option(struct options *o, const char *word)
{
    const char *v;
    if ((v = value_of(word, "--writes")) != NULL)
        o->writes = number(v);
    else if ((v = value_of(word, "--interval")) != NULL)
        o->interval_us = number(v) * 1000;
    else if ((v = value_of(word, "--sectors")) != NULL)
        o->sectors = number(v);
    else if ((v = value_of(word, "--beat")) != NULL)
        o->beat_us = number(v) * 1000;
    else if ((v = value_of(word, "--exit")) != NULL)
        o->status = (int)number(v);
}

static void line(const char *what, uint64_t n)
{
    say(what);
    say_number(n);
    say("\n");
}

static void write_next(void)
{
    static uint64_t words[WORDS_MAX];
    uint64_t n = newest + 1, sector = (n - 1) % sectors;
    sector_make(n, words);
    if (disk_write(&disk, sector, words, disk.sector_size) != 0)
        fail(STATUS_DISK, "can't be written", sector);
    newest = n;
    line("block: wrote ", n);
}

static void begin(const struct options *o)
{
    if (!disk_open(&disk)) {
        say("block: no such block device\n");
        guest_exit(1);
    }
    sectors = o->sectors != 0 && o->sectors < disk.sectors ? o->sectors : disk.sectors;
    say("block: storage: ");
    say_number(sectors);
    say(" sectors of ");
    say_number(disk.sector_size);
    say(disk.read_only ? " bytes, read-only\n" : " bytes\n");
    if (sectors == 0)
        guest_exit(STATUS_USAGE);
    each_sector(look_for_newest);
    each_sector(look_for_gaps);
    say("block: ");
    say_number(kept);
    line(" sectors kept, next ", newest + 1);
}

void guest_main(const char *command_line)
{
    struct options o = {.interval_us = 100000, .status = -1};
    for (const char *word = command_line; *word != '\0'; word = word_next(word))
        option(&o, word);
    begin(&o);
    uint64_t write_next_us = 0, beat_next_us = 0, written = 0, beats = 0;
    for (;;) {
        uint64_t now_us = pc_now_us(), next_us = PC_FOREVER;
        bool more = o.writes == 0 || written < o.writes;
        if (!more && o.status >= 0)
            guest_exit(o.status);
        if (more && write_next_us <= now_us) {
            write_next();
            written++;
            write_next_us = now_us + o.interval_us;
            continue;
        }
        if (o.beat_us != 0 && beat_next_us <= now_us) {
            line("beat ", ++beats);
            beat_next_us = now_us + o.beat_us;
        }
        if (more)
            next_us = write_next_us;
        if (o.beat_us != 0 && beat_next_us < next_us)
            next_us = beat_next_us;
        pc_wait_until(next_us);
    }
}

/* The file of mesh keys (node_crypto.h). What it says in `why` never holds a part of a key. */
#define _GNU_SOURCE
#include "node/crypto/node_crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 16 * 1024 };

__attribute__((format(printf, 3, 4))) static void say(char *why, size_t size, const char *format,
                                                      ...)
{
    va_list args;
    if (size == 0)
        return;
    va_start(args, format);
    vsnprintf(why, size, format, args);
    va_end(args);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool decode(const char *text, size_t len, uint8_t key[static MESH_KEY_SIZE])
{
    const int variants[] = {sodium_base64_VARIANT_ORIGINAL,
                            sodium_base64_VARIANT_ORIGINAL_NO_PADDING};
    const char *end;
    size_t got;
    if (sodium_hex2bin(key, MESH_KEY_SIZE, text, len, NULL, &got, &end) == 0 &&
        got == MESH_KEY_SIZE && end == text + len)
        return true;
    for (unsigned i = 0; i < 2; i++)
        if (sodium_base642bin(key, MESH_KEY_SIZE, text, len, NULL, &got, &end, variants[i]) == 0 &&
            got == MESH_KEY_SIZE && end == text + len)
            return true;
    return false;
}

static enum err add_line(struct mesh_keys *k, const char *text, size_t len, unsigned line,
                         char *why, size_t why_size)
{
    uint8_t key[MESH_KEY_SIZE];
    enum err err = ERR_INVALID;
    if (!decode(text, len, key)) {
        say(why, why_size,
            "line %u: this is no mesh key; write 64 hex digits, or base64 of 32 bytes, as 'meshctl "
            "keygen' "
            "does",
            line);
    } else if (sodium_is_zero(key, sizeof key)) {
        say(why, why_size, "line %u: a key of zeros is no secret; make one with 'meshctl keygen'",
            line);
    } else if (k->count == MESH_KEYS_MAX) {
        say(why, why_size, "line %u: more than %d keys; remove those that no node uses any more",
            line, MESH_KEYS_MAX);
        err = ERR_FULL;
    } else {
        err = ERR_OK;
        for (uint32_t i = 0; i < k->count; i++)
            if (sodium_memcmp(k->key[i], key, sizeof key) == 0)
                err = ERR_INVALID;
        if (err)
            say(why, why_size,
                "line %u: this key stands in an earlier line too; remove one of them", line);
        else
            memcpy(k->key[k->count++], key, sizeof key);
    }
    sodium_memzero(key, sizeof key);
    return err;
}

enum err mesh_keys_parse(const char *text, size_t len, struct mesh_keys *out, char *why,
                         size_t why_size)
{
    enum err err = ERR_OK;
    const char *at = text, *end = text + len;
    say(why, why_size, "%s", "");
    memset(out, 0, sizeof *out);
    for (unsigned line = 1; at < end && !err; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop ? stop + 1 : end;
        if (!stop)
            stop = end;
        while (at < stop && is_blank(*at))
            at++;
        while (at < stop && is_blank(stop[-1]))
            stop--;
        if (at < stop && *at != '#')
            err = add_line(out, at, (size_t)(stop - at), line, why, why_size);
        at = next;
    }
    if (!err && out->count == 0) {
        say(why, why_size, "there is no key in it; make one with 'meshctl keygen'");
        err = ERR_INVALID;
    }
    if (err)
        mesh_keys_wipe(out);
    return err;
}

/* All of it, up to a size; pipes too. */
static enum err slurp(int fd, char *text, size_t size, size_t *len)
{
    *len = 0;
    while (*len < size) {
        ssize_t n = read(fd, text + *len, size - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            return ERR_OK;
        *len += (size_t)n;
    }
    return ERR_TOO_LARGE;
}

static enum err read_open(int fd, const char *path, struct mesh_keys *out, char *why,
                          size_t why_size)
{
    char text[FILE_BYTES_MAX], what[256];
    struct stat st;
    size_t len;
    enum err err = slurp(fd, text, sizeof text, &len);
    if (err == ERR_IO) {
        say(why, why_size, "%s: can't be read: %s", path, strerror(errno));
    } else if (err) {
        say(why, why_size, "%s: larger than a key file is; give a file with a key a line", path);
        err = ERR_INVALID;
    } else {
        err = mesh_keys_parse(text, len, out, what, sizeof what);
        if (err)
            say(why, why_size, "%s: %s", path, what);
    }
    sodium_memzero(text, sizeof text);
    if (!err && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IROTH))
        say(why, why_size,
            "%s: everyone on this host can read it, and so join the mesh; chmod o-r %s", path,
            path);
    return err;
}

enum err mesh_keys_read(const char *path, struct mesh_keys *out, char *why, size_t why_size)
{
    say(why, why_size, "%s", "");
    memset(out, 0, sizeof *out);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        say(why, why_size,
            "%s: there is no such file; copy it from a node of the mesh, or make one with 'meshctl "
            "keygen'",
            path);
        return ERR_NOT_FOUND;
    }
    if (fd < 0) {
        say(why, why_size, "%s: can't be opened: %s", path, strerror(errno));
        return ERR_IO;
    }
    enum err err = read_open(fd, path, out, why, why_size);
    close(fd);
    return err;
}

void mesh_keys_wipe(struct mesh_keys *k)
{
    sodium_memzero(k, sizeof *k);
}

void mesh_key_generate(char out[static MESH_KEY_TEXT])
{
    uint8_t key[MESH_KEY_SIZE];
    CHECK(sodium_init() >= 0);
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(out, MESH_KEY_TEXT, key, sizeof key);
    sodium_memzero(key, sizeof key);
}

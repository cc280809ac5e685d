/* libFuzzer: YAML from files: app files and the daemon's configuration, by the first byte. */
#include "ctl/appfile.h"
#include "node/config.h"

#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);

/* Now and then begin again from something that is right. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    static const char *const whole[] = {
        "0app: web\nimage: {spt: a, virtio: \"b\"}\nargs: [x, 'y']\nreplicas: 3\nmemory: 32M\n"
        "restart: {when: on-failure, codes: [1, 2]}\nrequire: {zone: attic}\naffinity: front\n",
        "0app: web\nimage: a\nrestart: never\nargs:\n - |\n   x\n - >\n   y\n",
        "1name: attic\nbind: 0.0.0.0:7946\nadvertise: ['203.0.113.7:7946']\njoin: "
        "[front.example:1, \"[::1]:2\"]\n"
        "discover: yes\nmemory: 4G\nlabels: {zone: attic}\nkey-file: /k\nstate: /s\nrun: /r\nmesh: "
        "m\n"
        "log-format: json\ntenders: {spt: /opt/solo5-spt}\n"};
    if (seed % 64 != 0)
        return LLVMFuzzerMutate(data, size, size_max);
    const char *text = whole[seed / 64 % 3];
    size_t n = strlen(text) < size_max ? strlen(text) : size_max;
    memcpy(data, text, n);
    return n;
}

/* What is refused is refused in one line with the file's name. */
static void check_error(enum err err, const struct yaml_error *e)
{
    if (err)
        CHECK(strncmp(e->text, "x.yaml", 6) == 0 && !strchr(e->text, '\n'));
}

static void appfile(const uint8_t *p, size_t len)
{
    static struct appfile a;
    struct yaml_error e = {""};
    enum err err = appfile_parse(&a, "x.yaml", p, len, &e);
    check_error(err, &e);
    if (!err) {
        CHECK(name_valid(a.spec.name) && a.image_count >= 1 && a.image_count <= TARGET_COUNT);
        CHECK(a.replicas == REPLICAS_KEEP || a.replicas <= REPLICAS_MAX);
        CHECK(labels_sorted(&a.spec.require) && a.args_count <= ARGS_MAX);
    }
    appfile_release(&a);
}

static void config(const uint8_t *p, size_t len)
{
    static struct config c;
    struct yaml_error e = {""};
    memset(&c, 0, sizeof c);
    enum err err = config_parse(&c, "x.yaml", p, len, &e);
    check_error(err, &e);
    CHECK(c.join_count <= CONFIG_JOIN_MAX && labels_sorted(&c.labels));
    for (uint32_t i = 0; i < c.join_count; i++)
        CHECK(c.join[i].host[0] && c.join[i].port[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        config(data + 1, size - 1);
    else
        appfile(data + 1, size - 1);
    return 0;
}

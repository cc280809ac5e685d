/* node/crypto/node_crypto: the five operations over libsodium, keys and their files. What any
 * struct crypto must do is asked of the tests' fake one, too, so that one can stand in for the
 * other. */
#define _GNU_SOURCE
#include "node/crypto/node_crypto.h"

#include "gossip/packet.h"
#include "tests/support/fake_crypto.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct mesh_keys keys_of(unsigned first, unsigned count)
{
    struct mesh_keys k = {.count = count};
    for (unsigned i = 0; i < count; i++)
        memset(k.key[i], (int)(first + i), MESH_KEY_SIZE);
    return k;
}

static struct node_crypto *node(unsigned seed, const struct mesh_keys *keys, const char *label)
{
    uint8_t s[NODE_SEED_SIZE];
    struct node_crypto *c = NULL;
    for (unsigned i = 0; i < sizeof s; i++)
        s[i] = (uint8_t)(seed + i);
    assert_int_equal(node_crypto_new(&c, s, keys, label), ERR_OK);
    return c;
}

/* ---- Any struct crypto ----------------------------------------------------------------------- */

/* Two nodes of a mesh and one of another, by either crypto. */
struct trio {
    struct node_crypto *real[3];
    struct fake_crypto fake[3];
    const struct crypto *a, *b, *stranger;
};

static void real_trio(struct trio *t)
{
    struct mesh_keys ours = keys_of(0xaa, 1), theirs = keys_of(0xbb, 1);
    t->real[0] = node(0, &ours, NULL);
    t->real[1] = node(1, &ours, NULL);
    t->real[2] = node(2, &theirs, NULL);
    t->a = node_crypto_interface(t->real[0]);
    t->b = node_crypto_interface(t->real[1]);
    t->stranger = node_crypto_interface(t->real[2]);
}

static void fake_trio(struct trio *t)
{
    fake_crypto_init(&t->fake[0], 1, 1);
    fake_crypto_init(&t->fake[1], 2, 1);
    fake_crypto_init(&t->fake[2], 3, 2);
    t->a = &t->fake[0].crypto;
    t->b = &t->fake[1].crypto;
    t->stranger = &t->fake[2].crypto;
}

static void free_trio(struct trio *t)
{
    for (unsigned i = 0; i < 3; i++)
        node_crypto_free(t->real[i]);
}

static void for_both(void (*body)(const struct trio *t))
{
    struct trio t = {0};
    real_trio(&t);
    body(&t);
    free_trio(&t);
    memset(&t, 0, sizeof t);
    fake_trio(&t);
    body(&t);
}

static enum err key_at(const struct crypto *us, const struct crypto *peer,
                       const struct crypto *from, uint8_t key[static SEAL_KEY_SIZE])
{
    const struct crypto *to = from == us ? peer : us;
    return us->pair_key(us->ctx, from->key_id, peer->x25519, from->node, to->node, key);
}

static void check_pair_keys(const struct trio *t)
{
    uint8_t there[SEAL_KEY_SIZE], same[SEAL_KEY_SIZE], back[SEAL_KEY_SIZE], key[SEAL_KEY_SIZE];
    assert_int_equal(key_at(t->a, t->b, t->a, there), ERR_OK);
    assert_int_equal(key_at(t->b, t->a, t->a, same), ERR_OK);
    assert_memory_equal(there, same, sizeof there);
    assert_int_equal(key_at(t->a, t->b, t->b, back), ERR_OK);
    assert_memory_not_equal(there, back, sizeof there);
    assert_int_equal(key_at(t->stranger, t->a, t->a, key), ERR_NOT_FOUND);
    /* The stranger knows all that is public, and its own mesh's key. */
    assert_int_equal(t->stranger->pair_key(t->stranger->ctx, t->stranger->key_id, t->b->x25519,
                                           t->a->node, t->b->node, key),
                     ERR_OK);
    assert_memory_not_equal(key, there, sizeof key);
}

static void pair_keys_agree_at_both_ends_and_differ_each_way(void **state)
{
    (void)state;
    for_both(check_pair_keys);
}

static void check_sealing(const struct trio *t)
{
    uint8_t key[SEAL_KEY_SIZE] = {1}, nonce[SEAL_NONCE_SIZE] = {2}, sealed[64], out[64];
    const size_t len = 5 + SEAL_TAG_SIZE;
    t->a->seal(key, nonce, "ad", 2, "hello", 5, sealed);
    assert_int_equal(t->b->open(key, nonce, "ad", 2, sealed, len, out), ERR_OK);
    assert_memory_equal(out, "hello", 5);
    assert_int_equal(t->b->open(key, nonce, "ae", 2, sealed, len, out), ERR_AUTH);
    assert_int_equal(t->b->open(key, nonce, NULL, 0, sealed, len, out), ERR_AUTH);
    assert_int_equal(t->b->open(key, nonce, "ad", 2, sealed, len - 1, out), ERR_AUTH);
    assert_int_equal(t->b->open(key, nonce, "ad", 2, sealed, SEAL_TAG_SIZE - 1, out), ERR_AUTH);
    for (size_t i = 0; i < len; i++) {
        sealed[i] ^= 1;
        assert_int_equal(t->b->open(key, nonce, "ad", 2, sealed, len, out), ERR_AUTH);
        sealed[i] ^= 1;
    }
    nonce[23] ^= 1;
    assert_int_equal(t->b->open(key, nonce, "ad", 2, sealed, len, out), ERR_AUTH);
    nonce[23] ^= 1;
    key[31] ^= 1;
    assert_int_equal(t->b->open(key, nonce, "ad", 2, sealed, len, out), ERR_AUTH);
    t->a->seal(key, nonce, NULL, 0, NULL, 0, sealed);
    assert_int_equal(t->b->open(key, nonce, NULL, 0, sealed, SEAL_TAG_SIZE, out), ERR_OK);
}

static void what_is_sealed_opens_with_the_same_key_nonce_and_data_only(void **state)
{
    (void)state;
    for_both(check_sealing);
}

static void check_signing(const struct trio *t)
{
    uint8_t s[SIGNATURE_SIZE];
    const struct crypto *c = t->b;
    assert_int_equal(t->a->sign(t->a->ctx, "label 1", "message", 7, s), ERR_OK);
    assert_int_equal(c->verify(c->ctx, t->a->public_key, "label 1", "message", 7, s), ERR_OK);
    assert_int_equal(
        t->stranger->verify(t->stranger->ctx, t->a->public_key, "label 1", "message", 7, s),
        ERR_OK);
    assert_int_equal(c->verify(c->ctx, t->b->public_key, "label 1", "message", 7, s), ERR_AUTH);
    assert_int_equal(c->verify(c->ctx, t->a->public_key, "label 2", "message", 7, s), ERR_AUTH);
    assert_int_equal(c->verify(c->ctx, t->a->public_key, "label 1", "messagf", 7, s), ERR_AUTH);
    assert_int_equal(c->verify(c->ctx, t->a->public_key, "label 1", "message", 6, s), ERR_AUTH);
    for (size_t i = 0; i < sizeof s; i++) {
        s[i] ^= 4;
        assert_int_equal(c->verify(c->ctx, t->a->public_key, "label 1", "message", 7, s), ERR_AUTH);
        s[i] ^= 4;
    }
    assert_int_equal(t->a->sign(t->a->ctx, "label 1", NULL, 0, s), ERR_OK);
    assert_int_equal(c->verify(c->ctx, t->a->public_key, "label 1", NULL, 0, s), ERR_OK);
}

static void a_signature_holds_for_its_key_label_and_message_only(void **state)
{
    (void)state;
    for_both(check_signing);
}

static void check_packets(const struct trio *t)
{
    uint8_t key[SEAL_KEY_SIZE], packet[PACKET_SIZE_MAX], out[PACKET_PAYLOAD_MAX];
    size_t len, out_len;
    struct packet_header h = {.type = 1, .sender = t->a->node, .boot = 5, .counter = 6};
    memcpy(h.key_id, t->a->key_id, KEY_ID_SIZE);
    assert_int_equal(key_at(t->a, t->b, t->a, key), ERR_OK);
    assert_int_equal(packet_seal(t->a, key, &h, t->b->node, 9, "ping", 4, packet, &len), ERR_OK);
    assert_int_equal(key_at(t->b, t->a, t->a, key), ERR_OK);
    assert_int_equal(packet_open(t->b, key, 9, packet, len, out, &out_len), ERR_OK);
    assert_int_equal(out_len, 4);
    assert_memory_equal(out, "ping", 4);
    assert_int_equal(packet_open(t->b, key, 10, packet, len, out, &out_len), ERR_AUTH);
}

static void packets_pass_between_two_nodes(void **state)
{
    (void)state;
    for_both(check_packets);
}

static void check_ids(const struct trio *t)
{
    struct hash h, again;
    assert_true(t->a->node != 0 && t->a->node != t->b->node);
    assert_true(crypto_node_id(t->b, t->a->public_key) == t->a->node);
    assert_memory_equal(t->a->key_id, t->b->key_id, KEY_ID_SIZE);
    assert_memory_not_equal(t->a->key_id, t->stranger->key_id, KEY_ID_SIZE);
    t->a->hash("abc", 3, &h);
    t->b->hash("abc", 3, &again);
    assert_true(hash_equal(&h, &again));
    t->a->hash(NULL, 0, &again);
    assert_false(hash_equal(&h, &again));
}

static void ids_come_from_keys(void **state)
{
    (void)state;
    for_both(check_ids);
}

/* ---- The real one ---------------------------------------------------------------------------- */

static void assert_hex(const uint8_t *p, size_t len, const char *hex)
{
    char text[129];
    assert_string_equal(sodium_bin2hex(text, sizeof text, p, len), hex);
}

/* These bytes are the wire: they may never change. Worked out by another program, from the formulas
 * at the top of node_crypto.c. */
static void derived_keys_are_as_documented(void **state)
{
    (void)state;
    struct mesh_keys keys = keys_of(0xaa, 1);
    struct node_crypto *a = node(0, &keys, NULL), *b = node(1, &keys, NULL);
    const struct crypto *c = node_crypto_interface(a), *peer = node_crypto_interface(b);
    uint8_t psk[PSK_SIZE], key[SEAL_KEY_SIZE];
    assert_hex(c->public_key, 32,
               "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8");
    assert_hex(c->x25519, 32, "da64fabbc9f2d655b58fdab82da1b5dcc2bbd3a597f8e6bf8996f57a4c9aea01");
    assert_hex(c->key_id, 4, "ec2ee10a");
    assert_true(c->node == UINT64_C(0xa0c227afeee2249d));
    assert_int_equal(node_crypto_psk(a, c->key_id, psk), ERR_OK);
    assert_hex(psk, 32, "6a744171c544958ba9ca88b42ad887dde95ffcaf2fcbfef6f98980cdf91e987a");
    assert_int_equal(key_at(c, peer, c, key), ERR_OK);
    assert_hex(key, 32, "eb93c463dffa7b68c69d11aac57cc387214b4d72661be40dc307f4dca916558e");
    uint8_t public[32];
    crypto_scalarmult_curve25519_base(public, node_crypto_x25519_secret(a));
    assert_memory_equal(public, c->x25519, 32);
    struct hash h;
    c->hash("abc", 3, &h); /* BLAKE2b-256, as of RFC 7693's algorithm */
    assert_hex(h.b, 32, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    node_crypto_free(a);
    node_crypto_free(b);
}

static void the_mesh_label_keeps_meshes_apart_that_share_a_key(void **state)
{
    (void)state;
    struct mesh_keys keys = keys_of(0xaa, 1);
    struct node_crypto *a = node(0, &keys, NULL), *b = node(0, &keys, "unimesh-lab");
    const struct crypto *c = node_crypto_interface(a), *d = node_crypto_interface(b);
    struct node_crypto *peer = node(1, &keys, NULL);
    uint8_t k1[SEAL_KEY_SIZE], k2[SEAL_KEY_SIZE], p1[PSK_SIZE], p2[PSK_SIZE];
    assert_memory_not_equal(c->key_id, d->key_id, KEY_ID_SIZE);
    assert_int_equal(node_crypto_psk(b, c->key_id, p1), ERR_NOT_FOUND);
    assert_int_equal(node_crypto_psk(a, c->key_id, p1), ERR_OK);
    assert_int_equal(node_crypto_psk(b, d->key_id, p2), ERR_OK);
    assert_memory_not_equal(p1, p2, sizeof p1);
    const uint8_t *x = node_crypto_interface(peer)->x25519;
    assert_int_equal(c->pair_key(c->ctx, c->key_id, x, 1, 2, k1), ERR_OK);
    assert_int_equal(d->pair_key(d->ctx, d->key_id, x, 1, 2, k2), ERR_OK);
    assert_memory_not_equal(k1, k2, sizeof k1);
    node_crypto_free(a);
    node_crypto_free(b);
    node_crypto_free(peer);
}

static void every_known_mesh_key_opens_and_the_first_is_sent(void **state)
{
    (void)state;
    struct mesh_keys old = keys_of(0x10, 1), both = keys_of(0x10, 2), swapped = both;
    memcpy(swapped.key[0], both.key[1], MESH_KEY_SIZE);
    memcpy(swapped.key[1], both.key[0], MESH_KEY_SIZE);
    struct node_crypto *n[3] = {node(0, &old, NULL), node(1, &both, NULL), node(2, &swapped, NULL)};
    const struct crypto *c[3];
    for (unsigned i = 0; i < 3; i++)
        c[i] = node_crypto_interface(n[i]);
    assert_memory_equal(c[0]->key_id, c[1]->key_id, KEY_ID_SIZE);
    assert_memory_not_equal(c[0]->key_id, c[2]->key_id, KEY_ID_SIZE);
    uint8_t k1[SEAL_KEY_SIZE], k2[SEAL_KEY_SIZE];
    for (unsigned from = 1; from < 3; from++) { /* each by its own primary key */
        assert_int_equal(key_at(c[1], c[2], c[from], k1), ERR_OK);
        assert_int_equal(key_at(c[2], c[1], c[from], k2), ERR_OK);
        assert_memory_equal(k1, k2, sizeof k1);
    }
    assert_int_equal(key_at(c[0], c[2], c[2], k1), ERR_NOT_FOUND);
    for (unsigned i = 0; i < 3; i++)
        node_crypto_free(n[i]);
}

static void what_is_out_of_bounds_is_refused(void **state)
{
    (void)state;
    static uint8_t big[RECORD_BYTES_MAX + 65];
    struct mesh_keys keys = keys_of(1, 1), none = keys_of(1, 0), many = keys_of(1, 4);
    uint8_t seed[NODE_SEED_SIZE] = {1}, key[SEAL_KEY_SIZE], s[SIGNATURE_SIZE];
    char label[MESH_LABEL_MAX + 2];
    struct node_crypto *c = NULL;
    memset(label, 'x', sizeof label);
    label[MESH_LABEL_MAX + 1] = '\0';
    many.count = 5;
    assert_int_equal(node_crypto_new(&c, seed, &none, NULL), ERR_INVALID);
    assert_int_equal(node_crypto_new(&c, seed, &many, NULL), ERR_INVALID);
    assert_int_equal(node_crypto_new(&c, seed, &keys, ""), ERR_INVALID);
    assert_int_equal(node_crypto_new(&c, seed, &keys, label), ERR_INVALID);
    assert_null(c);
    label[MESH_LABEL_MAX] = '\0';
    many.count = 4;
    assert_int_equal(node_crypto_new(&c, seed, &many, label), ERR_OK);
    const struct crypto *i = node_crypto_interface(c);
    assert_int_equal(i->pair_key(i->ctx, i->key_id, big, 1, 2, key),
                     ERR_AUTH); /* zeros: low order */
    assert_int_equal(i->sign(i->ctx, "unimesh record 1", big, RECORD_BYTES_MAX, s), ERR_OK);
    assert_int_equal(i->verify(i->ctx, i->public_key, "unimesh record 1", big, RECORD_BYTES_MAX, s),
                     ERR_OK);
    assert_int_equal(i->sign(i->ctx, "", big, sizeof big, s), ERR_TOO_LARGE);
    assert_int_equal(i->verify(i->ctx, i->public_key, "", big, sizeof big, s), ERR_TOO_LARGE);
    node_crypto_free(c);
    node_crypto_free(NULL);
}

static void a_proof_holds_for_the_stream_key_it_signs(void **state)
{
    (void)state;
    struct mesh_keys keys = keys_of(1, 1);
    struct node_crypto *a = node(0, &keys, NULL), *b = node(1, &keys, NULL);
    const struct crypto *c = node_crypto_interface(a);
    uint8_t proof[NODE_PROOF_SIZE];
    node_id id = 0;
    memcpy(proof, node_crypto_proof(a), sizeof proof);
    assert_memory_equal(proof, c->public_key, PUBLIC_KEY_SIZE);
    assert_int_equal(node_crypto_proof_check(b, proof, c->x25519, &id), ERR_OK);
    assert_true(id == c->node);
    assert_int_equal(node_crypto_proof_check(b, proof, node_crypto_interface(b)->x25519, &id),
                     ERR_AUTH);
    for (size_t i = 0; i < sizeof proof; i++) {
        proof[i] ^= 1;
        assert_int_equal(node_crypto_proof_check(b, proof, c->x25519, &id), ERR_AUTH);
        proof[i] ^= 1;
    }
    node_crypto_free(a);
    node_crypto_free(b);
}

/* ---- Key files ------------------------------------------------------------------------------- */

#define HEX_1    "0101010101010101010101010101010101010101010101010101010101010101"
#define HEX_2    "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABab"
#define BASE64_3 "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="
#define HEX_4    "0404040404040404040404040404040404040404040404040404040404040404"
#define HEX_5    "0505050505050505050505050505050505050505050505050505050505050505"

static enum err parse(const char *text, struct mesh_keys *k, char why[static 256])
{
    memset(k, 0xee, sizeof *k);
    return mesh_keys_parse(text, strlen(text), k, why, 256);
}

static void keys_are_read_as_hex_or_base64_a_line(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {1, 0xab, 3, 4};
    struct mesh_keys k;
    char why[256];
    assert_int_equal(
        parse("# primary\n" HEX_1 "\n\n  \t" HEX_2 "\r\n" BASE64_3 "\n#end\n" HEX_4, &k, why),
        ERR_OK);
    assert_string_equal(why, "");
    assert_int_equal(k.count, 4);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < MESH_KEY_SIZE; j++)
            assert_int_equal(k.key[i][j], bytes[i]);
    mesh_keys_wipe(&k);
    assert_true(sodium_is_zero((const uint8_t *)&k, sizeof k));
    char line[MESH_KEY_TEXT], other[MESH_KEY_TEXT];
    mesh_key_generate(line);
    mesh_key_generate(other);
    assert_string_not_equal(line, other);
    assert_int_equal(parse(line, &k, why), ERR_OK);
}

static void a_bad_key_file_is_refused_and_its_line_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
        const char *why;
    } cases[] = {
        {"", ERR_INVALID, "there is no key in it"},
        {"# nothing\n\n", ERR_INVALID, "there is no key in it"},
        {HEX_1 "0\n", ERR_INVALID, "line 1: this is no mesh key"},
        {HEX_1 "\n" HEX_1 HEX_1, ERR_INVALID, "line 2: this is no mesh key"},
        {"\n\nsecret\n", ERR_INVALID, "line 3: this is no mesh key"},
        {"010101\n", ERR_INVALID, "line 1: this is no mesh key"},
        {HEX_1 " # mine\n", ERR_INVALID, "line 1: this is no mesh key"},
        {"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM==\n", ERR_INVALID,
         "line 1: this is no mesh key"},
        {HEX_1 "\n" HEX_2 "\n" HEX_1, ERR_INVALID, "line 3: this key stands in an earlier line"},
        {"0000000000000000000000000000000000000000000000000000000000000000", ERR_INVALID,
         "line 1: a key of zeros"},
        {HEX_1 "\n" HEX_2 "\n" BASE64_3 "\n" HEX_4 "\n" HEX_5 "\n", ERR_FULL,
         "line 5: more than 4 keys"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mesh_keys k;
        char why[256];
        assert_int_equal(parse(cases[i].text, &k, why), cases[i].err);
        assert_non_null(strstr(why, cases[i].why));
        assert_null(strstr(why, "0101")); /* no part of a key is shown */
        assert_true(sodium_is_zero((const uint8_t *)&k, sizeof k));
        assert_int_equal(mesh_keys_parse(cases[i].text, strlen(cases[i].text), &k, NULL, 0),
                         cases[i].err);
    }
}

static void write_file(const char *path, const char *text, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0 && write(fd, text, len) == (ssize_t)len && fchmod(fd, mode) == 0);
    close(fd);
}

static void a_key_file_is_read_and_one_that_all_can_read_is_told(void **state)
{
    (void)state;
    char dir[] = "/tmp/unimesh-keys-XXXXXX", path[64], why[256], *big = calloc(1, 20000);
    struct mesh_keys k;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/mesh.key", dir);
    assert_int_equal(mesh_keys_read(path, &k, why, sizeof why), ERR_NOT_FOUND);
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "meshctl keygen"));
    write_file(path, HEX_1 "\n", 65, 0640);
    assert_int_equal(mesh_keys_read(path, &k, why, sizeof why), ERR_OK);
    assert_string_equal(why, "");
    assert_int_equal(k.count, 1);
    write_file(path, HEX_1 "\n", 65, 0644);
    assert_int_equal(mesh_keys_read(path, &k, why, sizeof why), ERR_OK);
    assert_non_null(strstr(why, "chmod o-r"));
    write_file(path, "x\n", 2, 0600);
    assert_int_equal(mesh_keys_read(path, &k, why, sizeof why), ERR_INVALID);
    assert_non_null(strstr(why, "mesh.key: line 1: "));
    memset(big, '#', 20000);
    write_file(path, big, 20000, 0600);
    assert_int_equal(mesh_keys_read(path, &k, why, sizeof why), ERR_INVALID);
    assert_int_equal(mesh_keys_read(dir, &k, why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, dir));
    unlink(path);
    rmdir(dir);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pair_keys_agree_at_both_ends_and_differ_each_way),
        cmocka_unit_test(what_is_sealed_opens_with_the_same_key_nonce_and_data_only),
        cmocka_unit_test(a_signature_holds_for_its_key_label_and_message_only),
        cmocka_unit_test(packets_pass_between_two_nodes),
        cmocka_unit_test(ids_come_from_keys),
        cmocka_unit_test(derived_keys_are_as_documented),
        cmocka_unit_test(the_mesh_label_keeps_meshes_apart_that_share_a_key),
        cmocka_unit_test(every_known_mesh_key_opens_and_the_first_is_sent),
        cmocka_unit_test(what_is_out_of_bounds_is_refused),
        cmocka_unit_test(a_proof_holds_for_the_stream_key_it_signs),
        cmocka_unit_test(keys_are_read_as_hex_or_base64_a_line),
        cmocka_unit_test(a_bad_key_file_is_refused_and_its_line_named),
        cmocka_unit_test(a_key_file_is_read_and_one_that_all_can_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

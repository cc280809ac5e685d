/* libFuzzer: what an image says of itself. The first byte chooses: the bytes are a whole file, or the content of the
 * manifest note in a file that is otherwise good.
 *
 * What is read is within its bounds, and a file made from it is read the same. */
#include "tests/support/elf_image.h"

#include <string.h>

static void inspect(const uint8_t *p, size_t len)
{
    static uint8_t file[ELF_IMAGE_MAX];
    struct solo5_image out, again;
    char text[160] = "";
    if (solo5_inspect(p, len, &out, text, sizeof text)) {
        CHECK(text[0] != '\0');
        return;
    }
    CHECK(out.device_count <= SOLO5_DEVICES_MAX);
    for (uint32_t i = 0; i < out.device_count; i++) {
        CHECK(memchr(out.devices[i].name, '\0', SOLO5_NAME_SIZE) != NULL && out.devices[i].name[0]);
        CHECK(out.devices[i].type == SOLO5_NET || out.devices[i].type == SOLO5_BLOCK);
    }
    size_t size = elf_image(&out, file);
    CHECK(solo5_inspect(file, size, &again, text, sizeof text) == ERR_OK);
    CHECK(again.target == out.target && again.abi_version == out.abi_version);
    CHECK(strcmp(again.arch, out.arch) == 0 && again.device_count == out.device_count);
    for (uint32_t i = 0; i < out.device_count; i++)
        CHECK(strcmp(again.devices[i].name, out.devices[i].name) == 0 &&
              again.devices[i].type == out.devices[i].type);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[ELF_IMAGE_MAX];
    static const struct solo5_image like = {.target = TARGET_HVT, .abi_version = 2, .arch = "x86_64"};
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        inspect(data + 1, size - 1);
    else if (size - 1 <= 8192)
        inspect(file, elf_image_manifest(&like, data + 1, size - 1, file));
    return 0;
}

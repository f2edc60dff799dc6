/* input.h: an input of libFuzzer's, taken piece by piece. At its end come zeros, and no bytes. */
#ifndef DC_FUZZ_INPUT_H
#define DC_FUZZ_INPUT_H

#include <stddef.h>

typedef struct input {
    const unsigned char *data;
    size_t left;
} input;

static inline unsigned take(input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

/* So many bytes, or as many as there are: *size says how many. */
static inline const char *take_bytes(input *in, size_t *size)
{
    const char *bytes = (const char *)in->data;

    *size = *size < in->left ? *size : in->left;
    in->data += *size;
    in->left -= *size;
    return bytes;
}

#endif

/* key_pickle.c: pickletools.optimize in C, and for simple keys pickle.dumps as well.
 *
 * A pickle is a program for a small stack machine: a sequence of opcodes of one byte, each followed
 * by its argument, up to STOP. The pickler cannot know which objects it will meet again, so it
 * numbers nearly every one (PUT, BINPUT, LONG_BINPUT, MEMOIZE) in case a later opcode fetches it
 * (GET, BINGET, LONG_BINGET). Optimizing means to
 *
 *   - drop the PUTs whose number no GET asks for,
 *   - number the others anew, from 0, and rewrite the GETs to match,
 *   - drop the FRAME opcodes and, from protocol 4 on, divide what is left into frames again.
 *
 * Everything else is copied as it stands. Two scans do it. `survey` walks over all opcodes, checks
 * them and marks the memo entries that are fetched; `rewrite` walks again and writes. Between the
 * two the marks become the new numbers. Opcodes are known from one table, `rules`, which says for
 * each what to do with it and how its argument is delimited; nothing is decoded that need not be.
 *
 * What pickletools does and one would not guess:
 *
 *   - The protocol written is not simply the header's: it is the highest of all PROTO arguments and
 *     of the protocols that introduced the GET opcodes used (GET 0, BINGET and LONG_BINGET 1).
 *   - Only a PROTO at offset 0 is a header and stays out of the frames.
 *   - A frame is closed before the opcode that finds it at or above 64 KiB, so frames exceed that.
 *   - An opcode longer than 64 KiB closes the frame and is written between frames.
 *   - A frame of fewer than 4 bytes is written without its FRAME opcode.
 *   - Every argument is decoded, so a bad one (say, invalid UTF-8) is an error.
 *
 * The last point is why `survey` checks contents. It accepts what is certainly valid, which covers
 * all that picklers write, and calls everything else foreign: unknown opcodes, truncated streams,
 * PUTs that do not count up from 0, text with escapes. pickletools itself then deals with the
 * stream, or raises the error it deserves. Accepting too little costs time, never correctness.
 *
 * A key is typically shorter than 200 bytes, so the output and the memo begin on the stack and move
 * to the heap only for larger ones. Up to "Keys without the pickler" nothing here uses Python's API.
 *
 * Most keys are tuples of strings and numbers. For those key_pickle_dumps writes the optimized pickle
 * directly, in a sixth of the time: no pickler is set up, no memo filled, nothing parsed. Here, too,
 * declining costs time, never correctness, and it declines at the first object it does not know.
 * What it relies on, all of it the same in CPython 3.10 to 3.13:
 *
 *   - The pickler looks at the exact type of None, bool, int, float, str, bytes and tuple before it
 *     asks any registry or method, so for these nothing can change what is written.
 *   - It remembers every str, bytes and tuple, but not the empty tuple, by identity, and writes a GET
 *     when the same object comes again; equal ones are written twice. A key in which none comes again
 *     therefore has no GETs and, once optimized, no PUTs. Any other is declined: a short list of
 *     addresses tells. So is a key with more such objects than the list holds, which also bounds the
 *     recursion, as every level of tuples takes an entry.
 *   - An int of 32 bits takes the shortest of BININT1, BININT2 (both unsigned) and BININT, a longer
 *     one LONG1 with the fewest bytes of two's complement. Beyond 64 bits: declined.
 *   - Up to 64 KiB all opcodes after the header, STOP included, are in one frame. Beyond: declined.
 *   - Text is UTF-8. With a surrogate, the only thing this cannot encode: declined.
 */
#define PY_SSIZE_T_CLEAN
#include "python/key_pickle.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAME_SIZE_MIN = 4,            /* bytes; a shorter frame gets no FRAME opcode */
    FRAME_SIZE_TARGET = 64 * 1024, /* bytes; the _FRAME_SIZE_* of pickle._Framer */
    FRAME_HEADER_SIZE = 9,         /* FRAME and an 8-byte length */
    FIRST_BINARY_PROTOCOL = 1,
    FIRST_FRAMED_PROTOCOL = 4, /* also the first with MEMOIZE */
    HIGHEST_PROTOCOL = 5,
    /* No interpreter limits int() to fewer digits than these (sys.set_int_max_str_digits). */
    DIGITS_ALWAYS_ALLOWED = 640,
    OUTPUT_INLINE_SIZE = 512, /* bytes */
    MEMO_INLINE_SIZE = 64,    /* entries */
    KEY_OBJECTS_MAX = 32      /* entries of a list that is searched once for each of them */
};

typedef enum outcome {
    OUTCOME_DONE,
    OUTCOME_FOREIGN, /* not a stream we follow: ask pickletools */
    OUTCOME_NO_MEMORY
} outcome;

/* ---- The opcodes ---- */

enum role { ROLE_UNKNOWN = 0, ROLE_COPY, ROLE_PUT, ROLE_GET, ROLE_FRAME, ROLE_PROTO, ROLE_STOP };

/* How an argument is delimited. */
enum shape {
    SHAPE_FIXED = 0, /* `width` bytes */
    SHAPE_COUNTED,   /* a little-endian length of `width` bytes, then as many bytes */
    SHAPE_LINES      /* `width` lines, each ended by a newline */
};

/* What an argument must consist of for pickletools to decode it. */
enum content {
    CONTENT_ANY = 0,
    CONTENT_INT32_COUNTED, /* anything, but its length is a signed number */
    CONTENT_UTF8,          /* lone surrogates allowed */
    CONTENT_RAW_UNICODE,   /* the codec "raw-unicode-escape" */
    CONTENT_NAME,          /* ASCII with escapes */
    CONTENT_QUOTED,        /* the same between quotes */
    CONTENT_INT,
    CONTENT_LONG, /* an int, with an L or without */
    CONTENT_FLOAT
};

typedef struct rule {
    uint8_t role;
    uint8_t shape;
    uint8_t width;
    uint8_t content;
} rule;

#define BARE                                                                                       \
    {                                                                                              \
        ROLE_COPY, SHAPE_FIXED, 0, CONTENT_ANY                                                     \
    }
#define FIXED(width)                                                                               \
    {                                                                                              \
        ROLE_COPY, SHAPE_FIXED, width, CONTENT_ANY                                                 \
    }
#define COUNTED(width, content)                                                                    \
    {                                                                                              \
        ROLE_COPY, SHAPE_COUNTED, width, content                                                   \
    }
#define LINES(width, content)                                                                      \
    {                                                                                              \
        ROLE_COPY, SHAPE_LINES, width, content                                                     \
    }

static const rule rules[256] = {
    /* The memo. */
    ['p'] = {ROLE_PUT, SHAPE_LINES, 1, CONTENT_ANY},  /* PUT */
    ['q'] = {ROLE_PUT, SHAPE_FIXED, 1, CONTENT_ANY},  /* BINPUT */
    ['r'] = {ROLE_PUT, SHAPE_FIXED, 4, CONTENT_ANY},  /* LONG_BINPUT */
    [0x94] = {ROLE_PUT, SHAPE_FIXED, 0, CONTENT_ANY}, /* MEMOIZE */
    ['g'] = {ROLE_GET, SHAPE_LINES, 1, CONTENT_ANY},  /* GET */
    ['h'] = {ROLE_GET, SHAPE_FIXED, 1, CONTENT_ANY},  /* BINGET */
    ['j'] = {ROLE_GET, SHAPE_FIXED, 4, CONTENT_ANY},  /* LONG_BINGET */

    /* The stream. */
    [0x80] = {ROLE_PROTO, SHAPE_FIXED, 1, CONTENT_ANY}, /* PROTO */
    [0x95] = {ROLE_FRAME, SHAPE_FIXED, 8, CONTENT_ANY}, /* FRAME */
    ['.'] = {ROLE_STOP, SHAPE_FIXED, 0, CONTENT_ANY},   /* STOP */

    /* Numbers and constants. */
    ['N'] = BARE,                               /* NONE */
    [0x88] = BARE,                              /* NEWTRUE */
    [0x89] = BARE,                              /* NEWFALSE */
    ['I'] = LINES(1, CONTENT_INT),              /* INT */
    ['J'] = FIXED(4),                           /* BININT */
    ['K'] = FIXED(1),                           /* BININT1 */
    ['M'] = FIXED(2),                           /* BININT2 */
    ['L'] = LINES(1, CONTENT_LONG),             /* LONG */
    [0x8a] = COUNTED(1, CONTENT_ANY),           /* LONG1 */
    [0x8b] = COUNTED(4, CONTENT_INT32_COUNTED), /* LONG4 */
    ['F'] = LINES(1, CONTENT_FLOAT),            /* FLOAT */
    ['G'] = FIXED(8),                           /* BINFLOAT */

    /* Strings and bytes. */
    ['S'] = LINES(1, CONTENT_QUOTED),          /* STRING */
    ['T'] = COUNTED(4, CONTENT_INT32_COUNTED), /* BINSTRING */
    ['U'] = COUNTED(1, CONTENT_ANY),           /* SHORT_BINSTRING */
    ['B'] = COUNTED(4, CONTENT_ANY),           /* BINBYTES */
    ['C'] = COUNTED(1, CONTENT_ANY),           /* SHORT_BINBYTES */
    [0x8e] = COUNTED(8, CONTENT_ANY),          /* BINBYTES8 */
    [0x96] = COUNTED(8, CONTENT_ANY),          /* BYTEARRAY8 */
    [0x97] = BARE,                             /* NEXT_BUFFER */
    [0x98] = BARE,                             /* READONLY_BUFFER */
    ['V'] = LINES(1, CONTENT_RAW_UNICODE),     /* UNICODE */
    [0x8c] = COUNTED(1, CONTENT_UTF8),         /* SHORT_BINUNICODE */
    ['X'] = COUNTED(4, CONTENT_UTF8),          /* BINUNICODE */
    [0x8d] = COUNTED(8, CONTENT_UTF8),         /* BINUNICODE8 */

    /* Containers. */
    [']'] = BARE,  /* EMPTY_LIST */
    ['a'] = BARE,  /* APPEND */
    ['e'] = BARE,  /* APPENDS */
    ['l'] = BARE,  /* LIST */
    [')'] = BARE,  /* EMPTY_TUPLE */
    ['t'] = BARE,  /* TUPLE */
    [0x85] = BARE, /* TUPLE1 */
    [0x86] = BARE, /* TUPLE2 */
    [0x87] = BARE, /* TUPLE3 */
    ['}'] = BARE,  /* EMPTY_DICT */
    ['d'] = BARE,  /* DICT */
    ['s'] = BARE,  /* SETITEM */
    ['u'] = BARE,  /* SETITEMS */
    [0x8f] = BARE, /* EMPTY_SET */
    [0x90] = BARE, /* ADDITEMS */
    [0x91] = BARE, /* FROZENSET */

    /* The stack. */
    ['0'] = BARE, /* POP */
    ['2'] = BARE, /* DUP */
    ['('] = BARE, /* MARK */
    ['1'] = BARE, /* POP_MARK */

    /* Objects. */
    [0x82] = FIXED(1),              /* EXT1 */
    [0x83] = FIXED(2),              /* EXT2 */
    [0x84] = FIXED(4),              /* EXT4 */
    ['c'] = LINES(2, CONTENT_NAME), /* GLOBAL */
    [0x93] = BARE,                  /* STACK_GLOBAL */
    ['R'] = BARE,                   /* REDUCE */
    ['b'] = BARE,                   /* BUILD */
    ['i'] = LINES(2, CONTENT_NAME), /* INST */
    ['o'] = BARE,                   /* OBJ */
    [0x81] = BARE,                  /* NEWOBJ */
    [0x92] = BARE,                  /* NEWOBJ_EX */
    ['P'] = LINES(1, CONTENT_NAME), /* PERSID */
    ['Q'] = BARE,                   /* BINPERSID */
};

#undef BARE
#undef FIXED
#undef COUNTED
#undef LINES

typedef struct stream {
    const unsigned char *bytes;
    size_t size;
} stream;

/* An opcode as it stands in the stream. */
typedef struct opcode {
    rule rule;
    size_t end;                    /* offset just past it */
    const unsigned char *argument; /* without its length and without its last newline */
    size_t argument_size;
} opcode;

static uint64_t read_little_endian(const unsigned char *bytes, size_t width)
{
    uint64_t value = 0;

    while (width > 0) {
        width--;
        value = value << 8 | bytes[width];
    }
    return value;
}

/* Read the opcode at offset `at`. False if it is unknown or the stream ends within it. */
static bool opcode_read(const stream *in, size_t at, opcode *op)
{
    if (at >= in->size) {
        return false;
    }
    op->rule = rules[in->bytes[at]];
    if (op->rule.role == ROLE_UNKNOWN) {
        return false;
    }

    const unsigned char *argument = in->bytes + at + 1;
    size_t left = in->size - at - 1;
    size_t skipped = 0; /* bytes of the argument before op->argument or after its end */
    size_t size = op->rule.width;

    if (op->rule.shape == SHAPE_LINES) {
        size_t length = 0;
        for (unsigned line = 0; line < op->rule.width; line++) {
            const unsigned char *newline = memchr(argument + length, '\n', left - length);
            if (newline == NULL) {
                return false;
            }
            length = (size_t)(newline - argument) + 1;
        }
        size = length - 1;
        skipped = 1;
    } else if (left < size) {
        return false;
    } else if (op->rule.shape == SHAPE_COUNTED) {
        uint64_t count = read_little_endian(argument, size);
        skipped = size;
        if (count > left - skipped) {
            return false;
        }
        argument += skipped;
        size = (size_t)count;
    }
    op->argument = argument;
    op->argument_size = size;
    op->end = at + 1 + skipped + size;
    return true;
}

/* ---- Contents of arguments: true if pickletools certainly decodes them ---- */

static bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

static size_t skip_digits(const unsigned char *text, size_t size, size_t at)
{
    while (at < size && is_digit(text[at])) {
        at++;
    }
    return at;
}

static bool is_int(const unsigned char *text, size_t size)
{
    size_t first = size > 0 && text[0] == '-' ? 1 : 0;

    return size > first && size - first <= DIGITS_ALWAYS_ALLOWED &&
           skip_digits(text, size, first) == size;
}

static bool is_long(const unsigned char *text, size_t size)
{
    return is_int(text, size > 0 && text[size - 1] == 'L' ? size - 1 : size);
}

/* What repr() of a float looks like: -?digits(.digits)?(e[+-]?digits)? or -?inf or nan. */
static bool is_float(const unsigned char *text, size_t size)
{
    size_t first = size > 0 && text[0] == '-' ? 1 : 0;

    if (size - first == 3 &&
        (memcmp(text + first, "inf", 3) == 0 || memcmp(text + first, "nan", 3) == 0)) {
        return true;
    }

    size_t at = skip_digits(text, size, first);
    if (at == first) {
        return false;
    }
    if (at < size && text[at] == '.') {
        first = at + 1;
        at = skip_digits(text, size, first);
        if (at == first) {
            return false;
        }
    }
    if (at < size && text[at] == 'e') {
        first = at + 1;
        if (first < size && (text[first] == '-' || text[first] == '+')) {
            first++;
        }
        at = skip_digits(text, size, first);
        if (at == first) {
            return false;
        }
    }
    return at == size;
}

/* ASCII in which no escape needs decoding. */
static bool is_plain_ascii(const unsigned char *text, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        if (text[at] >= 0x80 || text[at] == '\\') {
            return false;
        }
    }
    return true;
}

static bool is_quoted(const unsigned char *text, size_t size)
{
    return size > 1 && (text[0] == '\'' || text[0] == '"') && text[size - 1] == text[0] &&
           is_plain_ascii(text, size);
}

static int hex_digit(unsigned char byte)
{
    if (is_digit(byte)) {
        return byte - '0';
    }
    if (byte >= 'a' && byte <= 'f') {
        return byte - 'a' + 10;
    }
    if (byte >= 'A' && byte <= 'F') {
        return byte - 'A' + 10;
    }
    return -1;
}

/* Latin-1, in which a backslash matters only before u and U: those take 4 and 8 hex digits. Any
 * other byte after a backslash stands for itself, a second backslash too. */
static bool is_raw_unicode(const unsigned char *text, size_t size)
{
    const unsigned char *end = text + size;
    const unsigned char *slash;

    while ((slash = memchr(text, '\\', (size_t)(end - text))) != NULL) {
        text = slash + 1;
        if (text == end) {
            return false;
        }
        unsigned char kind = *text++;
        int digits = kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
        uint32_t value = 0;
        if (end - text < digits) {
            return false;
        }
        for (; digits > 0; digits--) {
            int digit = hex_digit(*text++);
            if (digit < 0) {
                return false;
            }
            value = value << 4 | (uint32_t)digit;
        }
        if (value > 0x10ffff) {
            return false;
        }
    }
    return true;
}

static size_t skip_ascii(const unsigned char *text, size_t size, size_t at)
{
    while (size - at >= sizeof(uint64_t)) {
        uint64_t block;
        memcpy(&block, text + at, sizeof block);
        if ((block & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
        at += sizeof block;
    }
    while (at < size && text[at] < 0x80) {
        at++;
    }
    return at;
}

/* UTF-8 in the shortest form, up to U+10FFFF, surrogates (ED A0 80 to ED BF BF) included. */
static bool is_utf8(const unsigned char *text, size_t size)
{
    size_t at = 0;

    while ((at = skip_ascii(text, size, at)) < size) {
        unsigned char lead = text[at];
        size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        /* Overlong forms and numbers that are too high show in the second byte. */
        unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        unsigned char high = lead == 0xf4 ? 0x8f : 0xbf;

        if (lead < 0xc2 || lead > 0xf4 || size - at < length || text[at + 1] < low ||
            text[at + 1] > high) {
            return false;
        }
        for (size_t next = at + 2; next < at + length; next++) {
            if ((text[next] & 0xc0) != 0x80) {
                return false;
            }
        }
        at += length;
    }
    return true;
}

static bool content_is_valid(const opcode *op)
{
    switch ((enum content)op->rule.content) {
    case CONTENT_ANY:
        return true;
    case CONTENT_INT32_COUNTED:
        return op->argument_size <= INT32_MAX;
    case CONTENT_UTF8:
        return is_utf8(op->argument, op->argument_size);
    case CONTENT_RAW_UNICODE:
        return is_raw_unicode(op->argument, op->argument_size);
    case CONTENT_NAME:
        return is_plain_ascii(op->argument, op->argument_size);
    case CONTENT_QUOTED:
        return is_quoted(op->argument, op->argument_size);
    case CONTENT_INT:
        return is_int(op->argument, op->argument_size);
    case CONTENT_LONG:
        return is_long(op->argument, op->argument_size);
    case CONTENT_FLOAT:
        return is_float(op->argument, op->argument_size);
    }
    return false;
}

/* ---- The memo: one entry for each PUT of the stream, whose number is its index ---- */

#define MEMO_UNUSED UINT32_MAX

typedef struct memo_table {
    uint32_t *entries; /* MEMO_UNUSED, or fetched; after memo_renumber, the new number */
    size_t count;
    size_t capacity;
    uint32_t inline_entries[MEMO_INLINE_SIZE];
} memo_table;

static void memo_init(memo_table *memo)
{
    memo->entries = memo->inline_entries;
    memo->count = 0;
    memo->capacity = MEMO_INLINE_SIZE;
}

static void memo_clear(memo_table *memo)
{
    if (memo->entries != memo->inline_entries) {
        free(memo->entries);
    }
}

/* Append an unused entry. False if there is no memory for it. */
static bool memo_append(memo_table *memo)
{
    if (memo->count == memo->capacity) {
        bool is_inline = memo->entries == memo->inline_entries;
        if (memo->capacity > SIZE_MAX / 2 / sizeof *memo->entries) {
            return false;
        }
        size_t capacity = memo->capacity * 2;
        uint32_t *entries =
            realloc(is_inline ? NULL : memo->entries, capacity * sizeof *memo->entries);
        if (entries == NULL) {
            return false;
        }
        if (is_inline) {
            memcpy(entries, memo->inline_entries, sizeof memo->inline_entries);
        }
        memo->entries = entries;
        memo->capacity = capacity;
    }
    memo->entries[memo->count++] = MEMO_UNUSED;
    return true;
}

static void memo_renumber(memo_table *memo)
{
    uint32_t next = 0;

    for (size_t at = 0; at < memo->count; at++) {
        if (memo->entries[at] != MEMO_UNUSED) {
            memo->entries[at] = next++;
        }
    }
}

/* The memo number that is the argument of `op`, a PUT or a GET other than MEMOIZE. False if it is
 * not in canonical form or beyond what a memo number can be. */
static bool memo_number(const opcode *op, uint32_t *number)
{
    if (op->rule.shape == SHAPE_FIXED) {
        *number = (uint32_t)read_little_endian(op->argument, op->argument_size);
        return true;
    }

    const unsigned char *digits = op->argument;
    size_t size = op->argument_size;
    /* At most nine digits, so that the value fits; the tenth would be for 10**9 objects. */
    if (size == 0 || size > 9 || (digits[0] == '0' && size > 1) ||
        skip_digits(digits, size, 0) != size) {
        return false;
    }
    *number = 0;
    for (size_t at = 0; at < size; at++) {
        *number = *number * 10 + (uint32_t)(digits[at] - '0');
    }
    return true;
}

/* ---- The output: bytes, the last of them perhaps in a frame that is still open ---- */

typedef struct output {
    unsigned char *bytes;
    size_t size;
    size_t capacity;
    bool exhausted;     /* an allocation failed; `bytes` is incomplete from there on */
    bool framed;        /* protocol 4 or later: what is appended goes into frames */
    size_t frame_begin; /* offset of the open frame's content, behind room for its header */
    unsigned char inline_bytes[OUTPUT_INLINE_SIZE];
} output;

static void output_init(output *out)
{
    out->bytes = out->inline_bytes;
    out->size = 0;
    out->capacity = OUTPUT_INLINE_SIZE;
    out->exhausted = false;
    out->framed = false;
    out->frame_begin = 0;
}

static void output_clear(output *out)
{
    if (out->bytes != out->inline_bytes) {
        free(out->bytes);
    }
}

/* Make room for `size` more bytes. False, and `exhausted` from then on, if there is no memory. */
static bool output_reserve(output *out, size_t size)
{
    if (size <= out->capacity - out->size) {
        return !out->exhausted;
    }
    if (out->exhausted || size > SIZE_MAX / 2 - out->size) {
        out->exhausted = true;
        return false;
    }

    bool is_inline = out->bytes == out->inline_bytes;
    size_t capacity = (out->size + size) * 2;
    unsigned char *bytes = realloc(is_inline ? NULL : out->bytes, capacity);
    if (bytes == NULL) {
        out->exhausted = true;
        return false;
    }
    if (is_inline) {
        memcpy(bytes, out->inline_bytes, out->size);
    }
    out->bytes = bytes;
    out->capacity = capacity;
    return true;
}

static void output_append(output *out, const void *bytes, size_t size)
{
    if (size > 0 && output_reserve(out, size)) {
        memcpy(out->bytes + out->size, bytes, size);
        out->size += size;
    }
}

/* Write a PUT or a GET: `text` followed by decimal digits, or the shorter of two binary opcodes. */
static void output_memo_opcode(output *out, unsigned protocol, const char *text,
                               unsigned char short_binary, unsigned char long_binary,
                               uint32_t number)
{
    if (protocol < FIRST_BINARY_PROTOCOL) {
        char line[16];
        int length = snprintf(line, sizeof line, "%s%lu\n", text, (unsigned long)number);
        output_append(out, line, (size_t)length);
    } else if (number < 256) {
        unsigned char bytes[2] = {short_binary, (unsigned char)number};
        output_append(out, bytes, sizeof bytes);
    } else {
        unsigned char bytes[5] = {long_binary, (unsigned char)number, (unsigned char)(number >> 8),
                                  (unsigned char)(number >> 16), (unsigned char)(number >> 24)};
        output_append(out, bytes, sizeof bytes);
    }
}

static void output_put(output *out, unsigned protocol, uint32_t number)
{
    if (protocol >= FIRST_FRAMED_PROTOCOL) {
        output_append(out, "\x94", 1);
    } else {
        output_memo_opcode(out, protocol, "p", 'q', 'r', number);
    }
}

static void output_get(output *out, unsigned protocol, uint32_t number)
{
    output_memo_opcode(out, protocol, "g", 'h', 'j', number);
}

static size_t frame_size(const output *out)
{
    return out->size - out->frame_begin;
}

/* Begin a frame: leave room for the header, which is filled in when the frame is closed. */
static void frame_open(output *out)
{
    if (out->framed && output_reserve(out, FRAME_HEADER_SIZE)) {
        out->size += FRAME_HEADER_SIZE;
        out->frame_begin = out->size;
    }
}

/* End the frame: write its header, or take the room back if the frame is too short for one. */
static void frame_close(output *out)
{
    if (!out->framed || out->exhausted) {
        return;
    }

    size_t size = frame_size(out);
    unsigned char *content = out->bytes + out->frame_begin;
    unsigned char *header = content - FRAME_HEADER_SIZE;
    if (size < FRAME_SIZE_MIN) {
        memmove(header, content, size);
        out->size -= FRAME_HEADER_SIZE;
        return;
    }
    header[0] = 0x95;
    for (unsigned byte = 0; byte < 8; byte++) {
        header[1 + byte] = (unsigned char)((uint64_t)size >> (8 * byte));
    }
}

/* ---- The two scans ---- */

/* What the first scan learns. */
typedef struct rewrite_plan {
    unsigned protocol;  /* the one to write */
    size_t header_size; /* of the PROTO opcode at the very beginning, else 0 */
    memo_table memo;
} rewrite_plan;

static outcome survey_put(const opcode *op, rewrite_plan *plan)
{
    bool is_memoize = op->rule.shape == SHAPE_FIXED && op->rule.width == 0;
    uint32_t number = 0;

    /* Every pickler counts up from 0. A stream that does not would need a set of the numbers seen,
     * since MEMOIZE takes the size of that set: left to pickletools. */
    if (plan->memo.count >= MEMO_UNUSED) {
        return OUTCOME_FOREIGN;
    }
    if (!is_memoize && (!memo_number(op, &number) || number != plan->memo.count)) {
        return OUTCOME_FOREIGN;
    }
    return memo_append(&plan->memo) ? OUTCOME_DONE : OUTCOME_NO_MEMORY;
}

static outcome survey_get(const opcode *op, rewrite_plan *plan)
{
    uint32_t number = 0;

    if (!memo_number(op, &number) || number >= plan->memo.count) {
        return OUTCOME_FOREIGN;
    }
    plan->memo.entries[number] = 0;
    if (op->rule.shape != SHAPE_LINES && plan->protocol < FIRST_BINARY_PROTOCOL) {
        plan->protocol = FIRST_BINARY_PROTOCOL;
    }
    return OUTCOME_DONE;
}

static outcome survey_proto(const opcode *op, size_t at, rewrite_plan *plan)
{
    unsigned protocol = op->argument[0];

    if (protocol > HIGHEST_PROTOCOL) {
        return OUTCOME_FOREIGN;
    }
    if (protocol > plan->protocol) {
        plan->protocol = protocol;
    }
    if (at == 0) {
        plan->header_size = op->end;
    }
    return OUTCOME_DONE;
}

/* Scan up to STOP, check every opcode, and fill `plan`. */
static outcome survey(const stream *in, rewrite_plan *plan)
{
    outcome result = OUTCOME_DONE;
    opcode op;

    for (size_t at = 0; opcode_read(in, at, &op); at = op.end) {
        switch ((enum role)op.rule.role) {
        case ROLE_PUT:
            result = survey_put(&op, plan);
            break;
        case ROLE_GET:
            result = survey_get(&op, plan);
            break;
        case ROLE_PROTO:
            result = survey_proto(&op, at, plan);
            break;
        case ROLE_STOP:
            return OUTCOME_DONE;
        case ROLE_COPY:
            result = content_is_valid(&op) ? OUTCOME_DONE : OUTCOME_FOREIGN;
            break;
        case ROLE_FRAME:
        case ROLE_UNKNOWN:
            break;
        }
        if (result != OUTCOME_DONE) {
            return result;
        }
    }
    return OUTCOME_FOREIGN;
}

/* Scan again, and write what `plan` says. What is copied is not written opcode by opcode but in
 * runs: the bytes from `run` up to `at` are still to be written. */
static void rewrite(const stream *in, const rewrite_plan *plan, output *out)
{
    size_t run = plan->header_size;
    size_t puts = 0;
    uint32_t number = 0;
    opcode op;

    output_append(out, in->bytes, plan->header_size);
    out->framed = plan->protocol >= FIRST_FRAMED_PROTOCOL;
    frame_open(out);
    for (size_t at = run; opcode_read(in, at, &op); at = op.end) {
        enum role role = (enum role)op.rule.role;
        bool is_oversized = out->framed && op.end - at > FRAME_SIZE_TARGET;
        bool is_frame_full = out->framed && frame_size(out) + (at - run) >= FRAME_SIZE_TARGET;

        if (role == ROLE_COPY && !is_oversized && !is_frame_full) {
            continue;
        }
        output_append(out, in->bytes + run, at - run);
        run = at;
        if (is_oversized || is_frame_full) {
            frame_close(out);
            if (is_oversized) {
                output_append(out, in->bytes + at, op.end - at);
                run = op.end;
            }
            frame_open(out);
        }
        switch (role) {
        case ROLE_PUT:
            number = plan->memo.entries[puts++];
            if (number != MEMO_UNUSED) {
                output_put(out, plan->protocol, number);
            }
            run = op.end;
            break;
        case ROLE_GET:
            memo_number(&op, &number); /* cannot fail: survey has called it */
            output_get(out, plan->protocol, plan->memo.entries[number]);
            run = op.end;
            break;
        case ROLE_FRAME:
            run = op.end;
            break;
        case ROLE_STOP:
            output_append(out, in->bytes + run, op.end - run);
            frame_close(out);
            return;
        case ROLE_COPY:
        case ROLE_PROTO:
        case ROLE_UNKNOWN:
            break;
        }
    }
}

/* Optimize `in` into `out`, which the caller has initialized and clears whatever the outcome. */
static outcome optimize(const stream *in, output *out)
{
    rewrite_plan plan;
    outcome result;

    plan.protocol = 0;
    plan.header_size = 0;
    memo_init(&plan.memo);
    result = survey(in, &plan);
    if (result == OUTCOME_DONE) {
        memo_renumber(&plan.memo);
        rewrite(in, &plan, out);
        result = out->exhausted ? OUTCOME_NO_MEMORY : OUTCOME_DONE;
    }
    memo_clear(&plan.memo);
    return result;
}

/* ---- Keys without the pickler: each function returns false for what it does not follow ---- */

typedef struct key_writer {
    output out;
    size_t object_count;
    const PyObject *objects[KEY_OBJECTS_MAX]; /* those a pickler would remember */
} key_writer;

/* True if `object` has not been written before and will be known from now on. */
static bool key_remember(key_writer *writer, const PyObject *object)
{
    for (size_t at = 0; at < writer->object_count; at++) {
        if (writer->objects[at] == object) {
            return false;
        }
    }
    if (writer->object_count == KEY_OBJECTS_MAX) {
        return false;
    }
    writer->objects[writer->object_count++] = object;
    return true;
}

static void key_write_opcode(key_writer *writer, unsigned char code)
{
    output_append(&writer->out, &code, 1);
}

static void store_little_endian(unsigned char *bytes, size_t width, uint64_t value)
{
    for (size_t byte = 0; byte < width; byte++) {
        bytes[byte] = (unsigned char)(value >> (8 * byte));
    }
}

static bool key_write_int(key_writer *writer, PyObject *object)
{
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    unsigned char encoded[2 + 8];
    size_t size;

    if (overflow != 0) {
        return false;
    }
    if (value >= 0 && value <= UINT8_MAX) {
        encoded[0] = 'K'; /* BININT1 */
        size = 1 + 1;
        store_little_endian(encoded + 1, 1, (uint64_t)value);
    } else if (value >= 0 && value <= UINT16_MAX) {
        encoded[0] = 'M'; /* BININT2 */
        size = 1 + 2;
        store_little_endian(encoded + 1, 2, (uint64_t)value);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        encoded[0] = 'J'; /* BININT */
        size = 1 + 4;
        store_little_endian(encoded + 1, 4, (uint64_t)value);
    } else {
        /* A last byte is needless if it only repeats the sign of the one before. */
        unsigned char *bytes = encoded + 2;
        unsigned char sign = value < 0 ? 0xff : 0;
        size_t count = 8;
        store_little_endian(bytes, count, (uint64_t)value);
        while (bytes[count - 1] == sign && ((bytes[count - 2] ^ sign) & 0x80) == 0) {
            count--;
        }
        encoded[0] = 0x8a; /* LONG1 */
        encoded[1] = (unsigned char)count;
        size = 2 + count;
    }
    output_append(&writer->out, encoded, size);
    return true;
}

static void key_write_float(key_writer *writer, PyObject *object)
{
    double value = PyFloat_AS_DOUBLE(object);
    unsigned char encoded[1 + 8] = {'G'}; /* BINFLOAT: big-endian */
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    for (unsigned byte = 0; byte < 8; byte++) {
        encoded[1 + byte] = (unsigned char)(bits >> (56 - 8 * byte));
    }
    output_append(&writer->out, encoded, sizeof encoded);
}

/* Write one of two opcodes, whose length is of 1 and of 4 bytes. */
static bool key_write_counted(key_writer *writer, unsigned char short_code, unsigned char long_code,
                              const char *bytes, size_t size)
{
    unsigned char head[1 + 4];

    if (size > FRAME_SIZE_TARGET) {
        return false;
    }
    head[0] = size <= UINT8_MAX ? short_code : long_code;
    store_little_endian(head + 1, 4, size);
    output_append(&writer->out, head, size <= UINT8_MAX ? 1 + 1 : 1 + 4);
    output_append(&writer->out, bytes, size);
    return true;
}

/* Asked before UTF-8 is asked for, since that would fail with an exception. */
static bool has_surrogate(PyObject *text)
{
    int kind = (int)PyUnicode_KIND(text);
    const void *characters = PyUnicode_DATA(text);
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);

    if (kind == PyUnicode_1BYTE_KIND) {
        return false;
    }
    for (Py_ssize_t at = 0; at < length; at++) {
        if (Py_UNICODE_IS_SURROGATE(PyUnicode_READ(kind, characters, at))) {
            return true;
        }
    }
    return false;
}

static bool key_write_text(key_writer *writer, PyObject *text)
{
    const char *bytes;
    Py_ssize_t size;

    /* Text that is not compact comes from functions that Python 3.12 no longer has. */
    if (!PyUnicode_IS_COMPACT(text) || PyUnicode_GET_LENGTH(text) > FRAME_SIZE_TARGET ||
        has_surrogate(text) || !key_remember(writer, text)) {
        return false;
    }
    bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes == NULL) {
        PyErr_Clear(); /* no memory; the pickler may say so */
        return false;
    }
    return key_write_counted(writer, 0x8c, 'X', bytes, (size_t)size); /* (SHORT_)BINUNICODE */
}

static bool key_write_bytes(key_writer *writer, PyObject *object)
{
    return key_remember(writer, object) &&
           key_write_counted(writer, 'C', 'B', PyBytes_AS_STRING(object), /* (SHORT_)BINBYTES */
                             (size_t)PyBytes_GET_SIZE(object));
}

static bool key_write_object(key_writer *writer, PyObject *object);

static bool key_write_tuple(key_writer *writer, PyObject *tuple)
{
    /* EMPTY_TUPLE, which is not remembered; TUPLE1, TUPLE2, TUPLE3; TUPLE, which needs a MARK. */
    static const unsigned char codes[] = {')', 0x85, 0x86, 0x87, 't'};
    Py_ssize_t size = PyTuple_GET_SIZE(tuple);

    if (size > 0 && !key_remember(writer, tuple)) {
        return false;
    }
    if (size > 3) {
        key_write_opcode(writer, '(');
    }
    for (Py_ssize_t at = 0; at < size; at++) {
        if (!key_write_object(writer, PyTuple_GET_ITEM(tuple, at))) {
            return false;
        }
    }
    key_write_opcode(writer, codes[size > 3 ? 4 : size]);
    return true;
}

static bool key_write_object(key_writer *writer, PyObject *object)
{
    if (frame_size(&writer->out) > FRAME_SIZE_TARGET) {
        return false; /* as the whole will be: go no further */
    }
    if (PyUnicode_CheckExact(object)) {
        return key_write_text(writer, object);
    }
    if (PyLong_CheckExact(object)) {
        return key_write_int(writer, object);
    }
    if (PyTuple_CheckExact(object)) {
        return key_write_tuple(writer, object);
    }
    if (PyBytes_CheckExact(object)) {
        return key_write_bytes(writer, object);
    }
    if (PyFloat_CheckExact(object)) {
        key_write_float(writer, object);
        return true;
    }
    if (object == Py_None) {
        key_write_opcode(writer, 'N'); /* NONE */
        return true;
    }
    if (object == Py_True || object == Py_False) {
        key_write_opcode(writer, object == Py_True ? 0x88 : 0x89); /* NEWTRUE, NEWFALSE */
        return true;
    }
    return false;
}

PyObject *key_pickle_dumps(PyObject *object, int protocol)
{
    PyObject *result = NULL;
    key_writer writer;

    if (protocol < FIRST_FRAMED_PROTOCOL || protocol > HIGHEST_PROTOCOL) {
        return NULL;
    }
    output_init(&writer.out);
    writer.object_count = 0;
    key_write_opcode(&writer, 0x80); /* PROTO */
    key_write_opcode(&writer, (unsigned char)protocol);
    writer.out.framed = true;
    frame_open(&writer.out);
    if (key_write_object(&writer, object)) {
        key_write_opcode(&writer, '.'); /* STOP */
        if (frame_size(&writer.out) <= FRAME_SIZE_TARGET && !writer.out.exhausted) {
            frame_close(&writer.out);
            result = PyBytes_FromStringAndSize((const char *)writer.out.bytes,
                                               (Py_ssize_t)writer.out.size);
            if (result == NULL) {
                PyErr_Clear(); /* no memory; the pickler may say so */
            }
        }
    }
    output_clear(&writer.out);
    return result;
}

/* ---- Keys from the pickler ---- */

PyObject *key_pickle_optimize(PyObject *pickled, PyObject *optimize_fallback)
{
    PyObject *result = NULL;
    outcome status = OUTCOME_FOREIGN;
    stream in = {NULL, 0};
    output out;

    output_init(&out);
    if (PyBytes_CheckExact(pickled)) {
        in.bytes = (const unsigned char *)PyBytes_AS_STRING(pickled);
        in.size = (size_t)PyBytes_GET_SIZE(pickled);
        status = optimize(&in, &out);
    }
    switch (status) {
    case OUTCOME_DONE:
        if (out.size == in.size && memcmp(out.bytes, in.bytes, in.size) == 0) {
            result = Py_NewRef(pickled);
        } else {
            result = PyBytes_FromStringAndSize((const char *)out.bytes, (Py_ssize_t)out.size);
        }
        break;
    case OUTCOME_FOREIGN:
        result = PyObject_CallOneArg(optimize_fallback, pickled);
        break;
    case OUTCOME_NO_MEMORY:
        PyErr_NoMemory();
        break;
    }
    output_clear(&out);
    return result;
}

/* ---- The check ---- */

/* Objects whose pickles have in them what those of keys have: each kind of number and string, short and
 * long, and tuples of each length, nested; and what only the pickler can do, objects that come twice among
 * them. Few, because pickletools takes its time. */
static PyObject *make_samples(void)
{
    PyObject *text = PyUnicode_FromString("twice");
    PyObject *long_text = PyUnicode_New(300, 'x');
    PyObject *long_bytes = PyBytes_FromStringAndSize(NULL, 300);
    PyObject *samples = NULL;

    if (text != NULL && long_text != NULL && long_bytes != NULL) {
        PyUnicode_Fill(long_text, 0, 300, 'x');
        memset(PyBytes_AS_STRING(long_bytes), 'x', 300);
        samples = Py_BuildValue("[(OOOiiiiiLLds)(y#((ss)())O)[OO(Os){sOs[i]}]]", Py_None, Py_True,
                                Py_False, 0, 255, 256, 65535, -1, 1LL << 31, -(1LL << 62), 1.5,
                                "\xc3\xa9", "bytes", (Py_ssize_t)5, "f", "", long_text, text,
                                long_bytes, text, "x", "key", text, "list", 1);
    }
    Py_XDECREF(long_bytes);
    Py_XDECREF(long_text);
    Py_XDECREF(text);
    return samples;
}

/* Whether a sample is pickled alike. */
static int check_sample(PyObject *sample, PyObject *dumps, PyObject *optimize, PyObject *protocol)
{
    PyObject *pickled = PyObject_CallFunctionObjArgs(dumps, sample, protocol, NULL);
    PyObject *expected = pickled != NULL ? PyObject_CallOneArg(optimize, pickled) : NULL;
    PyObject *optimized = expected != NULL ? key_pickle_optimize(pickled, optimize) : NULL;
    PyObject *dumped = NULL;
    int same = -1;

    if (optimized != NULL) {
        same = PyObject_RichCompareBool(optimized, expected, Py_EQ);
        dumped = key_pickle_dumps(sample, protocol == Py_None ? -1 : (int)PyLong_AsLong(protocol));
    }
    if (same > 0 && dumped != NULL) {
        same = PyObject_RichCompareBool(dumped, expected, Py_EQ);
    }
    Py_XDECREF(dumped);
    Py_XDECREF(optimized);
    Py_XDECREF(expected);
    Py_XDECREF(pickled);
    return same;
}

int key_pickle_check(PyObject *dumps, PyObject *optimize, PyObject *protocol)
{
    PyObject *samples = make_samples();
    int same = samples != NULL ? 1 : -1;

    for (Py_ssize_t i = 0; same > 0 && i < PyList_GET_SIZE(samples); i++) {
        same = check_sample(PyList_GET_ITEM(samples, i), dumps, optimize, protocol);
    }
    Py_XDECREF(samples);
    return same;
}

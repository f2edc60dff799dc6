/* key_pickle.c: pickletools.optimize in C, and for simple keys pickle.dumps as well.
 *
 * A pickle is a program for a small stack machine: a sequence of opcodes of one byte, each followed
 * by its argument, up to STOP. The pickler cannot know which objects it will meet again, so it
 * numbers nearly every one (MEMOIZE) in case a later opcode fetches it (BINGET, LONG_BINGET).
 * Optimizing means to
 *
 *   - drop the MEMOIZEs whose number nothing fetches,
 *   - number the others anew, from 0, and rewrite what fetches them to match,
 *   - drop FRAME, and put one before all that is left.
 *
 * Everything else is copied. Two scans do it: `survey` marks what is fetched, `rewrite` writes.
 *
 * It follows what the pickler of protocols 4 and 5 writes for a key of up to 64 KiB, which is one
 * frame. All else is foreign, and left to pickletools: older protocols, hand-made opcodes, longer
 * keys. That costs tens of microseconds, never correctness. What comes here was made by the pickler, so
 * arguments are only measured, not decoded: for text that is not UTF-8, pickletools would raise an error.
 *
 * Most keys are tuples of strings and numbers. For those key_pickle_dumps writes the optimized pickle
 * directly, in a sixth of the time: no pickler is set up, no memo filled, nothing parsed. Here, too,
 * declining costs time, never correctness, and it declines at the first object it does not know.
 * What it relies on, all of it the same in CPython 3.10 to 3.13:
 *
 *   - The pickler looks at the exact type of None, bool, int, float, str, bytes and tuple before it
 *     asks any registry or method, so for these nothing can change what is written.
 *   - It remembers every str, bytes and tuple, but not the empty tuple, by identity, and fetches it
 *     when the same object comes again; equal ones are written twice. A key in which none comes again
 *     therefore fetches nothing and, once optimized, has no MEMOIZE. Any other is declined: a short list
 *     of addresses tells. So is a key with more such objects than the list holds, which also bounds the
 *     recursion, as every level of tuples takes an entry.
 *   - An int of 32 bits takes the shortest of BININT1, BININT2 (both unsigned) and BININT, a longer
 *     one LONG1 with the fewest bytes of two's complement. Beyond 64 bits: declined.
 *   - All opcodes after the header, STOP included, are in one frame. A pickle that is longer than a
 *     frame: declined.
 *   - Text is UTF-8. With a surrogate, the only thing this cannot encode: declined.
 *   - A frame of fewer than 4 bytes is written without its FRAME opcode.
 */
#define PY_SSIZE_T_CLEAN
#include "python/key_pickle.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_PROTOCOL = 4,
    LAST_PROTOCOL = 5,
    HEADER_SIZE = 2,             /* PROTO and its argument */
    FRAME_HEADER_SIZE = 9,       /* FRAME and an 8-byte length */
    FRAME_SIZE_MIN = 4,          /* bytes; a shorter frame gets no FRAME opcode */
    FOLLOWED_SIZE_MAX = 1 << 16, /* bytes; longer ones have several frames */
    MEMO_INLINE_SIZE = 256,      /* entries */
    KEY_SIZE_MAX = 1 << 16,      /* bytes of a key that is written without the pickler: one frame */
    KEY_INLINE_SIZE = 512,       /* bytes of those that need no memory of their own */
    KEY_OBJECTS_MAX = 32         /* entries of a list that is searched once for each of them */
};

enum { OPCODE_PROTO = 0x80, OPCODE_MEMOIZE = 0x94, OPCODE_FRAME = 0x95 };
enum { OPCODE_BINGET = 'h', OPCODE_LONG_BINGET = 'j', OPCODE_STOP = '.' };

static uint64_t load_little_endian(const unsigned char *bytes, size_t width)
{
    uint64_t value = 0;

    while (width > 0) {
        width--;
        value = value << 8 | bytes[width];
    }
    return value;
}

static void store_little_endian(unsigned char *bytes, size_t width, uint64_t value)
{
    for (size_t byte = 0; byte < width; byte++) {
        bytes[byte] = (unsigned char)(value >> (8 * byte));
    }
}

/* End a pickle of `size` bytes: a header, room for that of a frame, and the frame. Write the frame's
 * header, or take the room back if the frame is too short for one. Returns the size. */
static size_t end_frame(unsigned char *pickle, size_t size)
{
    unsigned char *header = pickle + HEADER_SIZE;
    size_t frame_size = size - HEADER_SIZE - FRAME_HEADER_SIZE;

    if (frame_size < FRAME_SIZE_MIN) {
        memmove(header, header + FRAME_HEADER_SIZE, frame_size);
        return size - FRAME_HEADER_SIZE;
    }
    header[0] = OPCODE_FRAME;
    store_little_endian(header + 1, FRAME_HEADER_SIZE - 1, frame_size);
    return size;
}

/* ---- The opcodes ---- */

/* How long an argument is: `width` bytes, or a length of `width` bytes and as many bytes. */
typedef struct rule {
    bool known;
    bool counted;
    uint8_t width;
} rule;

/* clang-format off */
#define BARE           {true, false, 0}
#define FIXED(width)   {true, false, width}
#define COUNTED(width) {true, true, width}
/* clang-format on */

/* All that the pickler of protocols 4 and 5 writes for an object that is no buffer. */
static const rule rules[256] = {
    [OPCODE_MEMOIZE] = BARE,
    [OPCODE_BINGET] = FIXED(1),
    [OPCODE_LONG_BINGET] = FIXED(4),
    [OPCODE_FRAME] = FIXED(8),
    [OPCODE_STOP] = BARE,

    /* Numbers and constants. */
    ['N'] = BARE,        /* NONE */
    [0x88] = BARE,       /* NEWTRUE */
    [0x89] = BARE,       /* NEWFALSE */
    ['J'] = FIXED(4),    /* BININT */
    ['K'] = FIXED(1),    /* BININT1 */
    ['M'] = FIXED(2),    /* BININT2 */
    [0x8a] = COUNTED(1), /* LONG1 */
    [0x8b] = COUNTED(4), /* LONG4 */
    ['G'] = FIXED(8),    /* BINFLOAT */

    /* Strings and bytes. */
    ['C'] = COUNTED(1),  /* SHORT_BINBYTES */
    ['B'] = COUNTED(4),  /* BINBYTES */
    [0x96] = COUNTED(8), /* BYTEARRAY8 */
    [0x8c] = COUNTED(1), /* SHORT_BINUNICODE */
    ['X'] = COUNTED(4),  /* BINUNICODE */

    /* Containers. */
    [']'] = BARE,  /* EMPTY_LIST */
    ['a'] = BARE,  /* APPEND */
    ['e'] = BARE,  /* APPENDS */
    [')'] = BARE,  /* EMPTY_TUPLE */
    ['t'] = BARE,  /* TUPLE */
    [0x85] = BARE, /* TUPLE1 */
    [0x86] = BARE, /* TUPLE2 */
    [0x87] = BARE, /* TUPLE3 */
    ['}'] = BARE,  /* EMPTY_DICT */
    ['s'] = BARE,  /* SETITEM */
    ['u'] = BARE,  /* SETITEMS */
    [0x8f] = BARE, /* EMPTY_SET */
    [0x90] = BARE, /* ADDITEMS */
    [0x91] = BARE, /* FROZENSET */

    /* The stack. */
    ['0'] = BARE, /* POP */
    ['('] = BARE, /* MARK */
    ['1'] = BARE, /* POP_MARK */

    /* Objects. */
    [0x93] = BARE, /* STACK_GLOBAL */
    ['R'] = BARE,  /* REDUCE */
    ['b'] = BARE,  /* BUILD */
    [0x81] = BARE, /* NEWOBJ */
    [0x92] = BARE, /* NEWOBJ_EX */
};

#undef BARE
#undef FIXED
#undef COUNTED

typedef struct stream {
    const unsigned char *bytes;
    size_t size;
} stream;

/* Offset just past the opcode at offset `at`; 0 if it is unknown or the stream ends within it. */
static size_t opcode_end(const stream *in, size_t at)
{
    uint64_t size;
    rule rule;

    if (at >= in->size) {
        return 0;
    }
    rule = rules[in->bytes[at]];
    at++;
    if (!rule.known || rule.width > in->size - at) {
        return 0;
    }
    size = rule.counted ? load_little_endian(in->bytes + at, rule.width) : 0;
    at += rule.width;
    return size <= in->size - at ? at + (size_t)size : 0;
}

/* ---- The two scans, over what is behind the header ---- */

/* Marks in the memo, which has an entry for each MEMOIZE. */
enum { MEMO_UNUSED, MEMO_FETCHED };

/* Number of the object that the opcode fetches. */
static size_t fetched_number(const stream *in, size_t at, size_t end)
{
    return (size_t)load_little_endian(in->bytes + at + 1, end - at - 1);
}

/* Mark in `memo` what is fetched. False if it is no stream to follow. */
static bool survey(const stream *in, uint16_t *memo)
{
    size_t count = 0;
    size_t end;

    for (size_t at = HEADER_SIZE; (end = opcode_end(in, at)) != 0; at = end) {
        unsigned char opcode = in->bytes[at];

        if (opcode == OPCODE_STOP) {
            return true;
        }
        if (opcode == OPCODE_MEMOIZE) {
            memo[count++] = MEMO_UNUSED;
        } else if (opcode == OPCODE_BINGET || opcode == OPCODE_LONG_BINGET) {
            size_t number = fetched_number(in, at, end);

            if (number >= count) {
                return false;
            }
            memo[number] = MEMO_FETCHED;
        }
    }
    return false;
}

static size_t write_get(unsigned char *out, size_t number)
{
    size_t width = number <= UINT8_MAX ? 1 : 4;

    out[0] = width == 1 ? OPCODE_BINGET : OPCODE_LONG_BINGET;
    store_little_endian(out + 1, width, number);
    return 1 + width;
}

/* Write the stream to `out`, and the new numbers to `memo`. A new number is not above the old one, so no
 * opcode becomes longer: room for a header of a frame beside the stream's size is enough. Returns the size. */
static size_t rewrite(const stream *in, uint16_t *memo, unsigned char *out)
{
    unsigned char *to = out + HEADER_SIZE + FRAME_HEADER_SIZE;
    unsigned char opcode = 0;
    size_t count = 0;
    uint16_t number = 0;

    memcpy(out, in->bytes, HEADER_SIZE);
    for (size_t at = HEADER_SIZE; opcode != OPCODE_STOP;) {
        size_t end = opcode_end(in, at);

        opcode = in->bytes[at];
        if (opcode == OPCODE_MEMOIZE) {
            if (memo[count] == MEMO_FETCHED) {
                memo[count] = number++;
                *to++ = OPCODE_MEMOIZE;
            }
            count++;
        } else if (opcode == OPCODE_BINGET || opcode == OPCODE_LONG_BINGET) {
            to += write_get(to, memo[fetched_number(in, at, end)]);
        } else if (opcode != OPCODE_FRAME) {
            memcpy(to, in->bytes + at, end - at);
            to += end - at;
        }
        at = end;
    }
    return end_frame(out, (size_t)(to - out));
}

/* Optimize `in`. None (borrowed) if it is not followed, NULL with an exception without memory. */
static PyObject *optimize(const stream *in)
{
    uint16_t inline_memo[MEMO_INLINE_SIZE];
    uint16_t *memo = inline_memo;
    PyObject *result = Py_None;

    if (in->size > FOLLOWED_SIZE_MAX || in->size < HEADER_SIZE || in->bytes[0] != OPCODE_PROTO ||
        in->bytes[1] < FIRST_PROTOCOL || in->bytes[1] > LAST_PROTOCOL) {
        return result;
    }
    if (in->size > MEMO_INLINE_SIZE) { /* each entry is an opcode */
        memo = PyMem_New(uint16_t, in->size);
        if (memo == NULL) {
            return PyErr_NoMemory();
        }
    }
    if (survey(in, memo)) {
        result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(in->size + FRAME_HEADER_SIZE));
        if (result != NULL) {
            size_t size = rewrite(in, memo, (unsigned char *)PyBytes_AS_STRING(result));

            _PyBytes_Resize(&result, (Py_ssize_t)size);
        }
    }
    if (memo != inline_memo) {
        PyMem_Free(memo);
    }
    return result;
}

PyObject *key_pickle_optimize(PyObject *pickled, PyObject *optimize_fallback)
{
    PyObject *result = Py_None;

    if (PyBytes_CheckExact(pickled)) {
        const stream in = {(const unsigned char *)PyBytes_AS_STRING(pickled),
                           (size_t)PyBytes_GET_SIZE(pickled)};

        result = optimize(&in);
    }
    return result != Py_None ? result : PyObject_CallOneArg(optimize_fallback, pickled);
}

/* ---- Keys without the pickler: each function returns false for what it does not follow ---- */

typedef struct key_writer {
    size_t object_count;
    const PyObject *objects[KEY_OBJECTS_MAX]; /* those a pickler would remember */
    unsigned char *bytes;                     /* inline_bytes, or owned */
    size_t size;
    size_t capacity;
    unsigned char inline_bytes[KEY_INLINE_SIZE];
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

/* Make room for `size` bytes more. */
static bool key_make_room(key_writer *writer, size_t size)
{
    unsigned char *bytes;

    if (writer->bytes != writer->inline_bytes || size > KEY_SIZE_MAX - writer->size) {
        return false;
    }
    bytes = malloc(KEY_SIZE_MAX);
    if (bytes == NULL) {
        return false; /* the pickler may say so */
    }
    memcpy(bytes, writer->inline_bytes, writer->size);
    writer->bytes = bytes;
    writer->capacity = KEY_SIZE_MAX;
    return true;
}

static bool key_append(key_writer *writer, const void *bytes, size_t size)
{
    if (size > writer->capacity - writer->size && !key_make_room(writer, size)) {
        return false;
    }
    memcpy(writer->bytes + writer->size, bytes, size);
    writer->size += size;
    return true;
}

static bool key_write_opcode(key_writer *writer, unsigned char code)
{
    return key_append(writer, &code, 1);
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
    return key_append(writer, encoded, size);
}

static bool key_write_float(key_writer *writer, PyObject *object)
{
    double value = PyFloat_AS_DOUBLE(object);
    unsigned char encoded[1 + 8] = {'G'}; /* BINFLOAT: big-endian */
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    for (unsigned byte = 0; byte < 8; byte++) {
        encoded[1 + byte] = (unsigned char)(bits >> (56 - 8 * byte));
    }
    return key_append(writer, encoded, sizeof encoded);
}

/* Write one of two opcodes, whose length is of 1 and of 4 bytes. */
static bool key_write_counted(key_writer *writer, unsigned char short_code, unsigned char long_code,
                              const char *bytes, size_t size)
{
    unsigned char head[1 + 4];

    head[0] = size <= UINT8_MAX ? short_code : long_code;
    store_little_endian(head + 1, 4, size);
    return key_append(writer, head, size <= UINT8_MAX ? 1 + 1 : 1 + 4) &&
           key_append(writer, bytes, size);
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
    if (!PyUnicode_IS_COMPACT(text) || PyUnicode_GET_LENGTH(text) > KEY_SIZE_MAX ||
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
    if (size > 3 && !key_write_opcode(writer, '(')) {
        return false;
    }
    for (Py_ssize_t at = 0; at < size; at++) {
        if (!key_write_object(writer, PyTuple_GET_ITEM(tuple, at))) {
            return false;
        }
    }
    return key_write_opcode(writer, codes[size > 3 ? 4 : size]);
}

static bool key_write_object(key_writer *writer, PyObject *object)
{
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
        return key_write_float(writer, object);
    }
    if (object == Py_None) {
        return key_write_opcode(writer, 'N'); /* NONE */
    }
    if (object == Py_True || object == Py_False) {
        return key_write_opcode(writer, object == Py_True ? 0x88 : 0x89); /* NEWTRUE, NEWFALSE */
    }
    return false;
}

PyObject *key_pickle_dumps(PyObject *object, int protocol)
{
    PyObject *result = NULL;
    key_writer writer;

    if (protocol < FIRST_PROTOCOL || protocol > LAST_PROTOCOL) {
        return NULL;
    }
    writer.object_count = 0;
    writer.bytes = writer.inline_bytes;
    writer.capacity = KEY_INLINE_SIZE;
    writer.bytes[0] = OPCODE_PROTO;
    writer.bytes[1] = (unsigned char)protocol;
    writer.size = HEADER_SIZE + FRAME_HEADER_SIZE;
    if (key_write_object(&writer, object) && key_write_opcode(&writer, OPCODE_STOP)) {
        result = PyBytes_FromStringAndSize((const char *)writer.bytes,
                                           (Py_ssize_t)end_frame(writer.bytes, writer.size));
        if (result == NULL) {
            PyErr_Clear(); /* no memory; the pickler may say so */
        }
    }
    if (writer.bytes != writer.inline_bytes) {
        free(writer.bytes);
    }
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
static int check_sample(PyObject *sample, PyObject *dumps, PyObject *optimize, int protocol)
{
    PyObject *pickled = PyObject_CallFunction(dumps, "Oi", sample, protocol);
    PyObject *expected = pickled != NULL ? PyObject_CallOneArg(optimize, pickled) : NULL;
    PyObject *optimized = expected != NULL ? key_pickle_optimize(pickled, optimize) : NULL;
    PyObject *dumped = NULL;
    int same = -1;

    if (optimized != NULL) {
        same = PyObject_RichCompareBool(optimized, expected, Py_EQ);
        dumped = key_pickle_dumps(sample, protocol);
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

int key_pickle_check(PyObject *dumps, PyObject *optimize, int protocol)
{
    PyObject *samples = make_samples();
    int same = samples != NULL ? 1 : -1;

    for (Py_ssize_t i = 0; same > 0 && i < PyList_GET_SIZE(samples); i++) {
        same = check_sample(PyList_GET_ITEM(samples, i), dumps, optimize, protocol);
    }
    Py_XDECREF(samples);
    return same;
}

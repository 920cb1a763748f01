/* JSON texts: a strict reader and a writer. */
#ifndef CMLP_JSON_H
#define CMLP_JSON_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_type;

/* A value, and its place in the text.  The values of a text stand one behind the other: an array before its
 * elements, an object before its members, each a string and a value. */
typedef struct {
    uint32_t start, end;
    uint32_t next; /* number of the first value that is not within this one */
    uint32_t type : 3, length : 29; /* length: bytes of a string when its escapes are read */
} json_value;

typedef struct {
    char *text, *strings; /* the text, 0 behind it; each string with its escapes read, from start + 1 on, 0
                             behind it */
    json_value *values;
    size_t n;
    size_t at;         /* of an error: the place in the text, */
    const char *wrong; /* and what is wrong there */
} json;

#define JSON_MOST_BYTES ((size_t)1 << 28)
#define JSON_MOST_DEPTH 500

/* Reads a text by RFC 8259: UTF-8, keys that differ, no more than JSON_MOST_DEPTH values within each other.
 * Halves of surrogate pairs by themselves are read only if `surrogates`.  0, or -1 with at and wrong set;
 * wrong NULL: out of memory.  Takes 18 bytes of memory for each byte of text at most.  To be freed either
 * way. */
int cmlp_json_read(json *j, const char *text, size_t length, int surrogates);
void cmlp_json_free(json *j);

/* The member of an object with this name; 0 if there is none, or `object` is none. */
size_t cmlp_json_member(const json *j, size_t object, const char *name);
/* Elements of an array or members of an object. */
size_t cmlp_json_count(const json *j, size_t value);
static inline json_type json_type_of(const json *j, size_t value) { return (json_type)j->values[value].type; }
static inline const char *json_string(const json *j, size_t value)
{
    return j->strings + j->values[value].start + 1;
}
/* 1 if it is this string. */
int cmlp_json_is(const json *j, size_t value, const char *text);
/* 1 if it is a number without sign, fraction and exponent, of 64 bits. */
int cmlp_json_whole(const json *j, size_t value, uint64_t *number);
/* 1 if it is a number that a double can hold, infinity apart. */
int cmlp_json_number(const json *j, size_t value, double *number);

/* ---- writing ---- */

typedef struct {
    char *data;
    size_t length, room;
    int failed; /* an allocation has; nothing is added since */
} json_text;

void cmlp_text_add(json_text *t, const char *bytes, size_t n);
void cmlp_text_print(json_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The shortest of 15 to 17 digits that read as the number. */
void cmlp_text_number(json_text *t, double number);
/* As a string, with what JSON wants escaped. */
void cmlp_text_quote(json_text *t, const char *bytes, size_t n);

#endif

/* JSON texts: json.h. */
#define _GNU_SOURCE
#include "json.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

/* ---- numbers, whatever the program's locale ---- */

#ifdef _WIN32
typedef int locale;
static locale c_locale(void) { return _configthreadlocale(_ENABLE_PER_THREAD_LOCALE); }
static void leave_c_locale(locale before) { _configthreadlocale(before); }
#else
typedef struct {
    locale_t c, before;
} locale;

static locale c_locale(void)
{
    locale l = {newlocale(LC_ALL_MASK, "C", (locale_t)0), (locale_t)0};
    l.before = uselocale(l.c);
    return l;
}

static void leave_c_locale(locale l)
{
    uselocale(l.before);
    if (l.c)
        freelocale(l.c);
}
#endif

/* ---- reading ---- */

typedef struct {
    json *j;
    const char *text;
    size_t length, at, n;
    int surrogates;
} reader;

static int wrong(reader *r, const char *what)
{
    r->j->at = r->at;
    r->j->wrong = what;
    return -1;
}

static int is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static int is_digit(char c) { return c >= '0' && c <= '9'; }

/* The byte at the reader's place; the text ends with a 0, which is none of JSON's. */
static char here(const reader *r) { return r->text[r->at]; }

static void skip_space(reader *r)
{
    while (is_space(here(r)))
        r->at++;
}

/* Values that the text can hold at most: one behind each sign that comes before a value. */
static size_t most_values(const char *text, size_t length)
{
    size_t n = 1;
    for (size_t i = 0; i < length; i++)
        n += text[i] == ',' || text[i] == ':' || text[i] == '[' || text[i] == '{';
    return n;
}

static int digits(reader *r)
{
    size_t from = r->at;
    while (is_digit(here(r)))
        r->at++;
    return r->at > from;
}

static int read_number(reader *r)
{
    if (here(r) == '-')
        r->at++;
    if (here(r) == '0')
        r->at++;
    else if (!digits(r))
        return wrong(r, "no value");
    if (here(r) == '.') {
        r->at++;
        if (!digits(r))
            return wrong(r, "a number without digits behind its point");
    }
    if (here(r) == 'e' || here(r) == 'E') {
        r->at++;
        if (here(r) == '+' || here(r) == '-')
            r->at++;
        if (!digits(r))
            return wrong(r, "a number without digits in its exponent");
    }
    return 0;
}

static int read_word(reader *r, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(r->text + r->at, word, n) != 0)
        return wrong(r, "no value");
    r->at += n;
    return 0;
}

/* Four hexadecimal digits; -1 where there are none. */
static int read_hex(reader *r)
{
    int code = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        char c = here(r);
        int digit = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return wrong(r, "an escape without four hexadecimal digits");
        code = 16 * code + digit;
    }
    return code;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

static int is_high(int code) { return code >= 0xD800 && code < 0xDC00; }
static int is_low(int code) { return code >= 0xDC00 && code < 0xE000; }

/* Behind a backslash. */
static char *read_escape(reader *r, char *to)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    char c = here(r);
    const char *found = c ? strchr(names, c) : NULL;
    if (found) {
        r->at++;
        *to = means[found - names];
        return to + 1;
    }
    if (c != 'u')
        return wrong(r, "an unknown escape"), NULL;
    r->at++;
    int code = read_hex(r);
    if (is_high(code) && here(r) == '\\' && r->text[r->at + 1] == 'u') {
        size_t back = r->at;
        r->at += 2;
        int second = read_hex(r);
        if (is_low(second))
            return put_utf8(to, 0x10000u + ((uint32_t)(code - 0xD800) << 10) + (uint32_t)(second - 0xDC00));
        if (second < 0)
            return NULL;
        r->at = back;
    }
    if (code < 0)
        return NULL;
    if ((is_high(code) || is_low(code)) && !r->surrogates)
        return wrong(r, "half a surrogate pair"), NULL;
    return put_utf8(to, (uint32_t)code);
}

/* Bytes of the well-formed character that starts here; 0 if there is none. */
static size_t utf8_length(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) /* also at the 0 behind the text */
            return 0;
    int overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    int surrogate = s[0] == 0xED && s[1] > 0x9F, beyond = s[0] == 0xF4 && s[1] > 0x8F;
    return overlong || surrogate || beyond ? 0 : n;
}

static int read_string(reader *r, json_value *v)
{
    r->at++;
    char *to = r->j->strings + r->at, *first = to;
    while (here(r) != '"') {
        unsigned char c = (unsigned char)here(r);
        if (c < 0x20)
            return wrong(r, r->at < r->length ? "a control character in a string" : "a string without end");
        if (c == '\\') {
            r->at++;
            if (!(to = read_escape(r, to)))
                return -1;
            continue;
        }
        size_t n = utf8_length((const unsigned char *)r->text + r->at);
        if (!n)
            return wrong(r, "bytes that are not UTF-8");
        memcpy(to, r->text + r->at, n);
        to += n, r->at += n;
    }
    r->at++;
    *to = 0; /* escapes are longer than what they stand for: here is the quote at the latest */
    v->length = (uint32_t)(to - first) & 0x1FFFFFFF;
    return 0;
}

static int read_scalar(reader *r, json_value *v)
{
    switch (here(r)) {
    case '"':
        v->type = JSON_STRING;
        return read_string(r, v);
    case 't':
        v->type = JSON_TRUE;
        return read_word(r, "true");
    case 'f':
        v->type = JSON_FALSE;
        return read_word(r, "false");
    case 'n':
        v->type = JSON_NULL;
        return read_word(r, "null");
    default:
        v->type = JSON_NUMBER;
        return read_number(r);
    }
}

/* A value that begins here, an array or object without its contents; its number goes to *number. */
static int open_value(reader *r, uint32_t *number)
{
    json_value *v = &r->j->values[r->n];
    *number = (uint32_t)r->n++;
    v->start = (uint32_t)r->at;
    if (here(r) == '[' || here(r) == '{') {
        v->type = here(r) == '[' ? JSON_ARRAY : JSON_OBJECT;
        r->at++;
        return 0;
    }
    if (read_scalar(r, v))
        return -1;
    v->end = (uint32_t)r->at;
    v->next = (uint32_t)r->n;
    return 0;
}

/* The key of a member, and the colon. */
static int read_key(reader *r)
{
    uint32_t number;
    skip_space(r);
    if (here(r) != '"')
        return wrong(r, "no name of a member");
    if (open_value(r, &number))
        return -1;
    skip_space(r);
    if (here(r) != ':')
        return wrong(r, "no colon behind a member's name");
    r->at++;
    return 0;
}

/* Behind a value, or the bracket of an empty one: closes what ends here.  1 if another value follows. */
static int close_values(reader *r, const uint32_t *open, size_t *depth, int is_empty)
{
    json_value *values = r->j->values;
    while (*depth) {
        json_value *v = &values[open[*depth - 1]];
        int object = v->type == JSON_OBJECT;
        skip_space(r);
        if (here(r) == (object ? '}' : ']')) {
            r->at++;
            v->end = (uint32_t)r->at;
            v->next = (uint32_t)r->n;
            --*depth;
            is_empty = 0;
            continue;
        }
        if (!is_empty && here(r) != ',')
            return wrong(r,
                         object ? "no comma or brace behind a member" : "no comma or bracket behind a value");
        r->at += !is_empty;
        return object && read_key(r) ? -1 : 1;
    }
    return 0;
}

static int read_values(reader *r)
{
    uint32_t open[JSON_MOST_DEPTH], number;
    size_t depth = 0;
    int more = 1;
    while (more > 0) {
        skip_space(r);
        if (open_value(r, &number))
            return -1;
        int is_open = r->j->values[number].type >= JSON_ARRAY;
        if (is_open && depth == JSON_MOST_DEPTH)
            return wrong(r, "values within each other without end");
        if (is_open)
            open[depth++] = number;
        more = close_values(r, open, &depth, is_open);
    }
    skip_space(r);
    if (!more && r->at < r->length)
        return wrong(r, "more text behind the value");
    return more;
}

/* ---- names that stand twice ---- */

static int compare_strings(const json *j, uint32_t a, uint32_t b)
{
    size_t n = j->values[a].length, m = j->values[b].length;
    int order = memcmp(json_string(j, a), json_string(j, b), n < m ? n : m);
    return order ? order : n < m ? -1 : n > m;
}

/* Lets the number at `root` sink to its place in a heap whose largest string is on top. */
static void sink(const json *j, uint32_t *names, size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && compare_strings(j, names[child], names[child + 1]) < 0)
            child++;
        if (compare_strings(j, names[root], names[child]) >= 0)
            return;
        uint32_t t = names[root];
        names[root] = names[child], names[child] = t;
    }
}

/* Heapsort: no text makes it slow. */
static void sort_names(const json *j, uint32_t *names, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sink(j, names, i, n);
    for (size_t end = n; end > 1; end--) {
        uint32_t t = names[0];
        names[0] = names[end - 1], names[end - 1] = t;
        sink(j, names, 0, end - 1);
    }
}

static int check_names(json *j)
{
    uint32_t *names = malloc(j->n * sizeof *names);
    for (size_t i = 0; names && i < j->n; i++) {
        size_t n = 0;
        if (j->values[i].type != JSON_OBJECT)
            continue;
        for (uint32_t k = (uint32_t)i + 1; k < j->values[i].next; k = j->values[k + 1].next)
            names[n++] = k;
        sort_names(j, names, n);
        for (size_t k = 1; k < n; k++)
            if (compare_strings(j, names[k - 1], names[k]) == 0) {
                j->at = j->values[names[k]].start;
                j->wrong = "a member's name that stands twice";
                free(names);
                return -1;
            }
    }
    int failed = names ? 0 : -1;
    free(names);
    return failed;
}

int cmlp_json_read(json *j, const char *text, size_t length, int surrogates)
{
    *j = (json){.text = NULL};
    if (length > JSON_MOST_BYTES) {
        j->wrong = "too long a text";
        return -1;
    }
    j->text = malloc(length + 1);
    j->strings = malloc(length + 1);
    j->values = malloc(most_values(text, length) * sizeof *j->values);
    if (!j->text || !j->strings || !j->values)
        return -1;
    memcpy(j->text, text, length);
    j->text[length] = 0;
    reader r = {.j = j, .text = j->text, .length = length, .surrogates = surrogates};
    int failed = read_values(&r);
    j->n = r.n;
    return failed || check_names(j) ? -1 : 0;
}

void cmlp_json_free(json *j)
{
    free(j->text);
    free(j->strings);
    free(j->values);
    *j = (json){.text = NULL};
}

/* ---- looking up ---- */

int cmlp_json_is(const json *j, size_t value, const char *text)
{
    const json_value *v = &j->values[value];
    size_t n = strlen(text);
    return v->type == JSON_STRING && v->length == n && memcmp(json_string(j, value), text, n) == 0;
}

size_t cmlp_json_member(const json *j, size_t object, const char *name)
{
    if (j->values[object].type != JSON_OBJECT)
        return 0;
    for (size_t i = object + 1; i < j->values[object].next; i = j->values[i + 1].next)
        if (cmlp_json_is(j, i, name))
            return i + 1;
    return 0;
}

size_t cmlp_json_count(const json *j, size_t value)
{
    size_t n = 0, object = j->values[value].type == JSON_OBJECT;
    if (j->values[value].type < JSON_ARRAY)
        return 0;
    for (size_t i = value + 1; i < j->values[value].next; i = j->values[i + object].next)
        n++;
    return n;
}

int cmlp_json_whole(const json *j, size_t value, uint64_t *number)
{
    const json_value *v = &j->values[value];
    *number = 0;
    if (v->type != JSON_NUMBER)
        return 0;
    for (const char *c = j->text + v->start; c < j->text + v->end; c++) {
        unsigned digit = (unsigned char)*c - '0';
        if (!is_digit(*c) || *number > (UINT64_MAX - digit) / 10)
            return 0;
        *number = 10 * *number + digit;
    }
    return 1;
}

int cmlp_json_number(const json *j, size_t value, double *number)
{
    if (j->values[value].type != JSON_NUMBER)
        return 0;
    locale before = c_locale();
    *number = strtod(j->text + j->values[value].start, NULL);
    leave_c_locale(before);
    return isfinite(*number);
}

/* ---- writing ---- */

static int make_room(json_text *t, size_t n)
{
    if (t->failed)
        return 0;
    if (t->room - t->length > n)
        return 1;
    size_t room = t->room + t->room / 2 + n + 64;
    char *data = realloc(t->data, room);
    t->failed = !data;
    if (data)
        t->data = data, t->room = room;
    return !t->failed;
}

void cmlp_text_add(json_text *t, const char *bytes, size_t n)
{
    if (!make_room(t, n))
        return;
    memcpy(t->data + t->length, bytes, n);
    t->length += n;
    t->data[t->length] = 0;
}

void cmlp_text_print(json_text *t, const char *format, ...)
{
    char piece[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (n >= (int)sizeof piece)
        t->failed = 1;
    else
        cmlp_text_add(t, piece, (size_t)n);
}

void cmlp_text_number(json_text *t, double number)
{
    char piece[40];
    locale before = c_locale();
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(piece, sizeof piece, "%.*g", digits, number);
        if (strtod(piece, NULL) == number)
            break;
    }
    leave_c_locale(before);
    cmlp_text_add(t, piece, strlen(piece));
}

void cmlp_text_quote(json_text *t, const char *bytes, size_t n)
{
    cmlp_text_add(t, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c < 0x20)
            cmlp_text_print(t, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            cmlp_text_print(t, "\\%c", c);
        else
            cmlp_text_add(t, bytes + i, 1);
    }
    cmlp_text_add(t, "\"", 1);
}

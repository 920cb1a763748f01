/* Reading safetensors files: files.h.  Whatever a file says, nothing is read or allocated beyond its size. */
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define fseeko _fseeki64
#define ftello _ftelli64
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers in the files have this order");

static cmlp_status cannot_read(const tensor_file *f)
{
    return cmlp_fail(CMLP_E_FILE, "%s: %s", f->path, errno ? strerror(errno) : "cannot be read");
}

static cmlp_status read_at(tensor_file *f, uint64_t offset, void *to, size_t bytes)
{
    errno = 0;
    if (fseeko(f->file, (int64_t)offset, SEEK_SET) || fread(to, 1, bytes, f->file) != bytes)
        return cannot_read(f);
    return CMLP_OK;
}

static cmlp_status read_header(tensor_file *f, uint64_t size)
{
    uint64_t length = 0;
    cmlp_status status = size < sizeof length ? CMLP_OK : read_at(f, 0, &length, sizeof length);
    if (status)
        return status;
    if (length < 2 || size < 8 || length > size - 8)
        return cmlp_fail(CMLP_E_FORMAT, "%s: not a safetensors file (header of %llu bytes in %llu)", f->path,
                         (unsigned long long)length, (unsigned long long)size);
    if (length > MOST_HEADER)
        return cmlp_fail(CMLP_E_FORMAT, "%s: header of %llu bytes; expected %zu at most", f->path,
                         (unsigned long long)length, MOST_HEADER);
    char *text = malloc((size_t)length);
    if (!text)
        return cmlp_no_memory();
    f->data = sizeof length + length;
    status = read_at(f, sizeof length, text, (size_t)length);
    if (!status && cmlp_json_read(&f->header, text, (size_t)length, 0))
        status = f->header.wrong ? cmlp_fail(CMLP_E_FORMAT, "%s: bad JSON in the header: %s at byte %zu",
                                             f->path, f->header.wrong, f->header.at)
                                 : cmlp_no_memory();
    if (!status && text[0] != '{')
        status = cmlp_fail(CMLP_E_FORMAT, "%s: the header is no JSON object", f->path);
    free(text);
    return status;
}

static int read_sizes(const json *j, size_t array, uint64_t *sizes, int most)
{
    int n = 0;
    if (json_type_of(j, array) != JSON_ARRAY)
        return -1;
    for (size_t i = array + 1; i < j->values[array].next; i++)
        if (n == most || !cmlp_json_whole(j, i, &sizes[n++]) || sizes[n - 1] > INT64_MAX)
            return -1;
    return n;
}

/* Type, shape and place of a tensor, which have to agree. */
static cmlp_status read_tensor(tensor_file *f, size_t name, file_tensor *t)
{
    static const char *const types[] = {"F32", "F64", "I64"};
    const json *j = &f->header;
    size_t entry = name + 1, type = cmlp_json_member(j, entry, "dtype");
    size_t shape = cmlp_json_member(j, entry, "shape"), offsets = cmlp_json_member(j, entry, "data_offsets");
    if (!type || !shape || !offsets || cmlp_json_count(j, entry) != 3)
        return cmlp_fail(CMLP_E_FORMAT, "%s: tensor %.80s is not described by dtype, shape and data_offsets",
                         f->path, json_string(j, name));
    *t = (file_tensor){.name = name};
    while (t->type <= TENSOR_I64 && !cmlp_json_is(j, type, types[t->type]))
        t->type++;
    if (t->type > TENSOR_I64)
        return cmlp_fail(CMLP_E_FORMAT, "%s: tensor %.80s has a type that is none of F32, F64, I64", f->path,
                         json_string(j, name));
    uint64_t place[2];
    t->ndim = read_sizes(j, shape, t->shape, MOST_AXES);
    if (t->ndim < 0 || read_sizes(j, offsets, place, 2) != 2)
        return cmlp_fail(CMLP_E_FORMAT, "%s: tensor %.80s has a bad shape, or bad offsets", f->path,
                         json_string(j, name));
    t->first = place[0], t->end = place[1];
    /* A product beyond 64 bits is wrong unless a zero is among its factors. */
    uint64_t bytes = t->type == TENSOR_F32 ? 4 : 8;
    int is_empty = 0, overflows = 0;
    for (int i = 0; i < t->ndim; i++) {
        is_empty |= t->shape[i] == 0;
        overflows |= t->shape[i] && bytes > UINT64_MAX / t->shape[i];
        bytes *= overflows ? 1 : t->shape[i];
    }
    bytes = is_empty ? 0 : bytes;
    if (t->end < t->first || (overflows && !is_empty) || t->end - t->first != bytes)
        return cmlp_fail(CMLP_E_FORMAT, "%s: tensor %.80s does not take the bytes of its shape", f->path,
                         json_string(j, name));
    return CMLP_OK;
}

static int by_place(const void *a, const void *b)
{
    const file_tensor *s = a, *t = b;
    return s->first != t->first ? (s->first < t->first ? -1 : 1) : (s->end > t->end) - (s->end < t->end);
}

static cmlp_status check_metadata(tensor_file *f, size_t value)
{
    const json *j = &f->header;
    f->metadata = value;
    int is_object = json_type_of(j, value) == JSON_OBJECT;
    for (size_t i = value + 1; is_object && i < j->values[value].next; i = j->values[i + 1].next)
        is_object = json_type_of(j, i + 1) == JSON_STRING;
    return is_object ? CMLP_OK : cmlp_fail(CMLP_E_FORMAT, "%s: metadata is not a map of strings", f->path);
}

static cmlp_status read_tensors(tensor_file *f, uint64_t bytes)
{
    const json *j = &f->header;
    f->tensors = malloc((cmlp_json_count(j, 0) + 1) * sizeof *f->tensors);
    cmlp_status status = f->tensors ? CMLP_OK : cmlp_no_memory();
    for (size_t i = 1; !status && i < j->values[0].next; i = j->values[i + 1].next)
        status = cmlp_json_is(j, i, "__metadata__") ? check_metadata(f, i + 1)
                                                    : read_tensor(f, i, &f->tensors[f->n_tensors++]);
    if (status)
        return status;
    qsort(f->tensors, f->n_tensors, sizeof *f->tensors, by_place);
    uint64_t end = 0;
    for (size_t i = 0; i < f->n_tensors; end = f->tensors[i++].end)
        if (f->tensors[i].first != end)
            return cmlp_fail(CMLP_E_FORMAT, "%s: tensor %.80s starts at byte %llu; expected %llu", f->path,
                             json_string(j, f->tensors[i].name), (unsigned long long)f->tensors[i].first,
                             (unsigned long long)end);
    if (end != bytes)
        return cmlp_fail(CMLP_E_FORMAT, "%s: tensors take %llu bytes; the file has %llu for them", f->path,
                         (unsigned long long)end, (unsigned long long)bytes);
    return CMLP_OK;
}

cmlp_status cmlp_file_open(tensor_file *f, const char *path)
{
    *f = (tensor_file){.path = path};
    errno = 0;
    f->file = fopen(path, "rb");
    if (!f->file)
        return cannot_read(f);
    int64_t size = fseeko(f->file, 0, SEEK_END) ? -1 : ftello(f->file);
    if (size < 0)
        return cannot_read(f);
    cmlp_status status = read_header(f, (uint64_t)size);
    return status ? status : read_tensors(f, (uint64_t)size - f->data);
}

cmlp_status cmlp_file_read(tensor_file *f, const file_tensor *t, void *to)
{
    return read_at(f, f->data + t->first, to, (size_t)(t->end - t->first));
}

void cmlp_file_close(tensor_file *f)
{
    if (f->file)
        fclose(f->file);
    cmlp_json_free(&f->header);
    free(f->tensors);
    *f = (tensor_file){.path = NULL};
}

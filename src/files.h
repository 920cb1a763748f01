/* Safetensors files: reading them, and putting files in place whole. */
#ifndef CMLP_FILES_H
#define CMLP_FILES_H

#include "internal.h"
#include "json.h"

#include <stdio.h>

/* ---- reading: 8 bytes with the length of the header, the header as JSON, the tensors ---- */

#define MOST_HEADER ((size_t)2 << 20)
#define MOST_AXES 8

typedef enum { TENSOR_F32, TENSOR_F64, TENSOR_I64 } tensor_type;

typedef struct {
    size_t name; /* its value in the header */
    tensor_type type;
    int ndim;
    uint64_t shape[MOST_AXES];
    uint64_t first, end; /* bytes, behind the header */
} file_tensor;

typedef struct {
    const char *path;
    FILE *file;
    uint64_t data; /* where the tensors begin */
    json header;
    size_t metadata; /* value of "__metadata__" in the header, an object of strings; 0: none */
    file_tensor *tensors;
    size_t n_tensors;
} tensor_file;

/* Opens a file and checks all that its header says, its tensors against the size of the file: they fill it
 * without gap or overlap.  Close it in any case. */
cmlp_status cmlp_file_open(tensor_file *f, const char *path);
cmlp_status cmlp_file_read(tensor_file *f, const file_tensor *t, void *to);
void cmlp_file_close(tensor_file *f);

/* ---- writing ---- */

/* A temporary file beside its target. */
typedef struct {
    char *target, *temporary;
    FILE *file;
} new_file;

/* After an error of one of these the target is as it was, and the temporary file is gone. */
cmlp_status cmlp_replace_begin(new_file *f, const char *path);
cmlp_status cmlp_replace_write(new_file *f, const void *data, size_t bytes);
/* Puts the file in its place: synced first, so that a crash leaves the old file or the new one. */
cmlp_status cmlp_replace_end(new_file *f);
void cmlp_replace_give_up(new_file *f);

#endif

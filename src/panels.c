/* Packed matrices: panels.h. */
#include "panels.h"

#include <string.h>

/* The widest panel, or one vector less where that leaves a fuller last panel. */
static size_t panel_width(const cmlp_kernels *k, size_t n)
{
    size_t vectors = (n + k->vw - 1) / k->vw, wide = k->nv_max, less = wide - 1;
    if (vectors <= wide)
        return vectors * k->vw;
    size_t rest = vectors % wide, rest_less = less ? vectors % less : 0;
    int prefer_less = less >= 2 && rest && (!rest_less || rest_less > rest);
    return (prefer_less ? less : wide) * k->vw;
}

cmlp_panels cmlp_panels_of(const cmlp_kernels *k, size_t rows, size_t columns)
{
    return (cmlp_panels){rows, columns, cmlp_round_up(columns, k->vw), panel_width(k, columns), 0};
}

size_t cmlp_runs_of(const cmlp_panels *p, const cmlp_block *b, packed_run *runs)
{
    size_t n = 0, rows = b->i1 - b->i0, width;
    for (size_t c = b->c0; c < b->c1; c += width, n++) {
        width = rows == p->rows ? b->c1 - c : cmlp_min(p->width, b->c1 - c);
        if (runs)
            runs[n] = (packed_run){panel_at(p, c) + b->i0 * width, (c - b->c0) * rows, rows * width};
    }
    return n;
}

/* Narrow panels belong to small matrices: element by element. */
static void copy_narrow(const cmlp_kernels *k, const cmlp_panels *p, const char *values, char *packed,
                        int back)
{
    for (size_t c = 0; c < p->columns; c++)
        for (size_t r = 0; r < p->rows; r++) {
            char *in = packed + narrow_at(p, r, c) * k->size;
            char *plain = (char *)(uintptr_t)values + (c * p->rows + r) * k->size;
            memcpy(back ? plain : in, back ? in : plain, k->size);
        }
}

void cmlp_pack(const cmlp_kernels *k, const cmlp_panels *p, const void *values, void *packed)
{
    if (p->rows == 1) {
        memcpy(packed, values, p->columns * k->size);
        memset((char *)packed + p->columns * k->size, 0, (p->padded - p->columns) * k->size);
        return;
    }
    if (p->narrow) {
        copy_narrow(k, p, values, packed, 0);
        return;
    }
    for (size_t c = 0; c < p->columns; c += p->width) {
        size_t at = panel_at(p, c) * k->size;
        k->pack(p->rows, cmlp_min(p->width, p->columns - c), cmlp_min(p->width, p->padded - c),
                (const char *)values + at, (char *)packed + at);
    }
}

void cmlp_unpack(const cmlp_kernels *k, const cmlp_panels *p, const void *packed, void *values)
{
    if (p->rows == 1) {
        memcpy(values, packed, p->columns * k->size);
        return;
    }
    if (p->narrow) {
        copy_narrow(k, p, values, (char *)(uintptr_t)packed, 1);
        return;
    }
    for (size_t c = 0; c < p->columns; c += p->width) {
        size_t at = panel_at(p, c) * k->size;
        k->unpack(p->rows, cmlp_min(p->width, p->columns - c), cmlp_min(p->width, p->padded - c),
                  (const char *)packed + at, (char *)values + at);
    }
}

void cmlp_transpose_block(const cmlp_kernels *k, const cmlp_panels *p, const cmlp_panels *turned,
                          const cmlp_block *b, const void *w, void *wt)
{
    k->transpose(p->rows, p->columns, p->width, turned->width, b->c0, b->c1, b->i0, b->i1, w, wt);
}

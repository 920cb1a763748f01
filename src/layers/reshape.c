/* Another shape for the same numbers in the same order. */
#include "kinds.h"

#include <string.h>

static int is_sound(const cmlp_layer_spec *spec)
{
    const cmlp_extent *out = &spec->out;
    return spec->n_in == spec->n_out && out->channels && out->height && out->width &&
           spec->n_out % out->channels == 0 && spec->n_out / out->channels % out->height == 0 &&
           spec->n_out / out->channels / out->height == out->width;
}

static int shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out)
{
    int fits = in->channels * in->height * in->width == spec->n_in;
    *out = spec->out;
    return fits;
}

static void copy(const op *o, size_t rows, const void *from, size_t ld, void *to, size_t ld_to)
{
    size_t size = o->k->size;
    for (size_t r = 0; r < rows; r++)
        memcpy((char *)to + r * ld_to * size, (const char *)from + r * ld * size, o->n_in * size);
}

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    if (a->x != a->y)
        copy(o, r->rows, a->x, a->ldx, a->y, a->ldy);
}

static void backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    copy(o, r->rows, a->d, o->ld_out, a->dx, o->ld_in);
}

const layer_kind cmlp_reshape_kind = {
    .name = "reshape",
    .is_sound = is_sound,
    .shape = shape,
    .has_shapes = 1,
    .reads_unpadded = 1,
    .in_place = 1,
    .forward = forward,
    .backward = backward,
};

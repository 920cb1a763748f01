/* Convolution: each output plane is a bias plus the correlation of the padded input planes with its kernel;
 * then an activation. */
#include "planes.h"

enum { WEIGHT, BIAS };

static size_t parts(const cmlp_layer_spec *spec, cmlp_part *parts)
{
    parts[WEIGHT] =
        (cmlp_part){.name = "weight",
                    .ndim = 4,
                    .shape = {spec->out.channels, spec->in.channels, spec->kernel[0], spec->kernel[1]},
                    .decays = 1};
    parts[BIAS] = (cmlp_part){.name = "bias", .ndim = 1, .shape = {spec->out.channels}};
    return spec->bias ? 2 : 1;
}

/* Weights lie in panels of a few outputs, as the kernel wants them; so do those of the gradient of x, with
 * inputs and outputs changed over and the taps in reverse. */
static void pack_parts(const cmlp_layer_spec *spec, part_layout *parts)
{
    size_t taps = spec->kernel[0] * spec->kernel[1];
    parts[WEIGHT].panels = cmlp_narrow_panels(spec->in.channels * taps, spec->out.channels, CONV_GROUP);
    parts[WEIGHT].turned = cmlp_narrow_panels(spec->out.channels * taps, spec->in.channels, CONV_GROUP);
}

static double madds(const cmlp_layer_spec *spec)
{
    cmlp_window w = cmlp_window_of(spec);
    return (double)(w.n_in * w.kernel[0] * w.kernel[1]) * (double)spec->n_out;
}

/* The window of the gradient of x: over dL/du, spread out by the stride, with margins of a kernel less one.
 */
static cmlp_window back_window(const cmlp_layer_spec *spec)
{
    cmlp_window w = cmlp_window_of(spec);
    return (cmlp_window){.n_in = w.n_out,
                         .n_out = w.n_in,
                         .in_height = w.in_height + w.kernel[0] - 1,
                         .in_width = w.in_width + w.kernel[1] - 1,
                         .height = spec->in.height,
                         .width = spec->in.width,
                         .kernel = {w.kernel[0], w.kernel[1]},
                         .stride = {1, 1}};
}

static size_t kept(const op *o)
{
    cmlp_window w = cmlp_window_of(&o->spec);
    return padded_size(&w);
}

/* Planes of the input, padded planes of x or of d, planes or rows of the output. */
static size_t scratch(const op *o)
{
    cmlp_window w = cmlp_window_of(&o->spec), back = back_window(&o->spec);
    return o->k->vw *
           (o->n_in + cmlp_max(padded_size(&w), padded_size(&back)) + cmlp_max(o->ld_out, o->n_out));
}

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    const cmlp_window w = cmlp_window_of(&o->spec);
    size_t line = o->k->vw * o->k->size;
    char *turned = a->scratch, *padded = turned + o->n_in * line, *out = padded + padded_size(&w) * line;
    for (size_t first = 0; first < r->rows; first += o->k->vw) {
        row_block b = block_at(o, r, first);
        char *to = a->kept ? at_row(o, a->kept, first, o->ld_kept) : padded;
        const char *x = cmlp_padded_input(o, a, &b, 0.0, to, turned);
        if (a->kept && x != to)
            memcpy(to, x, padded_size(&w) * line);
        char *y = cmlp_output_planes(o, a, &b, out);
        o->k->conv(&w, x, a->parts[WEIGHT].value, o->n_parts > BIAS ? a->parts[BIAS].value : NULL, y);
        cmlp_put_output(o, a, &b, y);
    }
    size_t rows = o->out_planes ? cmlp_round_up(r->rows, o->k->vw) : r->rows;
    apply_activation(o, p, rows, a->u, a->y, a->ldy);
}

/* dL/du of a block in the middle of planes with margins, spread out by the stride. */
static void spread(const op *o, const cmlp_window *back, const char *d, char *to)
{
    const cmlp_window w = cmlp_window_of(&o->spec);
    size_t line = o->k->vw * o->k->size;
    memset(to, 0, padded_size(back) * line);
    for (size_t c = 0; c < w.n_out; c++)
        for (size_t i = 0; i < w.height; i++)
            for (size_t j = 0; j < w.width; j++, d += line) {
                size_t row = w.kernel[0] - 1 + i * w.stride[0], column = w.kernel[1] - 1 + j * w.stride[1];
                memcpy(to + ((c * back->in_height + row) * back->in_width + column) * line, d, line);
            }
}

static void backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    const cmlp_window back = back_window(&o->spec);
    size_t line = o->k->vw * o->k->size;
    char *turned = a->scratch, *d = turned + o->n_in * line;
    const char *first_tap = d + (o->spec.pad[0] * back.in_width + o->spec.pad[1]) * line;
    for (size_t first = 0; first < r->rows; first += o->k->vw) {
        row_block b = block_at(o, r, first);
        char *dx = at_row(o, a->dx, first, o->ld_in), *planes = o->in_planes ? dx : turned;
        spread(o, &back, at_row(o, a->d, first, o->ld_out), d);
        o->k->conv(&back, first_tap, a->parts[WEIGHT].transpose, NULL, planes);
        if (!o->in_planes)
            o->k->from_planes(b.rows, o->n_in, planes, dx, o->ld_in);
    }
}

static void gradient(const op *o, const span *s, const gradient_args *g)
{
    cmlp_window w = cmlp_window_of(&o->spec);
    size_t plane = w.height * w.width, columns = s->block.c1 - s->block.c0;
    w.n_out = columns;
    for (size_t first = 0; first < g->rows; first += o->k->vw) {
        const char *d = at_row(o, g->d, first, o->ld_out) + s->block.c0 * plane * o->k->vw * o->k->size;
        int add = first || !g->first;
        if (s->part == BIAS)
            o->k->plane_sums(cmlp_min(columns, o->spec.out.channels - s->block.c0), plane, d, add, g->to);
        else
            o->k->conv_dw(&w, at_row(o, g->kept, first, o->ld_kept), d, add, g->to);
    }
}

/* Writes a block of the weights into their transpose: (out, in, u, t) goes to (in, out, -u, -t). */
static void turn(const cmlp_kernels *k, const cmlp_layer_spec *spec, const part_layout *part,
                 const cmlp_block *b, const part_memory *m)
{
    size_t taps = spec->kernel[0] * spec->kernel[1];
    for (size_t c = b->c0; c < b->c1; c++)
        for (size_t i = b->i0; i < b->i1; i++) {
            size_t row = c * taps + (taps - 1 - i % taps);
            memcpy(m->transpose + narrow_at(&part->turned, row, i / taps) * k->size,
                   m->value + narrow_at(&part->panels, i, c) * k->size, k->size);
        }
}

const layer_kind cmlp_conv_kind = {
    .name = "conv",
    .is_sound = cmlp_window_is_sound,
    .shape = cmlp_window_shape,
    .has_shapes = 1,
    .parts = parts,
    .pack_parts = pack_parts,
    .takes_activation = 1,
    .spatial = 1,
    .reads_unpadded = 1,
    .uses_transpose = 1,
    .whole_rows = 1,
    .uses_fused = 1,
    .madds = madds,
    .kept = kept,
    .scratch = scratch,
    .forward = forward,
    .derive = cmlp_derive_planes,
    .backward = backward,
    .gradient = gradient,
    .turn = turn,
};

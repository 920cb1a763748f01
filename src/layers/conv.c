/* Convolution: each output plane is a bias plus the correlation of the padded input planes, or of those that
 * a table says, with its kernels; then an activation. */
#include "planes.h"
#include "table.h"

enum { WEIGHT, BIAS };

static size_t taps_of(const cmlp_layer_spec *spec) { return spec->kernel[0] * spec->kernel[1]; }

static size_t connections_of(const cmlp_layer_spec *spec)
{
    return spec->connections ? cmlp_connections(spec->out.channels, spec->in.channels, spec->connections)
                             : spec->in.channels * spec->out.channels;
}

static int is_sound(const cmlp_layer_spec *spec)
{
    return cmlp_window_is_sound(spec) && spec->in.channels <= ((size_t)1 << 31) / spec->out.channels &&
           connections_of(spec) && taps_of(spec) <= ((size_t)1 << 40) / connections_of(spec);
}

/* With a table one kernel for each connection. */
static size_t parts(const cmlp_layer_spec *spec, cmlp_part *parts)
{
    size_t rows = spec->kernel[0], columns = spec->kernel[1];
    parts[WEIGHT] = (cmlp_part){.name = "weight",
                                .ndim = 4,
                                .shape = {spec->out.channels, spec->in.channels, rows, columns},
                                .decays = 1};
    if (spec->connections) {
        parts[WEIGHT].ndim = 3;
        parts[WEIGHT].shape[0] = connections_of(spec);
        parts[WEIGHT].shape[1] = rows, parts[WEIGHT].shape[2] = columns;
    }
    parts[BIAS] = (cmlp_part){.name = "bias", .ndim = 1, .shape = {spec->out.channels}};
    return spec->bias ? 2 : 1;
}

/* Weights lie in panels of a few outputs, as the kernel wants them; so do those of the gradient of x, with
 * inputs and outputs changed over and the taps in reverse.  With a table each connection is a panel. */
static void pack_parts(const cmlp_layer_spec *spec, part_layout *parts)
{
    size_t taps = taps_of(spec), n = connections_of(spec);
    if (spec->connections) {
        parts[WEIGHT].panels = parts[WEIGHT].turned = cmlp_narrow_panels(taps, n, 1);
        return;
    }
    parts[WEIGHT].panels = cmlp_narrow_panels(spec->in.channels * taps, spec->out.channels, CONV_GROUP);
    parts[WEIGHT].turned = cmlp_narrow_panels(spec->out.channels * taps, spec->in.channels, CONV_GROUP);
}

static double madds(const cmlp_layer_spec *spec)
{
    return (double)(connections_of(spec) * taps_of(spec)) * (double)(spec->out.height * spec->out.width);
}

static cmlp_window window_of(const op *o, size_t lanes)
{
    cmlp_window w = cmlp_window_of(&o->spec, lanes, 1);
    if (o->table)
        w.first = o->table->first, w.from = o->table->from;
    return w;
}

/* The window of the gradient of x: over dL/du, spread out by the stride, with margins of a kernel less one.
 */
static cmlp_window back_window(const op *o, size_t lanes)
{
    const cmlp_layer_spec *s = &o->spec;
    cmlp_window back = {.lanes = lanes,
                        .n_in = s->out.channels,
                        .n_out = s->in.channels,
                        .in_height = s->in.height + s->pad[0] + s->pad[2] + s->kernel[0] - 1,
                        .in_row = s->in.width + s->pad[1] + s->pad[3] + s->kernel[1] - 1,
                        .height = s->in.height,
                        .width = s->in.width,
                        .kernel = {s->kernel[0], s->kernel[1]},
                        .stride = {1, 1}};
    if (o->table)
        back.first = o->table->first_back, back.from = o->table->to;
    return back;
}

static size_t kept(const op *o)
{
    cmlp_window w = window_of(o, 1);
    return padded_numbers(&w);
}

/* Of each row: its input, as planes; its padded input, or its padded gradient; its output or its dL/du. */
static size_t scratch(const op *o)
{
    cmlp_window w = window_of(o, o->lanes), back = back_window(o, o->lanes);
    return o->lanes * (o->n_in + cmlp_max(o->ld_out, o->n_out)) +
           cmlp_max(padded_numbers(&w), padded_numbers(&back));
}

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    for (size_t first = 0; first < r->rows; first += o->lanes) {
        row_block b = block_at(o, r, first);
        const cmlp_window w = window_of(o, b.rows);
        size_t own = padded_numbers(&w) * o->k->size;
        char *turned = a->scratch, *padded = turned + o->n_in * b.rows * o->k->size, *out = padded + own;
        char *to = a->kept ? at_row(o, a->kept, first, o->ld_kept) : padded;
        const char *x = cmlp_padded_input(o, a, &b, &w, 0.0, to, turned);
        if (a->kept && x != to)
            memcpy(to, x, own);
        char *y = cmlp_output_planes(o, a, &b, out);
        o->k->conv(&w, x, a->parts[WEIGHT].value, o->n_parts > BIAS ? a->parts[BIAS].value : NULL, y);
        cmlp_put_output(o, a, &b, y);
    }
    apply_activation(o, p, r->rows, a->u, a->y, a->ldy);
}

/* dL/du of a block in the middle of planes with margins, spread out by the stride. */
static void spread(const op *o, const cmlp_window *back, const char *d, char *to)
{
    const cmlp_layer_spec *s = &o->spec;
    size_t column = back->lanes * o->k->size, run = s->stride[1] > 1 ? 1 : s->out.width;
    memset(to, 0, padded_numbers(back) * o->k->size);
    for (size_t c = 0; c < s->out.channels; c++)
        for (size_t i = 0; i < s->out.height; i++)
            for (size_t j = 0; j < s->out.width; j += run, d += run * column) {
                size_t row = c * back->in_height + s->kernel[0] - 1 + i * s->stride[0];
                size_t at = row * back->in_row + s->kernel[1] - 1 + j * s->stride[1];
                memcpy(to + at * column, d, run * column);
            }
}

static void backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    for (size_t first = 0; first < r->rows; first += o->lanes) {
        row_block b = block_at(o, r, first);
        const cmlp_window back = back_window(o, b.rows);
        char *turned = a->scratch, *d = turned + o->n_in * b.rows * o->k->size;
        size_t margin = (o->spec.pad[0] * back.in_row + o->spec.pad[1]) * b.rows * o->k->size;
        char *dx = at_row(o, a->dx, first, o->ld_in), *planes = o->in_planes ? dx : turned;
        spread(o, &back, at_row(o, a->d, first, o->ld_out), d);
        o->k->conv(&back, d + margin, a->parts[WEIGHT].transpose, NULL, planes);
        if (!o->in_planes)
            o->k->from_planes(b.rows, o->n_in, planes, dx, o->ld_in);
    }
}

/* The gradients of the connections of a block, one after the other. */
static void table_gradient(const op *o, const cmlp_block *b, const cmlp_window *w, const char *x,
                           const char *d, int add, char *to)
{
    cmlp_window one = *w;
    size_t plane = w->in_height * w->in_row * w->lanes, out = w->height * w->width * w->lanes;
    one.n_in = one.n_out = 1, one.first = one.from = NULL;
    for (size_t i = b->c0; i < b->c1; i++, to += taps_of(&o->spec) * o->k->size)
        o->k->conv_dw(&one, x + o->table->from[i] * plane * o->k->size,
                      d + o->table->output[i] * out * o->k->size, add, to);
}

static void gradient(const op *o, const span *s, const gradient_args *g)
{
    const cmlp_block *block = &s->block;
    for (size_t first = 0; first < g->rows; first += o->lanes) {
        size_t lanes = cmlp_min(o->lanes, g->rows - first);
        cmlp_window w = window_of(o, lanes);
        size_t plane = w.height * w.width * lanes;
        const char *x = at_row(o, g->kept, first, o->ld_kept), *d = at_row(o, g->d, first, o->ld_out);
        const char *own = d + block->c0 * plane * o->k->size;
        int add = first || !g->first;
        w.n_out = block->c1 - block->c0;
        if (s->part == BIAS)
            o->k->plane_sums(cmlp_min(w.n_out, o->spec.out.channels - block->c0), plane, own, NULL, add,
                             g->to);
        else if (o->table)
            table_gradient(o, block, &w, x, d, add, g->to);
        else
            o->k->conv_dw(&w, x, own, add, g->to);
    }
}

/* Writes a block of the weights into their transpose: (out, in, u, t) goes to (in, out, -u, -t). */
static void turn(const cmlp_kernels *k, const cmlp_layer_spec *spec, const cmlp_table *table,
                 const part_layout *part, const cmlp_block *b, const part_memory *m)
{
    size_t taps = taps_of(spec);
    for (size_t c = b->c0; c < b->c1; c++)
        for (size_t i = b->i0; i < b->i1; i++) {
            size_t row = (table ? 0 : c * taps) + (taps - 1 - i % taps);
            size_t column = table ? table->place[c] : i / taps;
            memcpy(m->transpose + narrow_at(&part->turned, row, column) * k->size,
                   m->value + narrow_at(&part->panels, i, c) * k->size, k->size);
        }
}

const layer_kind cmlp_conv_kind = {
    .name = "conv",
    .is_sound = is_sound,
    .shape = cmlp_window_shape,
    .has_shapes = 1,
    .parts = parts,
    .pack_parts = pack_parts,
    .takes_activation = 1,
    .spatial = 1,
    .phased = 1,
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

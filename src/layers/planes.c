/* Windows over planes: planes.h. */
#include "planes.h"

static size_t outputs(size_t in, size_t kernel, size_t stride)
{
    return in < kernel ? 0 : (in - kernel) / stride + 1;
}

static size_t numbers(const cmlp_extent *e) { return e->channels * e->height * e->width; }

cmlp_window cmlp_window_of(const cmlp_layer_spec *spec, size_t lanes, int phased)
{
    size_t columns = spec->in.width + spec->pad[1] + spec->pad[3];
    cmlp_window w = {.lanes = lanes,
                     .n_in = spec->in.channels,
                     .n_out = spec->out.channels,
                     .in_height = spec->in.height + spec->pad[0] + spec->pad[2],
                     .in_row = phased ? cmlp_round_up(columns, spec->stride[1]) : columns,
                     .kernel = {spec->kernel[0], spec->kernel[1]},
                     .stride = {spec->stride[0], spec->stride[1]}};
    w.height = outputs(w.in_height, w.kernel[0], w.stride[0]);
    w.width = outputs(columns, w.kernel[1], w.stride[1]);
    w.counted[0] = w.in_height - spec->ragged[0], w.counted[1] = columns - spec->ragged[1];
    return w;
}

int cmlp_window_is_sound(const cmlp_layer_spec *s)
{
    const size_t most = 1 << 20;
    const size_t sizes[] = {s->in.channels, s->in.height, s->in.width,  s->out.channels,
                            s->kernel[0],   s->kernel[1], s->stride[0], s->stride[1]};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (!sizes[i] || sizes[i] > most)
            return 0;
    /* A window that lies in the margin alone would see no input. */
    for (size_t i = 0; i < 4; i++)
        if (s->pad[i] >= s->kernel[i % 2])
            return 0;
    cmlp_window w = cmlp_window_of(s, 1, 0);
    return s->n_in == numbers(&s->in) && s->n_out == numbers(&s->out) && w.height && w.width &&
           s->out.height == w.height && s->out.width == w.width && s->ragged[0] <= s->pad[2] &&
           s->ragged[1] <= s->pad[3];
}

int cmlp_window_shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out)
{
    int same =
        in->channels == spec->in.channels && in->height == spec->in.height && in->width == spec->in.width;
    int flat = in->channels == spec->n_in && in->height == 1 && in->width == 1;
    *out = spec->out;
    return same || flat;
}

static int is_padded(const op *o)
{
    const size_t *pad = o->spec.pad;
    return pad[0] || pad[1] || pad[2] || pad[3];
}

static void fill(const cmlp_kernels *k, size_t n, double value, void *to)
{
    if (value == 0.0)
        memset(to, 0, n * k->size);
    else if (k->size == sizeof(float))
        for (size_t i = 0; i < n; i++)
            ((float *)to)[i] = (float)value;
    else
        for (size_t i = 0; i < n; i++)
            ((double *)to)[i] = value;
}

/* Place of column j of the input in a row of padded planes. */
static size_t place_of(const op *o, const cmlp_window *w, size_t j, int phased)
{
    size_t column = o->spec.pad[1] + j, across = phased ? w->stride[1] : 1;
    return column % across * (w->in_row / across) + column / across;
}

/* Copies planes of height x width into, or out of, the middle of padded ones. */
static void move_middle(const op *o, const cmlp_window *w, char *padded, char *planes, int phased, int out)
{
    size_t column = w->lanes * o->k->size, height = o->spec.in.height, width = o->spec.in.width;
    size_t run = phased && w->stride[1] > 1 ? 1 : width;
    for (size_t q = 0; q < w->n_in; q++)
        for (size_t i = 0; i < height; i++)
            for (size_t j = 0; j < width; j += run, planes += run * column) {
                size_t row = q * w->in_height + o->spec.pad[0] + i;
                char *middle = padded + (row * w->in_row + place_of(o, w, j, phased)) * column;
                memcpy(out ? planes : middle, out ? middle : planes, run * column);
            }
}

const char *cmlp_padded_input(const op *o, const op_rows *a, const row_block *b, const cmlp_window *w,
                              double margin, char *to, char *scratch)
{
    char *x = at_row(o, a->x, b->first, a->ldx);
    int moves = is_padded(o) || (o->kind->phased && w->stride[1] > 1);
    if (!o->in_planes) {
        char *planes = moves ? scratch : to;
        o->k->to_planes(b->rows, o->n_in, x, a->ldx, planes);
        x = planes;
    }
    if (!moves)
        return x;
    fill(o->k, padded_numbers(w), margin, to);
    move_middle(o, w, to, x, o->kind->phased, 0);
    return to;
}

void cmlp_put_dx(const op *o, const op_rows *a, const row_block *b, const cmlp_window *w, const char *padded,
                 char *scratch)
{
    char *dx = at_row(o, a->dx, b->first, o->ld_in), *from = (char *)(uintptr_t)padded;
    char *planes = o->in_planes ? dx : scratch;
    if (is_padded(o))
        move_middle(o, w, from, planes, 0, 1);
    else
        planes = from;
    if (!o->in_planes)
        o->k->from_planes(b->rows, o->n_in, planes, dx, o->ld_in);
    else if (planes != dx)
        memcpy(dx, planes, o->n_in * b->rows * o->k->size);
}

char *cmlp_output_planes(const op *o, const op_rows *a, const row_block *b, char *scratch)
{
    return o->out_planes ? at_row(o, a->u, b->first, a->ldy) : scratch;
}

void cmlp_put_output(const op *o, const op_rows *a, const row_block *b, const char *planes)
{
    if (!o->out_planes)
        o->k->from_planes(b->rows, o->n_out, planes, at_row(o, a->u, b->first, a->ldy), a->ldy);
}

void cmlp_derive_planes(const op *o, const pass *p, const region *r, const op_rows *a)
{
    apply_derivative(o, p, r->rows, a->d, a->u, a->d, o->ld_out);
    for (size_t first = 0; !o->out_planes && first < r->rows; first += o->lanes) {
        row_block b = block_at(o, r, first);
        char *d = at_row(o, a->d, first, o->ld_out);
        memcpy(a->scratch, d, b.rows * o->ld_out * o->k->size);
        o->k->to_planes(b.rows, o->n_out, a->scratch, o->ld_out, d);
    }
}

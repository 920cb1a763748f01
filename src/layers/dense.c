/* Dense: y = f(x w^T + b), with w (n_out, n_in). */
#include "activate.h"

enum { WEIGHT, BIAS };

static int is_sound(const cmlp_layer_spec *spec) { return spec->n_in <= SIZE_MAX / 64 / spec->n_out; }

static int shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out)
{
    int fits = in->channels * in->height * in->width == spec->n_in;
    *out = (cmlp_extent){spec->n_out, 1, 1};
    return fits;
}

static size_t parts(const cmlp_layer_spec *spec, cmlp_part *parts)
{
    parts[WEIGHT] = (cmlp_part){.name = "weight", .ndim = 2, .shape = {spec->n_out, spec->n_in}, .decays = 1};
    parts[BIAS] = (cmlp_part){.name = "bias", .ndim = 1, .shape = {spec->n_out}};
    return spec->bias ? 2 : 1;
}

static double madds(const cmlp_layer_spec *spec) { return (double)spec->n_in * (double)spec->n_out; }

/* Softmax needs whole rows. */
static int shares_columns(const op *o) { return o->activation != CMLP_SOFTMAX; }

/* Few outputs leave most lanes of x^T d idle; d^T x has n_in columns.  It reads padded rows of x, which the
 * first op's may not be. */
static void configure(op *o, int is_first)
{
    const cmlp_panels *w = &o->parts[WEIGHT].panels;
    o->thin = !is_first && w->padded <= w->width && o->n_in >= o->k->vw &&
              4 * o->n_out * o->pad_in <= 3 * o->n_in * o->pad_out;
}

static size_t gradient_scratch(const op *o, size_t rows)
{
    if (o->thin)
        return o->n_out * cmlp_min(cmlp_round_up(rows, o->k->vw), o->pad_in);
    return o->k->outer_scratch(cmlp_min(rows, o->n_in), o->ld_out) / o->k->size;
}

static int is_whole(const op *o, const region *r) { return r->c1 - r->c0 == o->pad_out; }

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    const cmlp_panels *w = &o->parts[WEIGHT].panels;
    size_t size = o->k->size, columns = r->c1 - r->c0;
    char *u = (char *)a->u + r->c0 * size, *y = (char *)a->y + r->c0 * size;
    const char *b = o->n_parts > BIAS ? a->parts[BIAS].value + r->c0 * size : NULL;
    o->k->product(r->rows, columns, o->n_in, a->x, a->ldx, a->parts[WEIGHT].value + panel_at(w, r->c0) * size,
                  w->width, b, u, a->ldy);
    if (is_whole(o, r)) {
        apply_activation(o, p, r->rows, u, y, a->ldy);
        return;
    }
    for (size_t i = 0; i < r->rows; i++, u += a->ldy * size, y += a->ldy * size)
        apply_activation(o, p, 1, u, y, columns);
}

static void derive(const op *o, const pass *p, const region *r, const op_rows *a)
{
    size_t size = o->k->size, columns = r->c1 - r->c0;
    const char *source = (const char *)a->u + r->c0 * size;
    char *d = (char *)a->d + r->c0 * size;
    if (is_whole(o, r)) {
        apply_derivative(o, p, r->rows, d, source, d, o->ld_out);
        return;
    }
    for (size_t i = 0; i < r->rows; i++, d += o->ld_out * size, source += o->ld_out * size)
        apply_derivative(o, p, 1, d, source, d, columns);
}

static void backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    const cmlp_panels *wt = &o->parts[WEIGHT].turned;
    size_t size = o->k->size;
    o->k->product(r->rows, r->c1 - r->c0, o->n_out, a->d, o->ld_out,
                  a->parts[WEIGHT].transpose + panel_at(wt, r->c0) * size, wt->width, NULL,
                  (char *)a->dx + r->c0 * size, o->ld_in);
}

/* x^T d by way of d^T x, whose sums stay in `to` until the last call transposes them. */
static void thin_gradient(const op *o, const cmlp_block *b, const gradient_args *g)
{
    const cmlp_kernels *k = o->k;
    size_t n = b->i1 - b->i0;
    cmlp_panels turned = cmlp_panels_of(k, o->n_out, n);
    char *sums = g->first && g->last ? g->scratch : g->to;
    k->outer(0, o->n_out, turned.padded, g->rows, g->d, o->ld_out, (const char *)g->x + b->i0 * k->size,
             g->ldx, turned.width, !g->first, 0, o->n_out, sums, NULL, NULL);
    if (!g->last)
        return;
    if (sums != g->scratch)
        memcpy(g->scratch, sums, panels_size(&turned) * k->size);
    const cmlp_block all = {0, turned.padded, 0, o->n_out};
    cmlp_transpose_block(k, &turned, &o->parts[WEIGHT].panels, &all, g->scratch,
                         g->to + (b->i0 - g->row0) * o->pad_out * k->size);
}

static void gradient(const op *o, const span *s, const gradient_args *g)
{
    const cmlp_block *b = &s->block;
    const char *d = (const char *)g->d + b->c0 * o->k->size;
    if (s->part == BIAS)
        o->k->column_sums(b->c1 - b->c0, g->rows, d, o->ld_out, !g->first, g->to);
    else if (o->thin)
        thin_gradient(o, b, g);
    else
        o->k->outer(b->i0, b->i1, b->c1 - b->c0, g->rows, g->x, g->ldx, d, o->ld_out,
                    o->parts[WEIGHT].panels.width, !g->first, g->row0, g->to_rows, g->to, g->scratch,
                    g->prefetch);
}

const layer_kind cmlp_dense = {
    .name = "dense",
    .is_sound = is_sound,
    .shape = shape,
    .parts = parts,
    .takes_activation = 1,
    .reads_unpadded = 1,
    .uses_transpose = 1,
    .uses_fused = 1,
    .shares_columns = shares_columns,
    .madds = madds,
    .configure = configure,
    .gradient_scratch = gradient_scratch,
    .forward = forward,
    .derive = derive,
    .backward = backward,
    .gradient = gradient,
};

/* What each kind of layer does with rows; a new kind is one more entry in the table at the end. */
#include "plan.h"

#include <string.h>

/* The activation of a step over rows of n, ld apart: y from u, which may be y. */
static void apply_activation(const step *s, const pass *p, size_t rows, const void *u, void *y, size_t ld)
{
    if (s->activation == CMLP_IDENTITY || (p->for_loss && s->fused_output)) {
        if (u != y)
            memcpy(y, u, rows * ld * s->k->size);
    } else if (s->activation == CMLP_SOFTMAX) {
        s->k->softmax(rows, s->n_out, u, ld, 0, y, ld);
    } else {
        s->k->activate(s->activation, rows * ld, u, s->param, y);
    }
}

/* to = d times the derivative; to may be d.  source: y, or u where the derivative is written in it. */
static void apply_derivative(const step *s, const pass *p, size_t rows, const void *d, const void *source,
                             void *to, size_t ld)
{
    if (s->activation == CMLP_IDENTITY || (p->for_loss && s->fused_output)) {
        if (d != to)
            memcpy(to, d, rows * ld * s->k->size);
    } else if (s->activation == CMLP_SOFTMAX) {
        s->k->softmax_back(rows, s->n_out, d, ld, source, ld, to, ld);
    } else {
        s->k->derive(s->activation, rows * ld, d, source, s->param, to);
    }
}

static int is_whole(const step *s, const region *r) { return r->c1 - r->c0 == s->layer->pad_out; }

static void dense_forward(const step *s, const pass *p, const region *r, const void *x, size_t ldx, void *u,
                          void *y, size_t ldy, void *mask)
{
    (void)mask;
    const cmlp_layer *l = s->layer;
    size_t size = s->k->size, columns = r->c1 - r->c0;
    char *from = (char *)u + r->c0 * size, *to = (char *)y + r->c0 * size;
    s->k->product(r->rows, columns, s->n_in, x, ldx, (const char *)l->w + r->c0 * s->n_in * size, l->nr,
                  (const char *)l->b + r->c0 * size, from, ldy);
    if (is_whole(s, r)) {
        apply_activation(s, p, r->rows, from, to, ldy);
        return;
    }
    for (size_t i = 0; i < r->rows; i++, from += ldy * size, to += ldy * size)
        apply_activation(s, p, 1, from, to, columns);
}

static void dense_derive(const step *s, const pass *p, const region *r, const void *u, const void *y, void *d)
{
    size_t size = s->k->size, columns = r->c1 - r->c0;
    const char *source = (const char *)(s->u != NO_BUFFER ? u : y) + r->c0 * size;
    char *to = (char *)d + r->c0 * size;
    if (is_whole(s, r)) {
        apply_derivative(s, p, r->rows, to, source, to, s->ld_out);
        return;
    }
    for (size_t i = 0; i < r->rows; i++, to += s->ld_out * size, source += s->ld_out * size)
        apply_derivative(s, p, 1, to, source, to, columns);
}

static void dense_back(const step *s, const pass *p, const region *r, const void *x, const void *y,
                       const void *mask, const void *d, void *dx)
{
    (void)p, (void)x, (void)y, (void)mask;
    const cmlp_layer *l = s->layer;
    size_t size = s->k->size;
    s->k->product(r->rows, r->c1 - r->c0, s->n_out, d, s->ld_out,
                  (const char *)l->wt + r->c0 * s->n_out * size, l->nr_t, NULL, (char *)dx + r->c0 * size,
                  s->ld_in);
}

static void activation_forward(const step *s, const pass *p, const region *r, const void *x, size_t ldx,
                               void *u, void *y, size_t ldy, void *mask)
{
    (void)ldx, (void)u, (void)mask;
    apply_activation(s, p, r->rows, x, y, ldy);
}

int cmlp_activation_needs_input(int activation)
{
#define SOURCE_ENTRY(id, name, default_p, source, f, df) source,
    static const char sources[] = {CMLP_ACTIVATIONS(SOURCE_ENTRY) CMLP_FROM_OUTPUT};
    return sources[activation] == CMLP_FROM_INPUT;
}

static void activation_back(const step *s, const pass *p, const region *r, const void *x, const void *y,
                            const void *mask, const void *d, void *dx)
{
    (void)mask;
    apply_derivative(s, p, r->rows, d, cmlp_activation_needs_input(s->activation) ? x : y, dx, s->ld_in);
}

static void prelu_forward(const step *s, const pass *p, const region *r, const void *x, size_t ldx, void *u,
                          void *y, size_t ldy, void *mask)
{
    (void)p, (void)u, (void)mask;
    s->k->prelu(r->rows, s->layer->pad_out, x, ldx, s->layer->b, y, ldy);
}

static void prelu_back(const step *s, const pass *p, const region *r, const void *x, const void *y,
                       const void *mask, const void *d, void *dx)
{
    (void)p, (void)y, (void)mask;
    s->k->prelu_back(r->rows, s->layer->pad_out, d, s->ld_out, x, s->ld_in, s->layer->b, dx, s->ld_in);
}

/* Factors of dropout (0 or 1/(1 - rate)) and of randomised ReLU (1, or a slope where x < 0). */
static void make_mask(const step *s, const pass *p, const region *r, const void *x, void *mask)
{
    const double *param = s->layer->spec.param;
    double rate = p->training ? param[0] : 0.0, mean = 0.5 * (param[0] + param[1]);
    cmlp_random_args args = {
        .key = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32) ^ (uint32_t)(s->index + 1) << 16},
        .t = p->t,
        .row = p->row + r->row,
        .slopes = s->layer->spec.kind == CMLP_RRELU,
        .low = p->training ? param[0] : mean,
        .high = p->training ? param[1] : mean,
        .keep = 1.0 / (1.0 - rate),
        .threshold = (uint32_t)(rate * 0x1p32)};
    s->k->random_factors(r->rows, s->n_out, s->ld_out, x, &args, mask);
}

static void random_forward(const step *s, const pass *p, const region *r, const void *x, size_t ldx, void *u,
                           void *y, size_t ldy, void *mask)
{
    (void)ldx, (void)u;
    size_t rows = r->rows;
    const double *param = s->layer->spec.param;
    if (mask) {
        make_mask(s, p, r, x, mask);
        s->k->multiply(rows * ldy, x, mask, y);
    } else if (s->layer->spec.kind == CMLP_RRELU) {
        s->k->activate(CMLP_LEAKY_RELU, rows * ldy, x, 0.5 * (param[0] + param[1]), y);
    } else if (x != y) {
        memcpy(y, x, rows * ldy * s->k->size);
    }
}

static void random_back(const step *s, const pass *p, const region *r, const void *x, const void *y,
                        const void *mask, const void *d, void *dx)
{
    (void)p, (void)x, (void)y;
    s->k->multiply(r->rows * s->ld_in, d, mask, dx);
}

const step_kind *cmlp_step_kind_of(cmlp_layer_kind kind)
{
    static const step_kind kinds[] = {
        [CMLP_DENSE] = {dense_forward, dense_derive, dense_back},
        [CMLP_ACTIVATION] = {activation_forward, NULL, activation_back},
        [CMLP_PRELU] = {prelu_forward, NULL, prelu_back},
        [CMLP_RRELU] = {random_forward, NULL, random_back},
        [CMLP_DROPOUT] = {random_forward, NULL, random_back},
    };
    return &kinds[kind];
}

/* The table of the kinds of layers, and what several of them share. */
#include "kinds.h"

#include <string.h>

extern const layer_kind cmlp_dense, cmlp_activation_kind, cmlp_prelu, cmlp_rrelu, cmlp_dropout,
    cmlp_conv_kind, cmlp_max_pool_kind, cmlp_average_pool_kind, cmlp_reshape_kind, cmlp_subsample_kind;

static const layer_kind *const kinds[] = {
    [CMLP_DENSE] = &cmlp_dense,
    [CMLP_ACTIVATION] = &cmlp_activation_kind,
    [CMLP_PRELU] = &cmlp_prelu,
    [CMLP_RRELU] = &cmlp_rrelu,
    [CMLP_DROPOUT] = &cmlp_dropout,
    [CMLP_CONV] = &cmlp_conv_kind,
    [CMLP_MAX_POOL] = &cmlp_max_pool_kind,
    [CMLP_AVERAGE_POOL] = &cmlp_average_pool_kind,
    [CMLP_RESHAPE] = &cmlp_reshape_kind,
    [CMLP_SUBSAMPLE] = &cmlp_subsample_kind,
};
#define N_KINDS ((int)(sizeof kinds / sizeof kinds[0]))

const layer_kind *cmlp_kind(int kind) { return kind >= 0 && kind < N_KINDS ? kinds[kind] : NULL; }

const char *cmlp_layer_kind_name(int kind)
{
    const layer_kind *found = cmlp_kind(kind);
    return found ? found->name : NULL;
}

int cmlp_layer_kind_id(const char *name)
{
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return i;
    return -1;
}

cmlp_status cmlp_layer_shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out)
{
    NEED(spec);
    NEED(in);
    NEED(out);
    const layer_kind *kind = cmlp_kind((int)spec->kind);
    cmlp_extent from = *in;
    if (!kind)
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->kind is %d; expected a cmlp_layer_kind", (int)spec->kind);
    if (!kind->shape(spec, &from, out))
        return cmlp_fail(CMLP_E_ARGUMENT, "in has shape (%zu, %zu, %zu); expected %zu numbers", from.channels,
                         from.height, from.width, spec->n_in);
    return CMLP_OK;
}

size_t cmlp_lay_out_parts(const cmlp_kernels *k, const cmlp_layer_spec *spec, part_layout *parts,
                          size_t *bytes)
{
    const layer_kind *kind = cmlp_kind((int)spec->kind);
    cmlp_part found[CMLP_MOST_PARTS];
    size_t n = kind->parts ? kind->parts(spec, found) : 0;
    for (size_t i = 0; i < n; i++) {
        size_t rows = 1;
        for (int a = 1; a < found[i].ndim; a++)
            rows *= found[i].shape[a];
        parts[i].info = found[i];
        parts[i].panels = cmlp_panels_of(k, rows, found[i].shape[0]);
        parts[i].turned = cmlp_panels_of(k, found[i].shape[0], rows);
    }
    if (kind->pack_parts)
        kind->pack_parts(spec, parts);
    for (size_t i = 0; i < n; i++) {
        parts[i].offset = *bytes;
        *bytes += cmlp_round_up(panels_size(&parts[i].panels) * k->size, CMLP_LINE);
    }
    return n;
}

void cmlp_refresh_block(const layer_kind *kind, const cmlp_kernels *k, const cmlp_layer_spec *spec,
                        const cmlp_table *table, const part_layout *part, const cmlp_block *b,
                        const part_memory *m)
{
    if (!m->transpose)
        return;
    if (kind->turn)
        kind->turn(k, spec, table, part, b, m);
    else
        cmlp_transpose_block(k, &part->panels, &part->turned, b, m->value, m->transpose);
}

int cmlp_same_shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out)
{
    *out = *in;
    return in->channels * in->height * in->width == spec->n_in;
}

int cmlp_same_width(const cmlp_layer_spec *spec) { return spec->n_in == spec->n_out; }

int cmlp_activation_needs_input(int activation)
{
#define SOURCE_ENTRY(id, name, default_p, source, f, df) source,
    static const char sources[] = {CMLP_ACTIVATIONS(SOURCE_ENTRY) CMLP_FROM_OUTPUT};
    return sources[activation] == CMLP_FROM_INPUT;
}

void cmlp_draw_factors(const op *o, const pass *p, const region *r, const op_rows *a, int slopes)
{
    const double *param = o->spec.param;
    double rate = p->training ? param[0] : 0.0, mean = 0.5 * (param[0] + param[1]);
    cmlp_random_args args = {
        .key = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32) ^ (uint32_t)(o->draw + 1) << 16},
        .t = p->t,
        .row = p->row + r->row,
        .slopes = slopes,
        .low = p->training ? param[0] : mean,
        .high = p->training ? param[1] : mean,
        .keep = 1.0 / (1.0 - rate),
        .threshold = (uint32_t)(rate * 0x1p32)};
    o->k->random_factors(r->rows, o->n_out, o->ld_out, a->x, &args, a->kept);
}

void cmlp_multiply_kept(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    o->k->multiply(r->rows * o->ld_in, a->d, a->kept, a->dx);
}

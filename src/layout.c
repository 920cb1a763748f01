/* From layers, a loss and a batch size to the layout of a plan: ops, a workspace, spans of weights, shares.
 */
#include "layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int cmlp_threads_of(const layout *l, double flops, size_t pieces)
{
    int n = cmlp_threads_worth(l->spec.n_threads, flops, FLOPS_PER_THREAD);
    return (size_t)n > pieces ? (int)pieces : n;
}

/* ---- ops ---- */

/* Rows are padded to whole vectors; a row length that would put every row into the same cache sets grows by
 * a line. */
static size_t leading(const cmlp_kernels *k, size_t n)
{
    size_t ld = cmlp_round_up(n, k->vw);
    return ld * k->size % 1024 == 0 ? ld + CMLP_LINE / k->size : ld;
}

static int takes_in(const cmlp_layer *l, const cmlp_layer *next)
{
    return l->kind->takes_activation && l->spec.activation == CMLP_IDENTITY && next->kind->only_activates;
}

/* The op of layer i and, where the kind takes it in, of the activation layer behind it. */
static void make_op(layout *l, cmlp_layer *const *layers, size_t n_layers, size_t i)
{
    const cmlp_layer *from = layers[i];
    op *o = &l->ops[l->n_ops++];
    *o = (op){.kind = from->kind, .k = l->k, .spec = from->spec, .layer = i, .last_layer = i};
    o->table = cmlp_table_use(from->table);
    o->lanes = ROW_BLOCK;
    o->n_in = o->spec.n_in, o->n_out = o->spec.n_out;
    o->pad_in = cmlp_round_up(o->n_in, l->k->vw), o->pad_out = cmlp_round_up(o->n_out, l->k->vw);
    o->ld_in = leading(l->k, o->n_in), o->ld_out = leading(l->k, o->n_out);
    const cmlp_layer_spec *activation = &from->spec;
    if (i + 1 < n_layers && takes_in(from, layers[i + 1]))
        activation = &layers[++o->last_layer]->spec;
    o->activation = activation->activation;
    o->param = activation->param[0];
    o->draw = l->spec.first_layer + i;
    o->n_parts = cmlp_lay_out_parts(l->k, &o->spec, o->parts, &l->block_bytes);
    o->trained = from->trainable && o->n_parts > 0;
    if (o->kind->configure)
        o->kind->configure(o, l->n_ops == 1);
    o->ld_kept = o->kind->kept ? o->kind->kept(o) : 0;
}

/* An op that works number by number, whatever they stand for. */
static int is_elementwise(const op *o) { return o->kind->only_activates && o->activation != CMLP_SOFTMAX; }

/* Between two spatial ops, with nothing but elementwise ones in between, samples stay side by side. */
static void choose_planes(layout *l)
{
    for (size_t i = 0, next; i < l->n_ops; i = next) {
        for (next = i + 1; next < l->n_ops && is_elementwise(&l->ops[next]);)
            next++;
        if (next == l->n_ops || !l->ops[i].kind->spatial || !l->ops[next].kind->spatial)
            continue;
        l->ops[i].out_planes = l->ops[next].in_planes = 1;
        for (size_t between = i + 1; between < next; between++)
            l->ops[between].in_planes = l->ops[between].out_planes = 1;
    }
}

static void make_ops(layout *l, cmlp_layer *const *layers, size_t n_layers)
{
    for (size_t i = 0; i < n_layers; i = l->ops[l->n_ops - 1].last_layer + 1)
        make_op(l, layers, n_layers, i);
    choose_planes(l);
    l->first_trained = l->n_ops;
    l->is_all_trained = 1;
    for (size_t i = l->n_ops; i-- > 0;) {
        const op *o = &l->ops[i];
        l->madds += o->kind->madds ? o->kind->madds(&o->spec) : 0.0;
        for (size_t part = 0; part < o->n_parts; part++)
            if (o->parts[part].info.ndim > 1)
                l->weights += o->parts[part].panels.rows * o->parts[part].panels.columns;
        l->row_numbers += o->n_in + o->n_out;
        l->op_scratch = cmlp_max(l->op_scratch, o->kind->scratch ? o->kind->scratch(o) : 0);
        l->ld_widest = cmlp_max(l->ld_widest, cmlp_max(o->ld_in, o->ld_out));
        l->is_all_trained &= o->trained || !o->n_parts;
        if (o->trained)
            l->first_trained = i;
    }
    const op *last = &l->ops[l->n_ops - 1];
    l->n_in = l->ops[0].n_in, l->ld_in = l->ops[0].ld_in;
    l->n_out = last->n_out, l->ld_out = last->ld_out;
}

static cmlp_status check_pair(layout *l)
{
    if (l->spec.loss < 0)
        return CMLP_OK;
    for (size_t i = 0; i < l->n_ops; i++)
        if (l->ops[i].activation == CMLP_STEP)
            return cmlp_fail(CMLP_E_PAIR,
                             "layers[%zu] has the activation step; expected one with a slope, for a loss",
                             l->ops[i].last_layer);
    op *last = &l->ops[l->n_ops - 1];
    int seen = last->kind->rectifies ? CMLP_RELU : last->kind->uses_fused ? last->activation : CMLP_IDENTITY;
    cmlp_pair pair = cmlp_pair_mode(seen, l->spec.loss);
    last->fused_output = last->kind->uses_fused && pair == CMLP_FUSED;
    if (pair == CMLP_REFUSED)
        return cmlp_fail(CMLP_E_PAIR, "the loss %s does not go with the output activation %s",
                         cmlp_loss_name(l->spec.loss), cmlp_activation_name(seen));
    return CMLP_OK;
}

/* ---- the workspace ---- */

static size_t reserve(size_t *total, size_t bytes)
{
    size_t at = *total;
    *total += cmlp_round_up(bytes, CMLP_LINE);
    return at;
}

/* Offsets of everything that a workspace of `rows` rows holds; its bytes. */
static size_t lay_out_workspace(layout *l, size_t rows)
{
    size_t total = 0, size = l->k->size;
    size_t x = reserve(&total, rows * l->ld_in * size);
    l->dx = l->trains ? NO_BUFFER : reserve(&total, rows * l->ld_in * size);
    for (size_t i = 0; i < l->n_ops; i++) {
        op *o = &l->ops[i];
        size_t bytes = rows * o->ld_out * size;
        int keeps_u = o->kind->takes_activation && cmlp_activation_needs_input(o->activation);
        o->x = x;
        o->u = keeps_u ? reserve(&total, bytes) : NO_BUFFER;
        o->y = reserve(&total, bytes);
        o->d = reserve(&total, bytes);
        o->kept = o->ld_kept ? reserve(&total, rows * o->ld_kept * size) : NO_BUFFER;
        x = o->y;
    }
    l->labels = reserve(&total, rows * sizeof(int64_t));
    l->targets = reserve(&total, l->spec.loss >= 0 ? rows * l->ld_out * size : 0);
    l->weights_at = reserve(&total, rows * size);
    return total;
}

static double flops_of_step(const layout *l) { return 6.0 * l->madds * (double)l->spec.batch; }

static int is_small(const layout *l) { return l->trains && l->block_bytes <= GROUP_BYTES; }

/* Rows of a block.  Those of planes are the samples that lie side by side in them: an even number of blocks
 * as full as may be, for two threads.  A plan that only computes takes minibatches of any size up to its own,
 * and the order of their sums must not depend on that. */
static size_t choose_row_block(const layout *l)
{
    if (!l->op_scratch || !l->trains)
        return ROW_BLOCK;
    size_t pairs = blocks_of(l->spec.batch, 2 * ROW_BLOCK);
    return blocks_of(l->spec.batch, 2 * pairs);
}

/* Groups and chunks are functions of shapes alone. */
static void choose_groups(layout *l)
{
    size_t blocks = blocks_of(l->spec.batch, l->row_block);
    l->groups = 0;
    l->chunk = blocks * l->row_block;
    if (!is_small(l))
        return;
    size_t per_row = lay_out_workspace(l, l->row_block) / l->row_block;
    double worth = flops_of_step(l) / FLOPS_PER_THREAD;
    l->groups = worth >= MOST_GROUPS ? MOST_GROUPS : worth < 1.0 ? 1 : (size_t)worth;
    l->groups = cmlp_min(l->groups, blocks);
    l->chunk = (blocks + l->groups - 1) / l->groups * l->row_block;
    if (l->chunk * per_row > WHOLE_BYTES)
        l->chunk = cmlp_max(CHUNK_BYTES / per_row / l->row_block, 1) * l->row_block;
    /* One group that goes through at once needs no gradient of its own: updates take it span by span. */
    if (l->groups == 1 && l->chunk >= l->spec.batch)
        l->groups = 0;
}

/* ---- threads ---- */

/* Splitting by columns moves activations between caches, by rows moves updated weights: pick the cheaper. */
static int worth_columns(const layout *l, const op *o, const cmlp_panels *p)
{
    double batch = (double)l->spec.batch, n_in = (double)o->n_in, n_out = (double)o->n_out;
    return l->threads > 1 && panels_count(p) >= (size_t)l->threads && n_in * n_out > batch * (n_in + n_out);
}

/* By rows or by columns, for each op each way; no bit of a result depends on it. */
static void choose_threads(layout *l)
{
    size_t widest = 0;
    for (size_t i = 0; i < l->n_ops; i++)
        if (l->ops[i].kind->shares_columns)
            widest = cmlp_max(widest, panels_count(&l->ops[i].parts[0].panels));
    l->most_columns = l->groups ? 1 : widest;
    size_t pieces = l->groups ? l->groups : cmlp_max(blocks_of(l->spec.batch, l->row_block), widest);
    l->threads = cmlp_threads_of(l, flops_of_step(l), pieces);
    for (size_t i = 0; i < l->n_ops && !l->groups; i++) {
        op *o = &l->ops[i];
        if (!o->kind->shares_columns)
            continue;
        o->by_columns = op_shares_columns(o) && worth_columns(l, o, &o->parts[0].panels);
        o->back_by_columns = i > 0 && (!o[-1].kind->derive || op_shares_columns(o - 1)) &&
                             worth_columns(l, o, &o->parts[0].turned);
    }
}

/* ---- spans ---- */

/* The panels of a part in blocks of no more than `most`, at least four where it has as many: for threads to
 * own them.  Vectors of a small net are not worth sharing.  rows_each: most rows of a span.  Counts them, and
 * fills them in unless spans is NULL. */
static size_t cut_part(const layout *l, size_t i, size_t part, size_t rows_each, size_t most, span *spans)
{
    const cmlp_panels *p = &l->ops[i].parts[part].panels;
    size_t n = 0, panels = panels_count(p), p0, p1;
    size_t blocks = cmlp_max((panels + most - 1) / most, cmlp_min(panels, 4));
    if (p->rows == 1 && is_small(l))
        blocks = 1;
    if (l->ops[i].kind->whole_rows)
        rows_each = p->rows;
    for (size_t b = 0; b < blocks; b++) {
        share_of(panels, (int)b, (int)blocks, &p0, &p1);
        for (size_t i0 = 0; i0 < p->rows; i0 += rows_each, n++)
            if (spans)
                spans[n] = (span){&l->ops[i], part,
                                  .block = {p0 * p->width, cmlp_min(p1 * p->width, p->padded), i0,
                                            cmlp_min(i0 + rows_each, p->rows)}};
    }
    return n;
}

static size_t cut_parts(const layout *l, size_t rows_each, size_t most, span *spans)
{
    size_t n = 0;
    for (size_t i = l->first_trained; i < l->n_ops; i++)
        for (size_t part = 0; l->ops[i].trained && part < l->ops[i].n_parts; part++)
            n += cut_part(l, i, part, rows_each, most, spans ? spans + n : NULL);
    return n;
}

static const cmlp_panels *panels_of(const span *s) { return &s->of->parts[s->part].panels; }

static size_t size_of(const span *s) { return (s->block.c1 - s->block.c0) * (s->block.i1 - s->block.i0); }

/* What the update would compute anew in every step. */
static cmlp_status find_runs(layout *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_spans; i++)
        n += cmlp_runs_of(panels_of(&l->spans[i]), &l->spans[i].block, NULL);
    packed_run *runs = l->runs = calloc(n + 1, sizeof *l->runs);
    for (size_t i = 0; runs && i < l->n_spans; i++) {
        span *s = &l->spans[i];
        s->runs = runs;
        s->n_runs = cmlp_runs_of(panels_of(s), &s->block, runs);
        runs += s->n_runs;
    }
    return runs ? CMLP_OK : cmlp_no_memory();
}

/* Each span goes to the thread that has its columns in the forward pass; those of parts with too few columns
 * to the thread that has least to do. */
static void assign_spans(layout *l, size_t *load)
{
    for (int few = 0; few < 2; few++)
        for (size_t i = 0; i < l->n_spans; i++) {
            span *s = &l->spans[i];
            const cmlp_panels *p = panels_of(s);
            if ((panels_count(p) < (size_t)l->threads) != few)
                continue;
            size_t c0, c1;
            s->owner = 0;
            for (int t = 0; t < l->threads; t++) {
                share_of_columns(p->padded, p->width, t, l->threads, &c0, &c1);
                if (few ? load[t] < load[s->owner] : s->block.c0 >= c0 && s->block.c0 < c1)
                    s->owner = t;
            }
            load[s->owner] += size_of(s);
        }
}

/* A thread's scratch: room for an op's own sums over a span's rows (all rows with groups), and for the
 * largest span. */
static void size_scratch(layout *l, size_t rows)
{
    size_t largest = 0, own = 0;
    for (size_t i = 0; l->spans && i < l->n_spans; i++)
        largest = cmlp_max(largest, size_of(&l->spans[i]));
    for (size_t i = 0; i < l->n_ops; i++) {
        const op *o = &l->ops[i];
        if (o->kind->gradient_scratch)
            own = cmlp_max(own, o->kind->gradient_scratch(o, l->groups ? o->n_in : rows));
    }
    own = cmlp_max(own, l->op_scratch);
    l->own_bytes = cmlp_round_up(own * l->k->size, CMLP_LINE) + (l->op_scratch ? CMLP_LINE : 0);
    l->scratch_bytes = l->own_bytes + cmlp_round_up(largest * l->k->size, CMLP_LINE);
}

/* Rows of a span are whole vectors, so that its transpose is. */
static cmlp_status make_spans(layout *l)
{
    size_t rows = is_small(l) ? SMALL_SPAN_ROWS : SPAN_ROWS;
    size_t panels = is_small(l) ? SMALL_SPAN_PANELS : SPAN_PANELS;
    l->n_spans = cut_parts(l, rows, panels, NULL);
    l->spans = calloc(l->n_spans + 1, sizeof *l->spans);
    size_t *load = calloc((size_t)l->threads, sizeof *load);
    int enough = l->spans && load;
    if (enough) {
        cut_parts(l, rows, panels, l->spans);
        assign_spans(l, load);
    }
    free(load);
    size_scratch(l, rows);
    return enough ? find_runs(l) : cmlp_no_memory();
}

/* ---- the whole ---- */

static cmlp_status check_chain(const cmlp_plan_spec *spec, cmlp_layer *const *layers, size_t n, int opt)
{
    if (!n)
        return cmlp_fail(CMLP_E_ARGUMENT, "n_layers is 0; expected 1 or more");
    if (!spec->batch || spec->batch > SIZE_MAX / 4096)
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->batch is %zu; expected 1 to %zu", spec->batch,
                         SIZE_MAX / 4096);
    if (spec->loss >= CMLP_N_LOSSES)
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->loss is %d; expected a cmlp_loss, or -1", spec->loss);
    if (!isfinite(spec->loss_param))
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->loss_param is %g; expected a finite number",
                         spec->loss_param);
    if (opt && spec->loss < 0)
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->loss is %d; expected a cmlp_loss, for the optimizer",
                         spec->loss);
    cmlp_extent shape = {layers[0]->spec.n_in, 1, 1};
    for (size_t i = 0; i < n; i++) {
        size_t width = shape.channels * shape.height * shape.width;
        if (cmlp_layer_shape(&layers[i]->spec, &shape, &shape))
            return cmlp_fail(CMLP_E_ARGUMENT, "layers[%zu] has n_in %zu; expected %zu, the outputs before it",
                             i, layers[i]->spec.n_in, width);
    }
    return CMLP_OK;
}

static cmlp_status build(layout *l, cmlp_layer *const *layers, size_t n_layers)
{
    make_ops(l, layers, n_layers);
    cmlp_status status = check_pair(l);
    if (status)
        return status;
    l->row_block = choose_row_block(l);
    for (size_t i = 0; i < l->n_ops; i++)
        l->ops[i].lanes = l->row_block;
    choose_groups(l);
    choose_threads(l);
    l->n_workspaces = l->groups ? (size_t)l->threads : 1;
    l->workspace_bytes = lay_out_workspace(l, l->chunk) + CMLP_LINE;
    l->copies_inputs = l->ops[0].by_columns && l->spec.loss >= 0;
    if (l->copies_inputs)
        l->input_bytes = cmlp_round_up(l->spec.batch * l->ld_in * l->k->size, CMLP_LINE);
    double flops = flops_of_step(l), steps = POLL_FLOPS / (flops + 1e3);
    l->poll_every = steps < 1.0 ? 1 : (size_t)steps;
    l->polls_inside = !l->groups && flops > FLOPS_PER_THREAD;
    return make_spans(l);
}

cmlp_status cmlp_layout_new(const cmlp_plan_spec *spec, cmlp_layer *const *layers, size_t n_layers, int opt,
                            layout **out)
{
    cmlp_status status = check_chain(spec, layers, n_layers, opt);
    if (status)
        return status;
    layout *l = calloc(1, sizeof *l);
    if (!l)
        return cmlp_no_memory();
    l->spec = *spec;
    l->k = layers[0]->k;
    l->trains = opt;
    l->ops = calloc(n_layers, sizeof *l->ops);
    cmlp_layout_use(l);
    status = l->ops ? build(l, layers, n_layers) : cmlp_no_memory();
    if (status)
        cmlp_layout_leave(l);
    else
        *out = l;
    return status;
}

static int same_connections(const cmlp_layer_spec *a, const cmlp_layer_spec *b)
{
    size_t n = a->out.channels * a->in.channels;
    return !a->connections == !b->connections &&
           (!a->connections || memcmp(a->connections, b->connections, n) == 0);
}

static int same_windows(const cmlp_layer_spec *a, const cmlp_layer_spec *b)
{
    return memcmp(&a->in, &b->in, sizeof a->in) == 0 && memcmp(&a->out, &b->out, sizeof a->out) == 0 &&
           memcmp(a->kernel, b->kernel, sizeof a->kernel) == 0 &&
           memcmp(a->stride, b->stride, sizeof a->stride) == 0 &&
           memcmp(a->pad, b->pad, sizeof a->pad) == 0 &&
           memcmp(a->ragged, b->ragged, sizeof a->ragged) == 0 && same_connections(a, b);
}

static int same_layer(const cmlp_layer_spec *a, const cmlp_layer_spec *b)
{
    return a->kind == b->kind && a->n_in == b->n_in && a->n_out == b->n_out &&
           a->activation == b->activation && !a->bias == !b->bias && a->param[0] == b->param[0] &&
           a->param[1] == b->param[1] && same_windows(a, b);
}

int cmlp_layout_fits(const layout *l, cmlp_layer *const *layers, size_t n_layers)
{
    if (n_layers != l->ops[l->n_ops - 1].last_layer + 1)
        return 0;
    for (size_t i = 0; i < l->n_ops; i++) {
        const op *o = &l->ops[i];
        const cmlp_layer *first = layers[o->layer], *last = layers[o->last_layer];
        if (first->k != l->k || last->k != l->k || !same_layer(&first->spec, &o->spec) ||
            o->trained != (first->trainable && o->n_parts > 0) || last->spec.activation != o->activation ||
            last->spec.param[0] != o->param || (o->last_layer > o->layer && !takes_in(first, last)))
            return 0;
    }
    return 1;
}

layout *cmlp_layout_use(layout *l)
{
    atomic_fetch_add(&l->users, 1);
    return l;
}

void cmlp_layout_leave(layout *l)
{
    if (!l || atomic_fetch_sub(&l->users, 1) > 1)
        return;
    for (size_t i = 0; l->ops && i < l->n_ops; i++)
        cmlp_table_leave(l->ops[i].table);
    free(l->runs);
    free(l->spans);
    free(l->ops);
    free(l);
}

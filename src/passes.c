/* Passes over rows: what one thread does between two barriers. */
#include "passes.h"

region cmlp_region_of(const team *t, int by_columns, size_t padded, size_t width)
{
    region r = {.rows = t->rows, .c1 = padded};
    if (t->n_threads == 1)
        return r;
    if (by_columns) {
        share_of_columns(padded, width, t->thread, t->n_threads, &r.c0, &r.c1);
    } else {
        size_t r1;
        share_of_rows(t->rows, t->row_block, t->thread, t->n_threads, &r.row, &r1);
        r.rows = r.row < r1 ? r1 - r.row : 0;
    }
    return r;
}

int cmlp_may_skip(const team *t, const region *r)
{
    if (t->asks)
        poll_caller(t->poll);
    return !r->rows || r->c0 >= r->c1 || (t->poll && is_stopped(t->poll));
}

static const char *input_of(const cmlp_plan *plan, const pass *p, char *workspace, const op *o, size_t row,
                            size_t *ld)
{
    int first = o == plan->layout->ops;
    *ld = first ? p->ldx : o->ld_in;
    return first ? p->x + row * p->ldx * o->k->size : rows_at(plan, workspace, o->x, row, o->ld_in);
}

/* The op's buffers in a workspace, from a row on. */
static void find_rows(const cmlp_plan *plan, const pass *p, char *workspace, const team *t, const op *o,
                      size_t row, op_rows *a)
{
    a->scratch = t->scratch;
    a->parts = memory_of(plan, o);
    a->x = input_of(plan, p, workspace, o, row, &a->ldx);
    a->y = rows_at(plan, workspace, o->y, row, o->ld_out);
    a->ldy = o->ld_out;
    a->d = rows_at(plan, workspace, o->d, row, o->ld_out);
    a->u = o->u == NO_BUFFER ? a->y : rows_at(plan, workspace, o->u, row, o->ld_out);
    a->kept = o->kept == NO_BUFFER ? NULL : rows_at(plan, workspace, o->kept, row, o->ld_kept);
}

void cmlp_run_forward(cmlp_plan *plan, const pass *p, char *workspace, const team *t)
{
    const layout *l = plan->layout;
    int by_columns = l->ops[0].by_columns;
    for (size_t i = 0; i < l->n_ops; i++) {
        const op *o = &l->ops[i];
        if (i && (by_columns || o->by_columns))
            cmlp_wait(&plan->barrier, t->n_threads);
        by_columns = o->by_columns;
        region r = cmlp_region_of(t, by_columns, o->pad_out, by_columns ? o->parts[0].panels.width : 1);
        if (cmlp_may_skip(t, &r))
            continue;
        op_rows a;
        find_rows(plan, p, workspace, t, o, r.row, &a);
        o->kind->forward(o, p, &r, &a);
    }
    if (by_columns)
        cmlp_wait(&plan->barrier, t->n_threads);
}

static void derive(const op *o, const pass *p, const region *r, const op_rows *a)
{
    if (o->kind->derive)
        o->kind->derive(o, p, r, a);
}

void cmlp_run_backward(cmlp_plan *plan, const pass *p, char *workspace, const team *t, int need_dx)
{
    const layout *l = plan->layout;
    size_t end = need_dx ? 0 : l->first_trained + 1;
    int by_columns = 0;
    const op *o = &l->ops[l->n_ops - 1];
    region r = cmlp_region_of(t, 0, o->pad_out, 1);
    /* Two by turns: a copy would load in one piece what has just been stored in many, and wait. */
    op_rows rows[2], *a = &rows[0], *below = &rows[1];
    find_rows(plan, p, workspace, t, o, r.row, a);
    if (!cmlp_may_skip(t, &r))
        derive(o, p, &r, a);
    for (size_t i = l->n_ops; i-- > end; o--) {
        if (by_columns || o->back_by_columns)
            cmlp_wait(&plan->barrier, t->n_threads);
        size_t row = r.row;
        by_columns = o->back_by_columns;
        r = cmlp_region_of(t, by_columns, o->pad_in, by_columns ? o->parts[0].turned.width : 1);
        if (r.row != row)
            find_rows(plan, p, workspace, t, o, r.row, a);
        if (i)
            find_rows(plan, p, workspace, t, o - 1, r.row, below);
        a->dx = i ? below->d : rows_at(plan, workspace, l->dx, r.row, o->ld_in);
        if (!cmlp_may_skip(t, &r)) {
            o->kind->backward(o, p, &r, a);
            /* What has just been written is still near. */
            if (i)
                derive(o - 1, p, &r, below);
        }
        op_rows *done = a;
        a = below, below = done;
    }
}

/* What the update of a span reads next: its values and state. */
static const cmlp_prefetch *prefetch_for(const cmlp_plan *plan, const span *s, cmlp_prefetch *hints)
{
    const part_layout *part = &s->of->parts[s->part];
    size_t first = panel_at(&part->panels, s->block.c0) * s->of->k->size;
    const char *value = memory_of(plan, s->of)[s->part].value;
    for (int i = 0; i < 3; i++) {
        const char *slot = i ? plan->opt->slots[i - 1] : NULL;
        hints->part[i] = (slot ? slot + part->offset : value) + first;
    }
    hints->rows = part->panels.rows;
    return hints;
}

void cmlp_span_gradient(const cmlp_plan *plan, const pass *p, const span *s, char *workspace,
                        gradient_args *g)
{
    const op *o = s->of;
    cmlp_prefetch hints;
    int is_far = g->last && plan->opt && plan->layout->block_bytes > NEAR_BYTES;
    g->x = input_of(plan, p, workspace, o, 0, &g->ldx);
    g->d = workspace + o->d;
    g->kept = o->kept == NO_BUFFER ? NULL : workspace + o->kept;
    g->prefetch = is_far ? prefetch_for(plan, s, &hints) : NULL;
    o->kind->gradient(o, s, g);
}

void cmlp_whole_gradient(const cmlp_plan *plan, const pass *p, const span *s, char *workspace, size_t group,
                         gradient_args *g)
{
    const cmlp_panels *panels = &s->of->parts[s->part].panels;
    g->to = gradient_of(plan, group, s) + panel_at(panels, s->block.c0) * s->of->k->size;
    g->row0 = 0, g->to_rows = panels->rows;
    cmlp_span_gradient(plan, p, s, workspace, g);
}

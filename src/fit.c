/* Training: whole epochs, or single steps, in one parallel region with two barriers a step (more where layers
 * are shared by columns). */
#include "fit.h"

#include <math.h>
#include <stdlib.h>

static int finite_parameters(const cmlp_plan *plan)
{
    for (size_t i = 0; i < plan->n_layers; i++) {
        const cmlp_layer *l = plan->layers[i];
        for (int part = 0; part < l->n_parts; part++)
            if (!l->k->all_within(panels_size(&l->layout[part].panels), l->parts[part].value, -HUGE_VAL,
                                  HUGE_VAL))
                return 0;
    }
    return 1;
}

/* ---- the loop ---- */

static void shuffle(fit *f, uint64_t epoch)
{
    cmlp_plan *plan = f->plan;
    if (plan->ordered == f->data->n && plan->ordered_epoch == epoch) /* the run before paused in it */
        return;
    plan->ordered = 0;
    for (size_t i = 0; i < f->data->n; i++)
        plan->order[i] = (int64_t)i;
    for (size_t end = f->data->n; end && !is_stopped(&f->poll);) {
        size_t first = end > SHUFFLED_AT_ONCE ? end - SHUFFLED_AT_ONCE : 0;
        cmlp_shuffle(first, end, plan->seed, epoch, plan->order);
        end = first;
        if (end)
            poll_caller(&f->poll);
    }
    if (!is_stopped(&f->poll))
        plan->ordered = f->data->n, plan->ordered_epoch = epoch;
}

static double value_at(const double *values, size_t n, uint64_t step)
{
    return n > 1 ? values[step] : values[0];
}

/* What the step needs to know; the same in every thread. */
static void prepare(step *st, uint64_t done, const cmlp_cursor *at)
{
    const fit *f = st->f;
    const cmlp_plan *plan = f->plan;
    const cmlp_run *run = f->run;
    st->order = run->order    ? run->order + (at->epoch - f->start.epoch) * f->data->n
                : f->shuffled ? plan->order
                              : NULL;
    st->first = (size_t)(at->step * plan->layout->spec.batch - f->first);
    st->rows = cmlp_min(plan->layout->spec.batch, f->data->n - st->first);
    st->scale = 1.0 / (double)st->rows;
    if (!plan->opt) {
        st->pass = (pass){.training = 1, .for_loss = 1, .seed = plan->seed, .t = plan->forwards};
        return;
    }
    uint64_t t = plan->opt->steps + done + 1;
    st->pass = (pass){.training = 1, .for_loss = 1, .seed = plan->seed, .t = t};
    double lr = value_at(run->lr, run->n_lr, done);
    double momentum =
        run->momentum ? value_at(run->momentum, run->n_momentum, done) : plan->opt->spec.momentum;
    cmlp_step_args(&plan->opt->spec, t, lr, momentum, st->rows, st->args);
}

/* The minibatch's loss, from the blocks' in their order; every thread sums it for itself. */
static double batch_loss(const step *st)
{
    cmlp_sum sum = {0};
    for (size_t b = 0; b < blocks_of(st->rows, st->f->plan->layout->row_block); b++)
        cmlp_sum_add(&sum, st->f->plan->partial[b]);
    return cmlp_sum_value(&sum);
}

/* Counts a step in; true at the end of an epoch. */
static int advance(const fit *f, double loss, cmlp_cursor *at)
{
    at->loss_sum += loss;
    if (++at->step < f->steps_per_epoch)
        return 0;
    at->step = 0;
    at->epoch++;
    return 1;
}

static void finish_epoch(fit *f, cmlp_cursor *at, int thread)
{
    if (thread == 0) {
        if (f->run->norms)
            f->run->norms[f->run->n_losses] = f->norm_sum / (double)f->steps_per_epoch;
        f->norm_sum = 0.0;
        f->run->losses[f->run->n_losses++] = at->loss_sum / (double)f->epoch_rows;
    }
    at->loss_sum = 0.0;
}

/* Whether the call ends between two steps of an epoch, `done` of them its own. */
static int is_over(const fit *f, uint64_t done, const cmlp_cursor *at)
{
    return (f->run->max_steps && done >= f->run->max_steps) ||
           at->step * f->plan->layout->spec.batch >= f->first + f->data->n;
}

/* Every thread runs this loop and keeps its own count of where training stands: all come to the same. */
static void fit_share(void *ctx, int thread, int n_threads)
{
    fit *f = ctx;
    cmlp_plan *plan = f->plan;
    const cmlp_run *run = f->run;
    step st = {.f = f, .thread = thread, .n_threads = n_threads};
    cmlp_cursor at = f->start;
    cmlp_status status = CMLP_OK;
    int kept = f->keep_good && plan->has_good, epoch_begins = !at.step || !kept;
    uint64_t done = 0;
    while (!status && at.epoch < f->end_epoch) {
        if (f->shuffled && (at.step == 0 || done == 0)) {
            if (thread == 0)
                shuffle(f, at.epoch);
            cmlp_wait(&plan->barrier, n_threads);
        }
        prepare(&st, done, &at);
        cmlp_step_rows(&st);
        if (thread == 0 && done % plan->layout->poll_every == 0)
            poll_caller(&f->poll);
        if (thread == 0) {
            f->stopped = is_stopped(&f->poll);
            f->pausing = run->pause && __atomic_load_n(run->pause, __ATOMIC_RELAXED);
        }
        cmlp_wait(&plan->barrier, n_threads);
        int pausing = f->pausing;
        double loss = batch_loss(&st);
        /* A step that was stopped, or whose loss is not a number, changes nothing. */
        if (f->stopped)
            status = CMLP_STOPPED;
        else if (!isfinite(loss))
            status = CMLP_DIVERGED;
        if (thread == 0)
            f->loss = loss * st.scale;
        if (status)
            break;
        if (f->keep_good && epoch_begins) {
            /* The loss has just shown that the parameters the last epoch ended with are good. */
            cmlp_keep_good(f, thread, n_threads);
            kept = 1;
        }
        cmlp_step_spans(&st);
        cmlp_wait(&plan->barrier, n_threads);
        for (size_t i = 0; thread == 0 && run->norms && i < plan->layout->n_spans; i++)
            f->norm_sum += plan->squares[i];
        done++;
        epoch_begins = advance(f, loss, &at);
        if (epoch_begins)
            finish_epoch(f, &at, thread);
        if (at.epoch < f->end_epoch && (pausing || is_over(f, done, &at)))
            status = CMLP_PAUSED;
    }
    if (thread == 0)
        f->end = at, f->done = done, f->status = status, f->kept = kept;
}

static cmlp_status prepare_fit(cmlp_plan *plan, const fit *f)
{
    if (cmlp_keeps_gradients(f) && cmlp_plan_need_gradients(plan))
        return cmlp_no_memory();
    if (f->keep_good && !plan->good) {
        plan->good = cmlp_alloc(plan->layout->block_bytes);
        if (!plan->good)
            return cmlp_no_memory();
    }
    if (f->shuffled && plan->order_size < f->data->n) {
        free(plan->order);
        plan->order_size = plan->ordered = 0;
        plan->order = malloc(f->data->n * sizeof *plan->order);
        if (!plan->order)
            return cmlp_no_memory();
        plan->order_size = f->data->n;
    }
    return CMLP_OK;
}

static cmlp_status check_data(const cmlp_plan *plan, const cmlp_data *data, size_t most)
{
    NEED(plan);
    NEED(data);
    NEED(data->x);
    if (!data->n || data->n > most)
        return cmlp_fail(CMLP_E_ARGUMENT, "data->n is %zu; expected 1 to %zu", data->n, most);
    if ((data->labels != NULL) == (data->t != NULL))
        return cmlp_fail(CMLP_E_ARGUMENT, "data->labels and data->t are %s; expected one of them",
                         data->t ? "both given" : "NULL");
    return CMLP_OK;
}

/* One value, or one for each of the steps. */
static cmlp_status check_values(const char *name, const double *values, size_t n, uint64_t steps)
{
    if (!values || !n || (n > 1 && n < steps))
        return cmlp_fail(CMLP_E_ARGUMENT, "run->%s has %zu values; expected 1, or %llu, one for each step",
                         name, values ? n : 0, (unsigned long long)steps);
    return cmlp_check_rate(name, values[0]);
}

static cmlp_status check_window(const cmlp_plan *plan, const cmlp_data *data, const cmlp_run *run)
{
    size_t batch = plan->layout->spec.batch;
    uint64_t end = run->first + data->n, at = plan->cursor.step * batch;
    if (run->epochs != 1)
        return cmlp_fail(CMLP_E_ARGUMENT, "run->epochs is %llu; expected 1 with a window",
                         (unsigned long long)run->epochs);
    if (run->epoch_rows > INT64_MAX || run->first >= run->epoch_rows ||
        data->n > run->epoch_rows - run->first || run->first % batch ||
        (data->n % batch && end != run->epoch_rows))
        return cmlp_fail(CMLP_E_ARGUMENT,
                         "the window is samples %llu to %llu of %llu; expected whole minibatches of %zu",
                         (unsigned long long)run->first, (unsigned long long)end,
                         (unsigned long long)run->epoch_rows, batch);
    if (at < run->first || at >= end)
        return cmlp_fail(CMLP_E_ARGUMENT,
                         "the plan's cursor is at sample %llu; expected one of the window, %llu to %llu",
                         (unsigned long long)at, (unsigned long long)run->first, (unsigned long long)end);
    return CMLP_OK;
}

static cmlp_status check_run(const cmlp_plan *plan, const cmlp_data *data, const cmlp_run *run)
{
    NEED(run);
    NEED(run->losses);
    if (!plan->opt)
        return cmlp_fail(CMLP_E_ARGUMENT, "plan has no optimizer; expected one that trains");
    if (!run->epochs || run->epochs > INT64_MAX / data->n)
        return cmlp_fail(CMLP_E_ARGUMENT, "run->epochs is %llu; expected 1 to %llu",
                         (unsigned long long)run->epochs, (unsigned long long)(INT64_MAX / data->n));
    size_t batch = plan->layout->spec.batch;
    cmlp_status window = run->epoch_rows ? check_window(plan, data, run) : CMLP_OK;
    if (window)
        return window;
    uint64_t done = plan->cursor.step - run->first / batch;
    uint64_t steps = run->epochs * ((data->n + batch - 1) / batch) - done;
    if (run->max_steps && run->max_steps < steps)
        steps = run->max_steps;
    cmlp_status status = check_values("lr", run->lr, run->n_lr, steps);
    if (!status && run->momentum)
        status = check_values("momentum", run->momentum, run->n_momentum, steps);
    return status ? status : cmlp_check_optimizer_spec(&plan->opt->spec);
}

static cmlp_status run_fit(fit *f)
{
    cmlp_plan *plan = f->plan;
    const cmlp_data *data = f->data;
    f->epoch_rows = f->run->epoch_rows ? f->run->epoch_rows : data->n;
    f->first = f->run->first;
    f->shuffled = f->run->shuffle && !f->run->order && !f->run->epoch_rows;
    f->steps_per_epoch = (f->epoch_rows + plan->layout->spec.batch - 1) / plan->layout->spec.batch;
    if (f->start.step >= f->steps_per_epoch)
        return cmlp_fail(CMLP_E_ARGUMENT,
                         "the plan's cursor is at step %llu; expected less than %llu, the steps of an epoch",
                         (unsigned long long)f->start.step, (unsigned long long)f->steps_per_epoch);
    cmlp_status status = f->run->held ? CMLP_OK : cmlp_layers_hold(plan->layers, plan->n_layers);
    if (status)
        return status;
    f->block = cmlp_block_at_once(plan);
    f->norm_sum = f->start.step ? plan->norm_sum : 0.0;
    status = prepare_fit(plan, f);
    if (!status) {
        f->poll.ask = f->run->poll, f->poll.ctx = f->run->poll_ctx;
        f->poll.next = f->run->poll ? cmlp_now() + POLL_SECONDS : 0.0;
        int whole = cmlp_parallel(plan->layout->threads, fit_share, f);
        if (plan->opt)
            plan->opt->steps += f->done;
        status = whole ? f->status
                       : cmlp_fail(CMLP_E_FORKED,
                                   "the poll function forked; the call's other threads are the parent's");
        /* The last update of all is the one that no loss has judged. */
        if (f->keep_good && status == CMLP_OK && !finite_parameters(plan))
            status = CMLP_DIVERGED;
        if (f->keep_good)
            plan->has_good = f->kept;
        plan->norm_sum = f->norm_sum;
        if (status == CMLP_DIVERGED && f->kept)
            cmlp_put_back_good(plan);
    }
    if (!f->run->held)
        cmlp_layers_release(plan->layers, plan->n_layers);
    return status;
}

cmlp_status cmlp_fit(cmlp_plan *plan, const cmlp_data *data, cmlp_run *run)
{
    cmlp_status status = check_data(plan, data, SIZE_MAX / 4096);
    if (!status)
        status = check_run(plan, data, run);
    if (status)
        return status;
    run->n_losses = 0;
    fit f = {.plan = plan,
             .data = data,
             .run = run,
             .start = plan->cursor,
             .keep_good = 1,
             .kept = plan->has_good};
    f.end = f.start;
    f.end_epoch = f.start.epoch + run->epochs;
    status = run_fit(&f);
    if (status >= 0)
        plan->cursor = f.end;
    return status;
}

static cmlp_status one_step(cmlp_plan *plan, const cmlp_data *data, double lr, double momentum, double *loss)
{
    double losses[1];
    cmlp_run run = {
        .epochs = 1, .lr = &lr, .n_lr = 1, .momentum = &momentum, .n_momentum = 1, .losses = losses};
    fit f = {.plan = plan, .data = data, .run = &run, .end_epoch = 1};
    cmlp_status status = run_fit(&f);
    *loss = f.loss;
    return status;
}

cmlp_status cmlp_step(cmlp_plan *plan, const cmlp_data *data, double lr, double momentum, double *loss)
{
    NEED(loss);
    NEED(plan);
    cmlp_status status = check_data(plan, data, plan->layout->spec.batch);
    if (!status && !plan->opt)
        status = cmlp_fail(CMLP_E_ARGUMENT, "plan has no optimizer; expected one that trains");
    if (!status)
        status = cmlp_check_rate("lr", lr);
    if (!status)
        status = cmlp_check_rate("momentum", momentum);
    if (!status)
        status = cmlp_check_optimizer_spec(&plan->opt->spec);
    return status ? status : one_step(plan, data, lr, momentum, loss);
}

cmlp_status cmlp_gradient(cmlp_plan *plan, const cmlp_data *data, double *loss)
{
    NEED(loss);
    NEED(plan);
    cmlp_status status = check_data(plan, data, plan->layout->spec.batch);
    if (!status && plan->opt)
        status =
            cmlp_fail(CMLP_E_ARGUMENT, "plan has an optimizer; expected one without, that only computes");
    if (!status && plan->layout->spec.loss < 0)
        status = cmlp_fail(CMLP_E_ARGUMENT, "plan has no loss; expected one with");
    if (status)
        return status;
    plan->forward_rows = data->n;
    status = one_step(plan, data, 0.0, 0.0, loss);
    plan->forwards++;
    return status;
}

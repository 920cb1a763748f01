/* Many nets trained in one call: a queue of jobs, from which threads take whole nets. */
#include "poll.h"
#include "seat.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of held-out rows that are gathered at once. */
#define GATHER_BYTES ((size_t)256 << 10)
#define MESSAGE_BYTES 200

typedef struct {
    cmlp_job *jobs;
    size_t n;                     /* in the queue */
    const cmlp_many *settings;
    atomic_size_t next, done;
    _Atomic double best;          /* of the jobs that are done */
    atomic_int stop;
    atomic_int failed;            /* the first error has its place */
    cmlp_status error;
    size_t error_at;
    char message[MESSAGE_BYTES];
} queue;

/* What a thread trains with. */
typedef struct {
    queue *q;
    int asks; /* it is the calling thread */
    int n_threads; /* of a step */
    seat seat;
    char *scratch; /* for scores */
    size_t scratch_bytes;
    poller poll; /* between two jobs */
} worker;

static int ask(void *ctx)
{
    worker *w = ctx;
    queue *q = w->q;
    if (atomic_load(&q->stop))
        return 1;
    if (w->asks && q->settings->poll &&
        (q->settings->poll(q->settings->poll_ctx, atomic_load(&q->done), atomic_load(&q->best)) ||
         cmlp_orphaned()))
        atomic_store(&q->stop, 1);
    return atomic_load(&q->stop);
}

/* ---- scores ---- */

static void *room_for(worker *w, size_t bytes)
{
    if (bytes > w->scratch_bytes) {
        cmlp_free(w->scratch);
        w->scratch = cmlp_alloc(bytes);
        w->scratch_bytes = w->scratch ? bytes : 0;
    }
    return w->scratch;
}

/* Copies n rows of `bytes` each, from the places that `rows` has. */
static void gather(void *to, const void *from, const int64_t *rows, size_t n, size_t bytes)
{
    for (size_t r = 0; r < n; r++)
        memcpy((char *)to + r * bytes, (const char *)from + (size_t)rows[r] * bytes, bytes);
}

/* The mean loss of the job's held-out data; rows that are not one behind the other are gathered in pieces. */
static cmlp_status score(worker *w, const cmlp_job *job, double *loss)
{
    const cmlp_data *d = &job->held_out;
    const cmlp_net_spec *net = job->net;
    size_t size = cmlp_kernels_for(net->dtype)->size, n = d->n;
    size_t in = cmlp_net_inputs(net) * size, out = cmlp_net_outputs(net) * size;
    size_t target = d->labels ? sizeof *d->labels : out;
    size_t piece = d->rows ? cmlp_min(cmlp_max(GATHER_BYTES / in, 1), n) : n;
    size_t z_bytes = cmlp_round_up(n * out, CMLP_LINE), t_bytes = cmlp_round_up(n * target, CMLP_LINE),
           w_bytes = cmlp_round_up(n * size, CMLP_LINE);
    char *z = room_for(w, z_bytes + (d->rows ? t_bytes + w_bytes + piece * in : 0));
    if (!z)
        return cmlp_no_memory();
    char *t = z + z_bytes, *weight = t + t_bytes, *x = weight + w_bytes;
    cmlp_status status = CMLP_OK;
    for (size_t r = 0; !status && r < n; r += piece) {
        size_t rows = cmlp_min(piece, n - r);
        if (d->rows)
            gather(x, d->x, d->rows + r, rows, in);
        status = cmlp_predict(w->seat.plan, rows, d->rows ? x : d->x, 1, z + r * out);
    }
    if (status)
        return status;
    const void *targets = d->labels ? (const void *)d->labels : d->t, *weights = d->weight;
    if (d->rows) {
        gather(t, targets, d->rows, n, target);
        targets = t;
        if (weights)
            gather(weight, weights, d->rows, n, size), weights = weight;
    }
    const cmlp_shape shape = {net->dtype, n, cmlp_net_inputs(net), cmlp_net_outputs(net), 1};
    return cmlp_loss_delta(&shape, net->plan.loss, net->plan.loss_param, z, d->labels ? targets : NULL,
                           d->labels ? NULL : targets, weights, NULL, loss);
}

/* Takes note of an epoch's score; 1 where it is time to stop. */
static int note_score(worker *w, cmlp_job *job, double value)
{
    if (!isnan(value) && (isnan(job->best) || value < job->best - job->min_delta)) {
        job->best = value;
        job->best_epoch = cmlp_plan_cursor(w->seat.plan)->epoch;
        job->waited = 0;
        if (job->best_values)
            cmlp_flat_get(w->seat.layers, job->net->n_layers, CMLP_VALUES, job->best_values);
        return 0;
    }
    job->waited++;
    return job->patience && job->waited >= job->patience;
}

/* ---- a job ---- */

/* The job's net takes the seat. */
static cmlp_status sit_down(worker *w, const cmlp_job *job)
{
    cmlp_status status = cmlp_seat_for(&w->seat, job->net, job->optimizer.kind, w->n_threads);
    if (status)
        return status;
    cmlp_plan *plan = w->seat.plan;
    plan->seed = job->seed;
    plan->ordered = 0; /* in the order of another net's epoch */
    plan->cursor = job->cursor;
    plan->opt->spec = job->optimizer;
    plan->opt->steps = job->steps;
    status = cmlp_flat_set(w->seat.layers, job->net->n_layers, CMLP_VALUES, job->values);
    for (int slot = 0; slot < cmlp_optimizer_slots(job->optimizer.kind); slot++)
        if (job->slots[slot])
            cmlp_optimizer_set_slot(plan->opt, slot, job->slots[slot]);
        else
            memset(plan->opt->slots[slot], 0, plan->layout->block_bytes);
    return status ? status : cmlp_plan_set_good(plan, job->has_good ? job->good_values : NULL);
}

static void stand_up(worker *w, cmlp_job *job)
{
    cmlp_plan *plan = w->seat.plan;
    cmlp_flat_get(w->seat.layers, job->net->n_layers, CMLP_VALUES, job->values);
    for (int slot = 0; slot < cmlp_optimizer_slots(job->optimizer.kind); slot++)
        if (job->slots[slot])
            cmlp_optimizer_get_slot(plan->opt, slot, job->slots[slot]);
    job->steps = plan->opt->steps;
    job->cursor = plan->cursor;
    if (job->good_values)
        job->has_good = cmlp_plan_get_good(plan, job->good_values);
}

/* Values of the steps to come, where there is one for each. */
static const double *from_step(const double *values, size_t *n, uint64_t step)
{
    if (*n < 2)
        return values;
    *n -= step;
    return values + step;
}

/* Epoch by epoch, with a score after each. */
static cmlp_status fit_by_epochs(worker *w, cmlp_job *job, cmlp_run *run)
{
    cmlp_plan *plan = w->seat.plan;
    const uint64_t epochs = run->epochs, first = plan->opt->steps;
    cmlp_status status = CMLP_OK;
    uint64_t done = 0;
    for (int stops = 0; !status && !stops && done < epochs; done += run->n_losses) {
        uint64_t step = plan->opt->steps - first;
        cmlp_run one = *run;
        one.epochs = 1;
        one.losses = run->losses + done;
        one.lr = from_step(run->lr, &one.n_lr, step);
        if (run->momentum)
            one.momentum = from_step(run->momentum, &one.n_momentum, step);
        if (run->order)
            one.order = run->order + done * job->data.n;
        status = cmlp_fit(plan, &job->data, &one);
        run->n_losses = one.n_losses;
        if (!one.n_losses)
            break;
        /* An epoch whose last update alone diverged counts, and is scored with what was put back. */
        double value = one.losses[0];
        cmlp_status scored = job->held_out.n ? score(w, job, &value) : CMLP_OK;
        if (scored)
            return scored;
        if (job->held_out.n)
            job->scores[done] = value;
        stops = note_score(w, job, value);
    }
    run->n_losses = done;
    return status;
}

static void note_done(queue *q, const cmlp_job *job)
{
    uint64_t n = job->run.n_losses;
    double value = !isnan(job->best) ? job->best : n ? job->run.losses[n - 1] : NAN;
    double best = atomic_load(&q->best);
    while (!isnan(value) && (isnan(best) || value < best) &&
           !atomic_compare_exchange_weak(&q->best, &best, value))
        ;
    atomic_fetch_add(&q->done, 1);
}

/* The first error's message belongs to the thread in which it happened. */
static void note_error(queue *q, const cmlp_job *job)
{
    if (job->status >= 0 || atomic_exchange(&q->failed, 1))
        return;
    q->error = job->status;
    q->error_at = (size_t)(job - q->jobs);
    snprintf(q->message, sizeof q->message, "%s", cmlp_last_error());
}

static void train(worker *w, cmlp_job *job)
{
    double start = cmlp_now();
    job->run.n_losses = 0;
    job->status = sit_down(w, job);
    if (!job->status) {
        cmlp_run run = job->run;
        run.max_steps = 0, run.norms = NULL, run.held = 0, run.pause = NULL, run.epoch_rows = run.first = 0;
        run.poll = ask, run.poll_ctx = w;
        int looks = job->patience || job->held_out.n;
        job->status = looks ? fit_by_epochs(w, job, &run) : cmlp_fit(w->seat.plan, &job->data, &run);
        job->run.n_losses = run.n_losses;
        if (job->status >= 0)
            stand_up(w, job);
    }
    job->seconds = cmlp_now() - start;
    note_error(w->q, job);
    note_done(w->q, job);
}

/* ---- the queue ---- */

static void work(void *ctx, int thread, int n_threads)
{
    (void)n_threads;
    queue *q = ctx;
    worker w = {.q = q, .asks = thread == 0, .n_threads = 1};
    w.poll.ask = ask, w.poll.ctx = &w;
    size_t i;
    while (!atomic_load(&q->stop) && (i = atomic_fetch_add(&q->next, 1)) < q->n) {
        train(&w, &q->jobs[i]);
        poll_caller(&w.poll);
    }
    cmlp_seat_clear(&w.seat);
    cmlp_free(w.scratch);
    /* The others may be long, and the caller wants to be asked. */
    while (w.asks && !atomic_load(&q->stop) && atomic_load(&q->done) < q->n) {
        cmlp_rest();
        poll_caller(&w.poll);
    }
}

/* Whether each step of a net has work for so many threads. */
static int is_worth(const cmlp_job *job, int n_threads)
{
    double flops = 6.0 * cmlp_net_madds(job->net) * (double)job->net->plan.batch;
    return cmlp_threads_worth(n_threads, flops, FLOPS_PER_THREAD) >= n_threads;
}

/* The jobs that the queue would leave threads idle for, one after the other. */
static void work_on_rest(queue *q, size_t end, int n_threads)
{
    worker w = {.q = q, .asks = 1, .n_threads = n_threads};
    for (size_t i = q->n; i < end && !atomic_load(&q->stop); i++)
        train(&w, &q->jobs[i]);
    cmlp_seat_clear(&w.seat);
    cmlp_free(w.scratch);
}

static cmlp_status check_job(const cmlp_job *job, size_t i)
{
    char name[48];
    snprintf(name, sizeof name, "jobs[%zu].net", i);
    cmlp_status status = cmlp_check_net(job->net, name);
    if (status)
        return status;
    if (!job->values || !job->run.losses || !job->data.x)
        return cmlp_fail(CMLP_E_ARGUMENT, "jobs[%zu] has no %s; expected memory", i,
                         !job->values       ? "values"
                         : !job->run.losses ? "run.losses"
                                            : "data.x");
    if (job->held_out.n &&
        (!job->held_out.x || !job->scores || (job->held_out.labels != NULL) == (job->held_out.t != NULL)))
        return cmlp_fail(CMLP_E_ARGUMENT,
                         "jobs[%zu].held_out has rows; expected x, one of labels and t, and scores", i);
    status = cmlp_check_optimizer_spec(&job->optimizer);
    if (!status && cmlp_optimizer_slots(job->optimizer.kind) == 2 && !job->slots[0] != !job->slots[1])
        return cmlp_fail(CMLP_E_ARGUMENT, "jobs[%zu].slots has one; expected all or none", i);
    return status;
}

cmlp_status cmlp_fit_many(cmlp_job *jobs, size_t n_jobs, const cmlp_many *many)
{
    NEED(many);
    if (n_jobs)
        NEED(jobs);
    for (size_t i = 0; i < n_jobs; i++) {
        cmlp_status status = check_job(&jobs[i], i);
        if (status)
            return status;
    }
    int n_threads = cmlp_threads_for(many->n_threads);
    size_t n = n_jobs;
    while (n_threads > 1 && n_jobs - n < n_jobs % (size_t)n_threads && is_worth(&jobs[n - 1], n_threads))
        n--;
    for (size_t i = 0; i < n_jobs; i++)
        jobs[i].status = CMLP_PAUSED, jobs[i].run.n_losses = 0, jobs[i].seconds = 0.0;
    queue q = {.jobs = jobs, .n = n, .settings = many, .best = NAN};
    int whole = !n || cmlp_parallel((int)cmlp_min((size_t)n_threads, n), work, &q);
    if (!whole)
        return cmlp_fail(CMLP_E_FORKED,
                         "the poll function forked; the call's other threads are the parent's");
    work_on_rest(&q, n_jobs, n_threads);
    if (q.error)
        return cmlp_fail(q.error, "jobs[%zu]: %s", q.error_at, q.message);
    return atomic_load(&q.stop) ? CMLP_STOPPED : CMLP_OK;
}

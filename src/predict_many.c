/* Prediction of many nets on the same rows, with their mean and standard deviation. */
#include "poll.h"
#include "seat.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes of all nets' outputs that are kept at once where nobody wants them whole. */
#define OUTPUT_BYTES ((size_t)1 << 20)

typedef struct {
    const cmlp_net_spec *const *nets;
    const void *const *values;
    size_t n_nets, n, rows; /* rows: at once */
    size_t n_in, n_out, size;
    cmlp_dtype dtype;
    const char *x;
    int activation;
    char *outputs; /* (n_nets, n or rows, n_out) */
    int whole;     /* all rows of a net are kept */
    char *mean, *deviation;
    const cmlp_many *settings;
    poller poll;
    atomic_int status; /* the first error */
    cmlp_barrier barrier;
} ensemble;

static int ask(void *ctx)
{
    const ensemble *e = ctx;
    return e->settings->poll(e->settings->poll_ctx, 0, NAN);
}

/* Where a net's outputs from row r0 on are. */
static char *outputs_of(const ensemble *e, size_t net, size_t r0)
{
    size_t row = e->whole ? net * e->n + r0 : net * e->rows;
    return e->outputs + row * e->n_out * e->size;
}

static cmlp_status predict_one(const ensemble *e, seat *s, size_t net, size_t r0, size_t rows)
{
    cmlp_status status = cmlp_seat_for(s, e->nets[net], -1, 1);
    if (!status)
        status = cmlp_flat_set(s->layers, e->nets[net]->n_layers, CMLP_VALUES, e->values[net]);
    char *y = outputs_of(e, net, r0);
    if (!status)
        status = cmlp_predict(s->plan, rows, e->x + r0 * e->n_in * e->size, 0, y);
    if (status || e->activation == CMLP_IDENTITY)
        return status;
    const cmlp_shape shape = {e->dtype, rows, e->n_in, e->n_out, 1};
    return cmlp_activation_forward(&shape, e->activation, cmlp_activation_default(e->activation), y, y);
}

/* Of the outputs of some rows; net after net, so that no bit depends on the threads. */
static void summarize(const ensemble *e, size_t r0, size_t rows, int thread, int n_threads)
{
    size_t first, end, count = e->n_nets;
    share_of(rows * e->n_out, thread, n_threads, &first, &end);
    for (size_t i = first; i < end; i++) {
        double sum = 0.0, squares = 0.0;
        for (size_t net = 0; net < count; net++)
            sum += cmlp_element(e->dtype, outputs_of(e, net, r0), i);
        double mean = sum / (double)count;
        for (size_t net = 0; net < count; net++) {
            double off = cmlp_element(e->dtype, outputs_of(e, net, r0), i) - mean;
            squares += off * off;
        }
        if (e->mean)
            cmlp_set_element(e->dtype, e->mean, r0 * e->n_out + i, mean);
        if (e->deviation)
            cmlp_set_element(e->dtype, e->deviation, r0 * e->n_out + i, sqrt(squares / (double)count));
    }
}

static void predict_share(void *ctx, int thread, int n_threads)
{
    ensemble *e = ctx;
    seat s = {0};
    size_t first, end;
    share_of(e->n_nets, thread, n_threads, &first, &end);
    for (size_t r0 = 0; r0 < e->n; r0 += e->rows) {
        size_t rows = cmlp_min(e->rows, e->n - r0);
        for (size_t net = first; net < end && !is_stopped(&e->poll); net++) {
            cmlp_status status = predict_one(e, &s, net, r0, rows);
            if (status) {
                atomic_store(&e->status, status);
                atomic_store(&e->poll.stop, 1);
            }
            if (thread == 0)
                poll_caller(&e->poll);
        }
        cmlp_wait(&e->barrier, n_threads);
        if ((e->mean || e->deviation) && !is_stopped(&e->poll))
            summarize(e, r0, rows, thread, n_threads);
        cmlp_wait(&e->barrier, n_threads);
    }
    cmlp_seat_clear(&s);
}

static cmlp_status check_nets(const cmlp_net_spec *const *nets, const void *const *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[48];
        snprintf(name, sizeof name, "nets[%zu]", i);
        /* Most nets are of the same spec as the one before. */
        cmlp_status status = i && nets[i] == nets[i - 1] ? CMLP_OK : cmlp_check_net(nets[i], name);
        if (status)
            return status;
        if (!values[i])
            return cmlp_fail(CMLP_E_ARGUMENT, "values[%zu] is NULL", i);
        if (nets[i]->dtype != nets[0]->dtype || cmlp_net_inputs(nets[i]) != cmlp_net_inputs(nets[0]) ||
            cmlp_net_outputs(nets[i]) != cmlp_net_outputs(nets[0]))
            return cmlp_fail(CMLP_E_ARGUMENT,
                             "nets[%zu] has %zu inputs and %zu outputs; expected %zu and %zu, and the same "
                             "dtype, as nets[0]",
                             i, cmlp_net_inputs(nets[i]), cmlp_net_outputs(nets[i]), cmlp_net_inputs(nets[0]),
                             cmlp_net_outputs(nets[0]));
    }
    return CMLP_OK;
}

cmlp_status cmlp_predict_many(const cmlp_net_spec *const *nets, const void *const *values, size_t n_nets,
                              size_t n, const void *x, int activation, const cmlp_many *many, void *y,
                              void *mean, void *deviation)
{
    NEED(many);
    if (!n || !n_nets)
        return n_nets || !(mean || deviation)
                   ? CMLP_OK
                   : cmlp_fail(CMLP_E_ARGUMENT, "n_nets is 0; expected 1 or more, for a mean");
    NEED(nets);
    NEED(values);
    NEED(x);
    cmlp_status status = cmlp_check_activation("activation", activation);
    if (!status)
        status = check_nets(nets, values, n_nets);
    if (status)
        return status;
    ensemble e = {.nets = nets,
                  .values = values,
                  .n_nets = n_nets,
                  .n = n,
                  .x = x,
                  .outputs = y,
                  .n_in = cmlp_net_inputs(nets[0]),
                  .n_out = cmlp_net_outputs(nets[0]),
                  .dtype = nets[0]->dtype,
                  .activation = activation,
                  .whole = y != NULL,
                  .mean = mean,
                  .deviation = deviation,
                  .settings = many};
    e.size = cmlp_kernels_for(e.dtype)->size;
    size_t per_row = n_nets * e.n_out * e.size;
    e.rows = y ? n : cmlp_min(n, cmlp_max(OUTPUT_BYTES / per_row, ROW_BLOCK));
    if (!y && !(e.outputs = cmlp_alloc(e.rows * per_row)))
        return cmlp_no_memory();
    e.poll.ask = many->poll ? ask : NULL, e.poll.ctx = &e;
    int whole =
        cmlp_parallel((int)cmlp_min((size_t)cmlp_threads_for(many->n_threads), n_nets), predict_share, &e);
    if (!y)
        cmlp_free(e.outputs);
    if (!whole)
        return cmlp_fail(CMLP_E_FORKED,
                         "the poll function forked; the call's other threads are the parent's");
    status = (cmlp_status)atomic_load(&e.status);
    if (status)
        return status == CMLP_E_MEMORY ? cmlp_no_memory() : cmlp_fail(status, "a net cannot be made");
    return is_stopped(&e.poll) ? CMLP_STOPPED : CMLP_OK;
}

/* Seats: seat.h. */
#include "seat.h"

#include <stdlib.h>

cmlp_status cmlp_check_net(const cmlp_net_spec *net, const char *what)
{
    if (!net || !net->layers || !net->n_layers)
        return cmlp_fail(CMLP_E_ARGUMENT, "%s is %s; expected one with layers", what, net ? "empty" : "NULL");
    cmlp_status status = cmlp_check_dtype(net->dtype);
    for (size_t i = 0; !status && i < net->n_layers; i++)
        status = cmlp_check_layer_spec(&net->layers[i]);
    return status;
}

size_t cmlp_net_inputs(const cmlp_net_spec *net) { return net->layers[0].n_in; }
size_t cmlp_net_outputs(const cmlp_net_spec *net) { return net->layers[net->n_layers - 1].n_out; }

double cmlp_net_madds(const cmlp_net_spec *net)
{
    double sum = 0.0;
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer_kind *kind = cmlp_kind((int)net->layers[i].kind);
        sum += kind->madds ? kind->madds(&net->layers[i]) : 0.0;
    }
    return sum;
}

static cmlp_status make_layers(seat *s)
{
    const cmlp_net_spec *net = s->net;
    s->layers = calloc(net->n_layers, sizeof *s->layers);
    cmlp_status status = s->layers ? CMLP_OK : cmlp_no_memory();
    for (size_t i = 0; !status && i < net->n_layers; i++) {
        status = cmlp_layer_new(net->dtype, &net->layers[i], &s->layers[i]);
        if (!status && net->frozen && net->frozen[i])
            cmlp_layer_set_trainable(s->layers[i], 0);
    }
    return status ? status : cmlp_layers_join(s->layers, net->n_layers);
}

cmlp_status cmlp_seat_for(seat *s, const cmlp_net_spec *net, int kind, int n_threads)
{
    if (s->net == net && s->kind == kind && s->n_threads == n_threads)
        return CMLP_OK;
    cmlp_seat_clear(s);
    *s = (seat){.net = net, .kind = kind, .n_threads = n_threads};
    cmlp_status status = make_layers(s);
    if (!status && kind >= 0) {
        const cmlp_optimizer_spec usual = cmlp_optimizer_defaults(kind);
        status = cmlp_optimizer_new(&usual, s->layers, net->n_layers, &s->opt);
    }
    cmlp_plan_spec spec = net->plan;
    spec.n_threads = n_threads;
    if (kind < 0)
        spec.loss = -1;
    if (!status)
        status = cmlp_plan_new(&spec, s->layers, net->n_layers, s->opt, &s->plan);
    if (status)
        cmlp_seat_clear(s);
    return status;
}

void cmlp_seat_clear(seat *s)
{
    cmlp_plan_free(s->plan);
    cmlp_optimizer_free(s->opt);
    for (size_t i = 0; s->layers && i < s->net->n_layers; i++)
        cmlp_layer_free(s->layers[i]);
    free(s->layers);
    *s = (seat){0};
}

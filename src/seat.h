/* A seat: the memory of one net, in which nets of the same shapes take turns. */
#ifndef CMLP_SEAT_H
#define CMLP_SEAT_H

#include "plan.h"

typedef struct {
    const cmlp_net_spec *net; /* NULL: nobody can sit here yet */
    int kind;                 /* of the optimizer; -1: none */
    int n_threads;
    cmlp_layer **layers;
    cmlp_optimizer *opt;
    cmlp_plan *plan;
} seat;

/* Whether such nets make sense: names the argument as `what`. */
cmlp_status cmlp_check_net(const cmlp_net_spec *net, const char *what);
size_t cmlp_net_inputs(const cmlp_net_spec *net);
size_t cmlp_net_outputs(const cmlp_net_spec *net);
/* Multiply-adds of a row forward. */
double cmlp_net_madds(const cmlp_net_spec *net);

/* Makes it one for nets of this spec, which is told by its address.  An error leaves it empty. */
cmlp_status cmlp_seat_for(seat *s, const cmlp_net_spec *net, int kind, int n_threads);
/* Frees what is in it; a seat of zeros is empty. */
void cmlp_seat_clear(seat *s);

#endif

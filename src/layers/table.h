/* Tables of connections: which input planes of a convolution feed which output planes. */
#ifndef CMLP_TABLE_H
#define CMLP_TABLE_H

#include "../internal.h"

/* The connections of each output, and of each input, both in order.  Weights exist for connections alone, in
 * the order of the outputs' lists.  Never changed; counted by users. */
typedef struct {
    atomic_size_t users;
    size_t inputs, outputs, n;    /* planes, and connections */
    const unsigned char *present; /* (outputs, inputs) */
    const uint32_t *first, *from; /* inputs of output c: from[first[c]] to from[first[c + 1]], without it */
    const uint32_t *first_back, *to; /* outputs of input q, likewise */
    const uint32_t *output;       /* of each connection */
    const uint32_t *place;        /* of each connection in the inputs' lists */
} cmlp_table;

/* A copy of the caller's zeros and ones; NULL without memory. */
cmlp_table *cmlp_table_new(size_t outputs, size_t inputs, const unsigned char *present);
cmlp_table *cmlp_table_use(cmlp_table *t);
void cmlp_table_leave(cmlp_table *t); /* may be NULL */
size_t cmlp_connections(size_t outputs, size_t inputs, const unsigned char *present);

#endif

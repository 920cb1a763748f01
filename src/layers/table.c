/* Tables of connections: table.h. */
#include "table.h"

#include <stdlib.h>
#include <string.h>

size_t cmlp_connections(size_t outputs, size_t inputs, const unsigned char *present)
{
    size_t n = 0;
    for (size_t i = 0; i < outputs * inputs; i++)
        n += present[i] != 0;
    return n;
}

/* Lists of what each of `owners` is connected with; element (o, i) of the table is at o * step + i * across.
 */
static void list(size_t owners, size_t others, const unsigned char *present, size_t step, size_t across,
                 uint32_t *first, uint32_t *other)
{
    size_t n = 0;
    for (size_t o = 0; o < owners; o++) {
        first[o] = (uint32_t)n;
        for (size_t i = 0; i < others; i++)
            if (present[o * step + i * across])
                other[n++] = (uint32_t)i;
    }
    first[owners] = (uint32_t)n;
}

/* Of each connection, in the order of the outputs' lists, its output and its place in the inputs' lists. */
static void find_places(const cmlp_table *t, uint32_t *output, uint32_t *place)
{
    for (size_t c = 0; c < t->outputs; c++)
        for (size_t i = t->first[c]; i < t->first[c + 1]; i++) {
            output[i] = (uint32_t)c;
            for (size_t k = t->first_back[t->from[i]]; k < t->first_back[t->from[i] + 1]; k++)
                if (t->to[k] == c)
                    place[i] = (uint32_t)k;
        }
}

cmlp_table *cmlp_table_new(size_t outputs, size_t inputs, const unsigned char *present)
{
    size_t n = cmlp_connections(outputs, inputs, present), numbers = outputs + inputs + 2 + 4 * n;
    cmlp_table *t = calloc(1, sizeof *t + numbers * sizeof(uint32_t) + outputs * inputs);
    if (!t)
        return NULL;
    uint32_t *first = (uint32_t *)(t + 1), *first_back = first + outputs + 1, *from = first_back + inputs + 1;
    uint32_t *to = from + n, *output = to + n, *place = output + n;
    unsigned char *copy = (unsigned char *)(place + n);
    for (size_t i = 0; i < outputs * inputs; i++)
        copy[i] = present[i] != 0;
    list(outputs, inputs, copy, inputs, 1, first, from);
    list(inputs, outputs, copy, 1, inputs, first_back, to);
    *t = (cmlp_table){.users = 1,
                      .inputs = inputs,
                      .outputs = outputs,
                      .n = n,
                      .present = copy,
                      .first = first,
                      .from = from,
                      .first_back = first_back,
                      .to = to,
                      .output = output,
                      .place = place};
    find_places(t, output, place);
    return t;
}

cmlp_table *cmlp_table_use(cmlp_table *t)
{
    if (t)
        atomic_fetch_add(&t->users, 1);
    return t;
}

void cmlp_table_leave(cmlp_table *t)
{
    if (t && atomic_fetch_sub(&t->users, 1) == 1)
        free(t);
}

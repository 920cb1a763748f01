/* Names and defaults of activations, losses and optimizers, and which loss accepts which output activation.
 */
#include "cmlp.h"

#include <string.h>

typedef struct {
    const char *name;
    double param; /* the default; CMLP_NO_PARAM */
    int extra;    /* losses: on logits; optimizers: slots */
} entry;

#define ACTIVATION_ENTRY(id, name, default_p, source, f, df) {name, default_p, 0},
#define LOSS_ENTRY(id, name, default_p, on_logits, value, slope) {name, default_p, on_logits},
#define OPTIMIZER_ENTRY(id, name, first, second, body) {name, CMLP_NO_PARAM, CMLP_SLOTS(first, second)},
static const entry activations[] = {CMLP_ACTIVATIONS(ACTIVATION_ENTRY){"softmax", CMLP_NO_PARAM, 0}};
static const entry losses[] = {CMLP_LOSSES(LOSS_ENTRY){"softmax_cross_entropy", 0.0, 1}};
static const entry optimizers[] = {CMLP_OPTIMIZERS(OPTIMIZER_ENTRY)};

static int id_of(const entry *table, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0)
            return i;
    return -1;
}

int cmlp_activation_id(const char *name) { return id_of(activations, CMLP_N_ACTIVATIONS, name); }
int cmlp_loss_id(const char *name) { return id_of(losses, CMLP_N_LOSSES, name); }
int cmlp_optimizer_id(const char *name) { return id_of(optimizers, CMLP_N_OPTIMIZERS, name); }

static const entry *at(const entry *table, int n, int id) { return id >= 0 && id < n ? table + id : NULL; }

const char *cmlp_activation_name(int id)
{
    const entry *e = at(activations, CMLP_N_ACTIVATIONS, id);
    return e ? e->name : NULL;
}

double cmlp_activation_default(int id)
{
    const entry *e = at(activations, CMLP_N_ACTIVATIONS, id);
    return e ? e->param : CMLP_NO_PARAM;
}

const char *cmlp_loss_name(int id)
{
    const entry *e = at(losses, CMLP_N_LOSSES, id);
    return e ? e->name : NULL;
}

double cmlp_loss_default(int id)
{
    const entry *e = at(losses, CMLP_N_LOSSES, id);
    return e ? e->param : CMLP_NO_PARAM;
}

const char *cmlp_optimizer_name(int id)
{
    const entry *e = at(optimizers, CMLP_N_OPTIMIZERS, id);
    return e ? e->name : NULL;
}

int cmlp_optimizer_slots(int id)
{
    const entry *e = at(optimizers, CMLP_N_OPTIMIZERS, id);
    return e ? e->extra : -1;
}

#define SLOT_NAMES(id, name, first, second, body) {first, second},
const char *cmlp_optimizer_slot_name(int id, int slot)
{
    static const char *const names[][2] = {CMLP_OPTIMIZERS(SLOT_NAMES)};
    return slot >= 0 && slot < cmlp_optimizer_slots(id) ? names[id][slot] : NULL;
}

cmlp_pair cmlp_pair_mode(int activation, int loss)
{
    if (activation == CMLP_STEP)
        return CMLP_REFUSED;
    if (activation == CMLP_IDENTITY || (activation == CMLP_SIGMOID && loss == CMLP_BINARY_CROSS_ENTROPY) ||
        (activation == CMLP_SOFTMAX && loss == CMLP_SOFTMAX_CROSS_ENTROPY))
        return CMLP_FUSED;
    return losses[loss].extra ? CMLP_REFUSED : CMLP_CHAIN;
}

/* Processors: how many threads may run at once, and where. */
#ifndef CMLP_PROCESSORS_H
#define CMLP_PROCESSORS_H

#include <stddef.h>

/* Linux gives the set of processors of a thread as bits, as many as the kernel was started with. */
#define MOST_PROCESSORS 4096
#define PROCESSOR_BITS (8 * sizeof(unsigned long))

typedef struct {
    size_t bytes; /* of bits in use; 0: the system has no such sets, or one too large for us */
    unsigned long bits[MOST_PROCESSORS / PROCESSOR_BITS];
} cmlp_processors;

/* How many threads the calling one may use at once, itself among them: 1 or more, INT_MAX with the limit off.
 * *set gets the processors that they may run on. */
int cmlp_most_threads(cmlp_processors *set);

/* Processors' worth of time that control groups leave this process, rounded up; 0: no limit.  membership:
 * /proc/self/cgroup; mount: /sys/fs/cgroup (parameters for the tests). */
int cmlp_cgroup_processors(const char *membership, const char *mount);

#endif

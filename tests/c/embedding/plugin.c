/* A plug-in with the library in it. */
#include "job.h"

uint64_t plugin_run(int n_threads, int limited);
uint64_t plugin_run(int n_threads, int limited)
{
    cmlp_limit_threads(limited);
    return job_run(n_threads);
}

/* What went wrong in the last call of each thread that failed. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char message[512];

const char *cmlp_strerror(cmlp_status status)
{
    switch (status) {
    case CMLP_OK:
        return "no error";
    case CMLP_PAUSED:
        return "the number of steps asked for is done";
    case CMLP_STOPPED:
        return "stopped by the poll function";
    case CMLP_DIVERGED:
        return "the loss became NaN or infinite";
    case CMLP_E_MEMORY:
        return "out of memory";
    case CMLP_E_ARGUMENT:
        return "an argument is out of its range";
    case CMLP_E_PAIR:
        return "the loss does not go with the output activation";
    case CMLP_E_BUSY:
        return "a layer is being trained by another call";
    case CMLP_E_FORKED:
        return "forked within the call";
    case CMLP_E_FILE:
        return "a file cannot be opened, read or written";
    case CMLP_E_FORMAT:
        return "a file is damaged, or not a model file";
    }
    return "unknown status";
}

const char *cmlp_last_error(void) { return message; }

cmlp_status cmlp_fail(cmlp_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return status;
}

cmlp_status cmlp_no_memory(void) { return cmlp_fail(CMLP_E_MEMORY, "out of memory"); }

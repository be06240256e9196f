#include "prefetch_queue.h"

_Thread_local prefetch_queue cpu_prefetch_queue;

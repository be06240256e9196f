#include "asked.h"

_Thread_local asked_rows cpu_asked_rows;

// All entries of the table in include/CPUKernels.h but those of bfloat16, as lines ENTRY(result, name, parameters):
// its fields there, its initial values in bodies/table.h.
#include "tensors.h"
#include "attention.h"
#include "recurrences.h"
#include "scans.h"

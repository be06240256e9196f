// Reporting the results of the tests.
#pragma once

#include <stddef.h>

// Records a wrong element `index` of `what`; only the first of an entry and table is printed.
void fail(const char *what, size_t index, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Records an error and its fraction of the allowed one.
void worst(double share, double error);
// Ends the run: the tests themselves are wrong, or the machine cannot run them.
void give_up(const char *why) __attribute__((noreturn));
// Checks the margins of the memory of the last case and releases it.
void release_memory(void);

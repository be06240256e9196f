#include "swift_attention.h"

// Package builds compile C as the compiler's default standard, in which #embed is an extension.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const char header[] = {
#embed "include/swift_attention.h" suffix(, 0)
};

const char *sa_header(void) { return header; }

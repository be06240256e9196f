#ifndef INTERFACE_ERROR_H
#define INTERFACE_ERROR_H

/// Keeps a copy of `text` as what sa_error() gives to this thread.
void interface_set_error(const char *text);

#endif

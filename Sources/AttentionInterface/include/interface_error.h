#ifndef INTERFACE_ERROR_H
#define INTERFACE_ERROR_H

/// Keeps a copy of `text` as what sa_error() gives to this thread.
void interface_set_error(const char *text);

/// The same of a text that is to be freed, not copied.
void interface_keep_error(char *text);

/// What sa_error() gives to this thread, which forgets it; to be freed. NULL if there is none.
char *interface_take_error(void);

#endif

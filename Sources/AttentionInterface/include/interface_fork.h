#ifndef INTERFACE_FORK_H
#define INTERFACE_FORK_H

// A process that is forked has only the thread that forked it: locks that others held then are never
// given back. So forking waits until no call is under way, and no call begins while it lasts.

/// Begins a call.
///
/// Returns 1 in the first call of a process that was forked: the threads of its parent are not in it.
int interface_enter(void);

/// Ends a call.
void interface_leave(void);

#endif

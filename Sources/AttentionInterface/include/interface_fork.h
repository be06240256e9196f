#ifndef INTERFACE_FORK_H
#define INTERFACE_FORK_H

// A process that is forked has only the thread that forked it: locks that others held then are never
// given back. So forking waits until no call is under way, and no call begins while it lasts.

/// Begins a call. In a process that was forked, `forget_parent` runs before the first one, alone: the threads
/// of its parent are not in it.
void interface_enter(void (*forget_parent)(void));

/// Ends a call.
void interface_leave(void);

#endif

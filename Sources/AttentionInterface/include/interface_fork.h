#ifndef INTERFACE_FORK_H
#define INTERFACE_FORK_H

// A process that is forked has only the thread that forked it. What others held then is never given back, so
// forking waits until no call is under way, and no call begins while it lasts. And that thread still takes
// itself for the one of the parent: Swift's run-time remembers the number of a thread, and its locks and
// globals keep the number of who holds them. So calls of that thread run on another, started for them.

/// Runs `body` on `context` as a call. In a process that was forked, `forget_parent` runs before the first one,
/// alone: the threads of its parent are not in it.
///
/// Returns 0; or what pthread_create does where a new thread is needed and there is none: nothing was run, and
/// the message of the error is set.
int interface_run(void (*forget_parent)(void), void (*body)(void *), void *context);

#endif

// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

// Clang's thread-safety attributes by their usual names (clang.llvm.org/docs/ThreadSafetyAnalysis);
// nothing under g++. The clang build checks them with -Wthread-safety. A capability is a lock, or
// the event loop that a class is bound to: code has it while it holds the lock, or runs on the
// loop.

#if defined(__clang__)
#define LUNAR_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define LUNAR_THREAD_ATTRIBUTE(x)
#endif

// --- on classes
// Objects of the class are capabilities; `name` is how diagnostics call them: "mutex".
#define CAPABILITY(name) LUNAR_THREAD_ATTRIBUTE(capability(name))
// The constructor takes a capability that the destructor gives up.
#define SCOPED_CAPABILITY LUNAR_THREAD_ATTRIBUTE(scoped_lockable)

// --- on members
// The member, or what the pointer points to, is used only by code that has capability x.
#define GUARDED_BY(x) LUNAR_THREAD_ATTRIBUTE(guarded_by(x))
#define PT_GUARDED_BY(x) LUNAR_THREAD_ATTRIBUTE(pt_guarded_by(x))

// --- on functions
// The caller has the capabilities, and still has them afterwards; or has none of them.
#define REQUIRES(...) LUNAR_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) LUNAR_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
// The call takes the capabilities; gives them up; takes them if it returns its first argument.
#define ACQUIRE(...) LUNAR_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) LUNAR_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) LUNAR_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
// The call ends the program unless its thread has the capability: from there on it is taken as had.
#define ASSERT_CAPABILITY(x) LUNAR_THREAD_ATTRIBUTE(assert_capability(x))
// What the call returns is capability x.
#define RETURN_CAPABILITY(x) LUNAR_THREAD_ATTRIBUTE(lock_returned(x))
// The body is not checked. The place says why.
#define NO_THREAD_SAFETY_ANALYSIS LUNAR_THREAD_ATTRIBUTE(no_thread_safety_analysis)

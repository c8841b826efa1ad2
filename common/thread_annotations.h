// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

// Clang's thread-safety attributes by their usual names; nothing under g++. Checked by
// -Wthread-safety in the clang build. A capability is a lock, or the loop a class is bound to.

#if defined(__clang__)
#define LUNAR_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define LUNAR_THREAD_ATTRIBUTE(x)
#endif

#define CAPABILITY(name) LUNAR_THREAD_ATTRIBUTE(capability(name))
#define SCOPED_CAPABILITY LUNAR_THREAD_ATTRIBUTE(scoped_lockable)
#define GUARDED_BY(x) LUNAR_THREAD_ATTRIBUTE(guarded_by(x))
#define PT_GUARDED_BY(x) LUNAR_THREAD_ATTRIBUTE(pt_guarded_by(x))
#define REQUIRES(...) LUNAR_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) LUNAR_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) LUNAR_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) LUNAR_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) LUNAR_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define ASSERT_CAPABILITY(x) LUNAR_THREAD_ATTRIBUTE(assert_capability(x))
#define RETURN_CAPABILITY(x) LUNAR_THREAD_ATTRIBUTE(lock_returned(x))
#define NO_THREAD_SAFETY_ANALYSIS LUNAR_THREAD_ATTRIBUTE(no_thread_safety_analysis)

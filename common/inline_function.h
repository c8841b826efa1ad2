// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <new>  // placement
#include <type_traits>
#include <utility>

#include "common/check.h"

namespace lunar {

namespace internal {

// What InlineFunction and UniqueFunction know of the callable that lies in their storage: one table
// for each type of callable. Immutable.
template <typename R, typename... Args>
struct CallTable {
  R (*call)(void*, Args&&...);
  void (*move)(void* from, void* to) noexcept;  // `to` is raw memory; destroys `from`
  void (*destroy)(void*) noexcept;
};

// Whether a callable of this type can be empty itself, and says so when it is converted to bool.
template <typename Callable>
inline constexpr bool kMayBeEmpty = std::is_pointer_v<Callable>;

}  // namespace internal

// One of the two kinds of stored function (the other: UniqueFunction):
//   InlineFunction<void(std::error_code)> done = [this](std::error_code error) { finish(error); };
template <typename Signature>
class InlineFunction;

// A callable that is moved, never copied, and kept in place, for the path of an IO: it never
// allocates, because a capture above kInlineBytes does not compile. What does not fit belongs into
// the op, whose pointer is captured instead. Elsewhere, where a callback may hold more,
// UniqueFunction is the one to take. Not thread-safe. Owns what the callable captured and destroys
// it with itself, wherever that happens.
template <typename R, typename... Args>
class InlineFunction<R(Args...)> {
 public:
  // The most that may be captured: eight pointers.
  static constexpr std::size_t kInlineBytes = 64;

  // Empty: must not be called. nullptr is the way to say so at a call site.
  InlineFunction() noexcept = default;
  InlineFunction(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)

  // Takes the callable. Its move constructor must not throw, which the compiler checks. What is
  // made of another kind of stored function that is empty, or of a null pointer, is empty.
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, InlineFunction> &&
           std::is_invocable_r_v<R, std::remove_cvref_t<F>&, Args...>)
      InlineFunction(F&& callable) {  // NOLINT(google-explicit-constructor)
    using Callable = std::remove_cvref_t<F>;
    static_assert(sizeof(Callable) <= kInlineBytes, "capture less, or keep the state in the op");
    // Moving this object must not throw either.
    static_assert(std::is_nothrow_move_constructible_v<Callable>);
    if constexpr (internal::kMayBeEmpty<Callable>) {
      if (!callable) return;
    }
    ::new (static_cast<void*>(storage_)) Callable(std::forward<F>(callable));
    table_ = &kTableOf<Callable>;
  }

  // The other one is empty afterwards.
  InlineFunction(InlineFunction&& other) noexcept { take(other); }
  // Destroys what was held.
  InlineFunction& operator=(InlineFunction&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  InlineFunction(const InlineFunction&) = delete;
  InlineFunction& operator=(const InlineFunction&) = delete;
  ~InlineFunction() { reset(); }

  // True unless it is empty.
  explicit operator bool() const noexcept { return table_ != nullptr; }

  // Calls it; it stays, and can be called again. The callable may destroy this object only if it
  // touches nothing that it captured afterwards. REQUIRES: not empty.
  R operator()(Args... args) {
    LUNAR_CHECK(table_ != nullptr, "call of an empty InlineFunction");
    return table_->call(storage_, std::forward<Args>(args)...);
  }

  // Destroys the callable with what it captured; empty afterwards.
  void reset() noexcept {
    if (table_ != nullptr) std::exchange(table_, nullptr)->destroy(storage_);
  }

 private:
  // For this type of callable, which lies in storage_ itself.
  template <typename Callable>
  static constexpr internal::CallTable<R, Args...> kTableOf = {
      // call, move, destroy
      [](void* self, Args&&... args) -> R {
        return static_cast<R>((*static_cast<Callable*>(self))(std::forward<Args>(args)...));
      },
      [](void* from, void* to) noexcept {
        auto* callable = static_cast<Callable*>(from);
        ::new (to) Callable(std::move(*callable));
        callable->~Callable();
      },
      [](void* self) noexcept { static_cast<Callable*>(self)->~Callable(); }};

  // REQUIRES: this is empty.
  void take(InlineFunction& other) noexcept {
    table_ = std::exchange(other.table_, nullptr);
    if (table_ != nullptr) table_->move(other.storage_, storage_);
  }

  alignas(std::max_align_t) std::byte storage_[kInlineBytes];  // raw while table_ is null
  const internal::CallTable<R, Args...>* table_ = nullptr;     // null: empty
};

template <typename Signature>
inline constexpr bool internal::kMayBeEmpty<InlineFunction<Signature>> = true;

}  // namespace lunar

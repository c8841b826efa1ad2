// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "common/check.h"

namespace lunar {

template <typename Signature>
class InlineFunction;

// A callable that is moved, never copied, and kept in place, for the path of an IO: it never
// allocates, because a capture above kInlineBytes does not compile. Elsewhere, where a callback may
// hold more, UniqueFunction is the one to take. Not thread-safe. Owns what the callable captured.
template <typename R, typename... Args>
class InlineFunction<R(Args...)> {
 public:
  static constexpr std::size_t kInlineBytes = 64;

  InlineFunction() noexcept = default;
  InlineFunction(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)

  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, InlineFunction> &&
           std::is_invocable_r_v<R, std::remove_cvref_t<F>&, Args...>)
      InlineFunction(F&& callable) {  // NOLINT(google-explicit-constructor)
    using Callable = std::remove_cvref_t<F>;
    static_assert(sizeof(Callable) <= kInlineBytes, "capture less, or keep the state in the op");
    static_assert(std::is_nothrow_move_constructible_v<Callable>);
    ::new (static_cast<void*>(storage_)) Callable(std::forward<F>(callable));
    table_ = &kTableOf<Callable>;
  }

  InlineFunction(InlineFunction&& other) noexcept { take(other); }
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

  explicit operator bool() const noexcept { return table_ != nullptr; }

  // REQUIRES: not empty.
  R operator()(Args... args) {
    LUNAR_CHECK(table_ != nullptr, "call of an empty InlineFunction");
    return table_->call(storage_, std::forward<Args>(args)...);
  }

  void reset() noexcept {
    if (table_ != nullptr) std::exchange(table_, nullptr)->destroy(storage_);
  }

 private:
  struct Table {
    R (*call)(void*, Args&&...);
    void (*move)(void* from, void* to) noexcept;  // destroys `from`
    void (*destroy)(void*) noexcept;
  };

  template <typename Callable>
  static constexpr Table kTableOf = {
      [](void* self, Args&&... args) -> R {
        return static_cast<R>((*static_cast<Callable*>(self))(std::forward<Args>(args)...));
      },
      [](void* from, void* to) noexcept {
        auto* callable = static_cast<Callable*>(from);
        ::new (to) Callable(std::move(*callable));
        callable->~Callable();
      },
      [](void* self) noexcept { static_cast<Callable*>(self)->~Callable(); }};

  void take(InlineFunction& other) noexcept {
    table_ = std::exchange(other.table_, nullptr);
    if (table_ != nullptr) table_->move(other.storage_, storage_);
  }

  alignas(std::max_align_t) std::byte storage_[kInlineBytes];
  const Table* table_ = nullptr;
};

}  // namespace lunar

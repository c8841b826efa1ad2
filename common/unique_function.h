// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "common/check.h"

namespace lunar {

template <typename Signature>
class UniqueFunction;

// A callable that is moved, never copied, and may capture as much as it likes: above kInlineBytes
// it is kept on the heap. For what is not on the path of an IO; there InlineFunction is the one to
// take. Fits into an InlineFunction's capture, as an InlineFunction fits into this one's. Not
// thread-safe. Owns what the callable captured.
template <typename R, typename... Args>
class UniqueFunction<R(Args...)> {
 public:
  static constexpr std::size_t kInlineBytes = 3 * sizeof(void*);

  UniqueFunction() noexcept = default;
  UniqueFunction(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)

  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, UniqueFunction> &&
           std::is_invocable_r_v<R, std::remove_cvref_t<F>&, Args...>)
      UniqueFunction(F&& callable) {  // NOLINT(google-explicit-constructor)
    using Callable = std::remove_cvref_t<F>;
    if constexpr (kIsInline<Callable>) {
      ::new (static_cast<void*>(storage_)) Callable(std::forward<F>(callable));
    } else {
      ::new (static_cast<void*>(storage_)) Callable*(new Callable(std::forward<F>(callable)));
    }
    table_ = &kTableOf<Callable>;
  }

  UniqueFunction(UniqueFunction&& other) noexcept { take(other); }
  UniqueFunction& operator=(UniqueFunction&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  UniqueFunction(const UniqueFunction&) = delete;
  UniqueFunction& operator=(const UniqueFunction&) = delete;
  ~UniqueFunction() { reset(); }

  explicit operator bool() const noexcept { return table_ != nullptr; }

  // REQUIRES: not empty.
  R operator()(Args... args) {
    LUNAR_CHECK(table_ != nullptr, "call of an empty UniqueFunction");
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
  static constexpr bool kIsInline =
      sizeof(Callable) <= kInlineBytes &&
      alignof(Callable) <= alignof(void*) && std::is_nothrow_move_constructible_v<Callable>;

  template <typename Callable>
  static Callable& callable_in(void* storage) noexcept {
    if constexpr (kIsInline<Callable>) {
      return *static_cast<Callable*>(storage);
    } else {
      return **static_cast<Callable**>(storage);
    }
  }

  template <typename Callable>
  static constexpr Table kTableOf = {
      [](void* self, Args&&... args) -> R {
        return static_cast<R>(callable_in<Callable>(self)(std::forward<Args>(args)...));
      },
      [](void* from, void* to) noexcept {
        if constexpr (kIsInline<Callable>) {
          auto* callable = static_cast<Callable*>(from);
          ::new (to) Callable(std::move(*callable));
          callable->~Callable();
        } else {
          ::new (to) Callable*(*static_cast<Callable**>(from));
        }
      },
      [](void* self) noexcept {
        if constexpr (kIsInline<Callable>) {
          static_cast<Callable*>(self)->~Callable();
        } else {
          delete *static_cast<Callable**>(self);
        }
      }};

  void take(UniqueFunction& other) noexcept {
    table_ = std::exchange(other.table_, nullptr);
    if (table_ != nullptr) table_->move(other.storage_, storage_);
  }

  alignas(void*) std::byte storage_[kInlineBytes];
  const Table* table_ = nullptr;
};

}  // namespace lunar

// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <new>  // placement
#include <type_traits>
#include <utility>

#include "common/check.h"
#include "common/inline_function.h"

namespace lunar {

// One of the two kinds of stored function (the other: InlineFunction):
//   void open(std::string name, UniqueFunction<void(Outcome<Image>)> done);
template <typename Signature>
class UniqueFunction;

// A callable that is moved, never copied, and may capture as much as it likes: above kInlineBytes
// it is kept on the heap, one allocation when it is made and none when it is moved. For what is not
// on the path of an IO; there InlineFunction is the one to take. Fits into an InlineFunction's
// capture (it is 32 bytes itself), as an InlineFunction fits into this one's. Not thread-safe. Owns
// what the callable captured and destroys it with itself, wherever that happens.
template <typename R, typename... Args>
class UniqueFunction<R(Args...)> {
 public:
  // What may be captured without an allocation: three pointers, as in [this, shared_ptr].
  static constexpr std::size_t kInlineBytes = 3 * sizeof(void*);

  // Empty: must not be called. nullptr is the way to say so at a call site.
  UniqueFunction() noexcept = default;
  UniqueFunction(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)

  // Takes the callable: by moving it, or by copying it if it is an lvalue. What is made of another
  // kind of stored function that is empty, or of a null pointer, is empty.
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, UniqueFunction> &&
           std::is_invocable_r_v<R, std::remove_cvref_t<F>&, Args...>)
      UniqueFunction(F&& callable) {  // NOLINT(google-explicit-constructor)
    using Callable = std::remove_cvref_t<F>;
    if constexpr (internal::kMayBeEmpty<Callable>) {
      if (!callable) return;
    }
    if constexpr (kIsInline<Callable>) {
      ::new (static_cast<void*>(storage_)) Callable(std::forward<F>(callable));
    } else {
      ::new (static_cast<void*>(storage_)) Callable*(new Callable(std::forward<F>(callable)));
    }
    table_ = &kTableOf<Callable>;
  }

  // The other one is empty afterwards.
  UniqueFunction(UniqueFunction&& other) noexcept { take(other); }
  // Destroys what was held.
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

  // True unless it is empty.
  explicit operator bool() const noexcept { return table_ != nullptr; }

  // Calls it; it stays, and can be called again. The callable may destroy this object only if it
  // touches nothing that it captured afterwards. REQUIRES: not empty.
  R operator()(Args... args) {
    LUNAR_CHECK(table_ != nullptr, "call of an empty UniqueFunction");
    return table_->call(storage_, std::forward<Args>(args)...);
  }

  // Destroys the callable with what it captured; empty afterwards.
  void reset() noexcept {
    if (table_ != nullptr) std::exchange(table_, nullptr)->destroy(storage_);
  }

 private:
  // What lies in the storage is the callable if this is true, else a pointer to it. A callable
  // whose move may throw goes to the heap too, so that moving this object never throws.
  template <typename Callable>
  static constexpr bool kIsInline =
      sizeof(Callable) <= kInlineBytes &&
      alignof(Callable) <= alignof(void*) && std::is_nothrow_move_constructible_v<Callable>;

  // The callable, wherever it is.
  template <typename Callable>
  static Callable& callable_in(void* storage) noexcept {
    if constexpr (kIsInline<Callable>) {
      return *static_cast<Callable*>(storage);
    } else {
      return **static_cast<Callable**>(storage);
    }
  }

  // How to call, move and destroy this type of callable.
  template <typename Callable>
  static constexpr internal::CallTable<R, Args...> kTableOf = {
      // call, move, destroy
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

  // REQUIRES: this is empty.
  void take(UniqueFunction& other) noexcept {
    table_ = std::exchange(other.table_, nullptr);
    if (table_ != nullptr) table_->move(other.storage_, storage_);
  }

  alignas(void*) std::byte storage_[kInlineBytes];          // raw while table_ is null
  const internal::CallTable<R, Args...>* table_ = nullptr;  // null: empty
};

template <typename Signature>
inline constexpr bool internal::kMayBeEmpty<UniqueFunction<Signature>> = true;

}  // namespace lunar

// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Results of operations that may fail.
//
// Status is what the kernel's "0 or negative errno" is, with a name and with
// [[nodiscard]]. Expected<T> is a T or the Status that says why there is none.
// DSVM_TRY(expr) unwraps either one, or returns the error from the function it
// stands in:
//
//	Expected<PageIndex> Chunk::page_of(u64 address)
//	{
//		const u64 offset = DSVM_TRY(checked_sub(address, first_));
//		DSVM_TRY(check_alive());
//		return ByteAddress(offset).page();
//	}
//
// Invariants: an Expected<T> made from a Status holds an error: making one from
// Status::ok() is a bug, reported, and turned into kInvalid so that nobody reads
// a value that is not there. Status::code() is 0 or negative.
//
// Cost: Status is an int. Expected<T> of a trivially copyable T is trivially
// copyable and destructible itself and travels in registers where two words do.
// Expected of any other T moves but does not copy. A reference travels as
// Expected<T *>, and that pointer is never null.
//
// What it does not do: no exceptions, no mapping of one error to another, no
// chain of causes. Errors keep the number they were born with up to user space.
#ifndef DSVM_CORE_BASE_RESULT_H
#define DSVM_CORE_BASE_RESULT_H

#include "core/base/utility.h"
#include "core/base/verify.h"

namespace dsvm {

class [[nodiscard]] Status {
public:
	// Success; the same as ok().
	constexpr Status() = default;
	// 0 or a negated errno, as the functions of os.h return it.
	constexpr explicit Status(int code) : code_(code) {}

	static constexpr Status ok() { return Status(0); }

	[[nodiscard]] constexpr int code() const { return code_; }
	[[nodiscard]] constexpr bool is_ok() const { return code_ == 0; }
	[[nodiscard]] constexpr bool is_error() const { return code_ != 0; }
	[[nodiscard]] constexpr bool operator==(const Status &) const = default;

	// Lets DSVM_TRY treat Status and Expected alike.
	constexpr Status status() const { return *this; }
	constexpr void release_value() const {}

	// For the rare caller that can do nothing about an error; say why beside it.
	constexpr void ignore() const {}

private:
	// 0 or a negated errno.
	int code_ = 0;
};

constexpr Status kPermission{-DSVM_EPERM};
constexpr Status kNotFound{-DSVM_ENOENT};
constexpr Status kInterrupted{-DSVM_EINTR};
constexpr Status kIo{-DSVM_EIO};
constexpr Status kAgain{-DSVM_EAGAIN};
constexpr Status kNoMemory{-DSVM_ENOMEM};
constexpr Status kFault{-DSVM_EFAULT};
constexpr Status kBusy{-DSVM_EBUSY};
constexpr Status kExists{-DSVM_EEXIST};
constexpr Status kNoDevice{-DSVM_ENODEV};
constexpr Status kInvalid{-DSVM_EINVAL};
constexpr Status kNoSpace{-DSVM_ENOSPC};
constexpr Status kOutOfRange{-DSVM_ERANGE};
constexpr Status kOverflow{-DSVM_EOVERFLOW};
constexpr Status kUnsupported{-DSVM_EOPNOTSUPP};

namespace detail {

// Not an error, yet somebody made an Expected of it: see "Invariants" above.
constexpr Status error_of(Status status)
{
	return DSVM_VERIFY(status.is_error()) ? status : kInvalid;
}

// Where the value lives. Two forms, because clang-14 cannot yet make a special
// member function trivial by a requires clause.
template <class T, bool TriviallyCopyable> struct ExpectedStorage;

template <class T> struct ExpectedStorage<T, true> {
	constexpr explicit ExpectedStorage(Status error) : nothing(), code(error.code()) {}
	constexpr explicit ExpectedStorage(T held) : value(held), code(0) {}

	union {
		char nothing;
		T value;
	};
	// 0 if and only if `value` is the live member of the union.
	int code;
};

template <class T> struct ExpectedStorage<T, false> {
	explicit ExpectedStorage(Status error) : nothing(), code(error.code()) {}
	explicit ExpectedStorage(T &&held) : value(move(held)), code(0) {}
	ExpectedStorage(ExpectedStorage &&other) noexcept : nothing(), code(other.code)
	{
		if (code == 0)
			construct_at<T>(&value, move(other.value));
	}
	ExpectedStorage(const ExpectedStorage &) = delete;
	ExpectedStorage &operator=(const ExpectedStorage &) = delete;
	~ExpectedStorage()
	{
		if (code == 0)
			destroy_at(&value);
	}

	union {
		char nothing;
		T value;
	};
	// 0 if and only if `value` is the live member of the union.
	int code;
};

} // namespace detail

template <class T> class [[nodiscard]] Expected {
	static_assert(!kIsSame<T, Status>, "a Status says it all");

public:
	// Not explicit, so that `return value;` and `return kNoMemory;` read as meant.
	constexpr Expected(T value) : storage_(static_cast<T &&>(value)) {}
	constexpr Expected(Status error) : storage_(detail::error_of(error)) {}

	[[nodiscard]] constexpr bool is_ok() const { return storage_.code == 0; }
	[[nodiscard]] constexpr bool is_error() const { return storage_.code != 0; }
	constexpr Status status() const { return Status(storage_.code); }

	// Precondition of the four below: is_ok().
	[[nodiscard]] constexpr T &value() &
	{
		DSVM_ASSERT(is_ok());
		return storage_.value;
	}
	[[nodiscard]] constexpr const T &value() const &
	{
		DSVM_ASSERT(is_ok());
		return storage_.value;
	}
	[[nodiscard]] constexpr T &&value() &&
	{
		DSVM_ASSERT(is_ok());
		return move(storage_.value);
	}
	// Moves the value out; what stays behind is a moved-from T.
	[[nodiscard]] constexpr T release_value()
	{
		DSVM_ASSERT(is_ok());
		return move(storage_.value);
	}

	// The value, or `fallback` in place of an error.
	[[nodiscard]] constexpr T value_or(T fallback) const
	{
		return is_ok() ? storage_.value : fallback;
	}

private:
	detail::ExpectedStorage<T, __is_trivially_copyable(T)> storage_;
};

} // namespace dsvm

// The value of a Status (none) or an Expected<T>, or a return with its error. Use it
// as a whole statement or as the whole initialiser of a variable: leaving from the
// middle of a larger expression would skip destructors of its temporaries in g++.
#define DSVM_TRY(expr)                                          \
	({                                                      \
		auto dsvm_try_result_ = (expr);                 \
		if (DSVM_UNLIKELY(dsvm_try_result_.is_error())) \
			return dsvm_try_result_.status();       \
		dsvm_try_result_.release_value();               \
	})

#endif // DSVM_CORE_BASE_RESULT_H

// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// An intrusive, circular, doubly linked list over struct dsvm_link.
//
//	head <-> a.link <-> b.link <-> head
//
// The head lives in the owner and the links in the members, so that nothing here
// allocates and nothing can fail. The layout is that of the kernel's struct list_head:
// a driver may walk one of these lists with the kernel's macros.
//
// Invariants: for every link x of a list, x->next->prev == x == x->prev->next. A link
// in no list points at itself twice, or is zero (never used).
//
// Cost: everything is O(1) but walking. List<T, &T::link> is a view: it holds a
// reference to the head, costs nothing to make, and owns neither head nor members.
//
// Removing while walking: safe() yields each member after having looked up its
// successor, so the body may remove (or free) the member it was given, no other.
//
// What it does not do: no size (owners that need one count), no locking, no ownership.
#ifndef DSVM_CORE_BASE_LIST_H
#define DSVM_CORE_BASE_LIST_H

#include "core/base/utility.h"

namespace dsvm {

inline void link_init(dsvm_link &link)
{
	link.next = &link;
	link.prev = &link;
}

// For a head: no members. For a member: in no list. Zeroed links count as such too.
[[nodiscard]] inline bool link_is_empty(const dsvm_link &link)
{
	return link.next == &link || link.next == nullptr;
}

// Precondition of both: `link` is in no list, `where` is in one (or a head).
inline void link_insert_after(dsvm_link &where, dsvm_link &link)
{
	dsvm_link *const next = where.next;

	link.prev = &where;
	link.next = next;
	next->prev = &link;
	where.next = &link;
}

inline void link_insert_before(dsvm_link &where, dsvm_link &link)
{
	link_insert_after(*where.prev, link);
}

// Takes it out; afterwards it is in no list. Harmless if it was in none.
inline void link_remove(dsvm_link &link)
{
	if (link_is_empty(link)) {
		link_init(link);
		return;
	}
	link.prev->next = link.next;
	link.next->prev = link.prev;
	link_init(link);
}

template <class T, dsvm_link T::*Member> class List {
	// Looks the successor up when it is asked to move on.
	class Iterator {
	public:
		explicit Iterator(dsvm_link *at) : at_(at) {}
		T &operator*() const { return *container_of(at_, Member); }
		Iterator &operator++()
		{
			at_ = at_->next;
			return *this;
		}
		bool operator!=(const Iterator &other) const { return at_ != other.at_; }

	private:
		// The member now at hand, or the head at the end.
		dsvm_link *at_;
	};

	// Looks the successor up before the member is handed out.
	class SafeIterator {
	public:
		explicit SafeIterator(dsvm_link *at) : at_(at), next_(at->next) {}
		T &operator*() const { return *container_of(at_, Member); }
		SafeIterator &operator++()
		{
			at_ = next_;
			next_ = at_->next;
			return *this;
		}
		bool operator!=(const SafeIterator &other) const { return at_ != other.at_; }

	private:
		// The member now at hand, or the head at the end.
		dsvm_link *at_;
		// What came after it when it was handed out.
		dsvm_link *next_;
	};

	class SafeView {
	public:
		explicit SafeView(dsvm_link &head) : head_(head) {}
		SafeIterator begin() const { return SafeIterator(head_.next); }
		SafeIterator end() const { return SafeIterator(&head_); }

	private:
		dsvm_link &head_;
	};

public:
	// Precondition: `head` went through link_init().
	explicit List(dsvm_link &head) : head_(head) {}

	[[nodiscard]] bool empty() const { return head_.next == &head_; }
	[[nodiscard]] T *first() const { return at(head_.next); }
	[[nodiscard]] T *last() const { return at(head_.prev); }
	// The neighbours of a member, null at either end.
	[[nodiscard]] T *next(T &member) const { return at((member.*Member).next); }
	[[nodiscard]] T *prev(T &member) const { return at((member.*Member).prev); }

	void push_front(T &member) { link_insert_after(head_, member.*Member); }
	void push_back(T &member) { link_insert_before(head_, member.*Member); }
	void insert_after(T &where, T &member) { link_insert_after(where.*Member, member.*Member); }
	void insert_before(T &where, T &member)
	{
		link_insert_before(where.*Member, member.*Member);
	}
	void remove(T &member) { link_remove(member.*Member); }
	[[nodiscard]] T *pop_front()
	{
		T *const member = first();

		if (member != nullptr)
			remove(*member);
		return member;
	}
	// Whether `member` is in this or any other list through this link.
	[[nodiscard]] static bool is_linked(const T &member)
	{
		return !link_is_empty(member.*Member);
	}
	// Moves all members of `other` behind ours; `other` is empty afterwards.
	void splice_back(List other)
	{
		if (other.empty())
			return;
		dsvm_link *const first = other.head_.next;
		dsvm_link *const last = other.head_.prev;
		first->prev = head_.prev;
		head_.prev->next = first;
		last->next = &head_;
		head_.prev = last;
		link_init(other.head_);
	}

	Iterator begin() const { return Iterator(head_.next); }
	Iterator end() const { return Iterator(&head_); }
	[[nodiscard]] SafeView safe() const { return SafeView(head_); }

private:
	[[nodiscard]] T *at(dsvm_link *link) const
	{
		return link == &head_ ? nullptr : container_of(link, Member);
	}

	// The owner's; outlives this view.
	dsvm_link &head_;
};

} // namespace dsvm

#endif // DSVM_CORE_BASE_LIST_H

// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/base/list.h.

#include "core/base/list.h"
#include "kunit/case.h"

namespace dsvm {
namespace {

struct Item {
	u64 before; // so that the link is not at offset 0
	dsvm_link link;
	u32 id;
};

using Items = List<Item, &Item::link>;

// Whether every link is linked back to, and the ids are the decimal digits of `ids`.
bool is(dsvm_link &head, u64 ids)
{
	u64 seen = 0;

	for (dsvm_link *at = &head; at->next != &head; at = at->next) {
		if (at->next->prev != at)
			return false;
	}
	if (head.prev->next != &head)
		return false;
	for (const Item &item : Items(head))
		seen = seen * 10 + item.id;
	return seen == ids;
}

struct Fixture {
	Fixture()
	{
		link_init(head);
		for (u32 i = 0; i < 6; i++)
			items[i].id = i;
	}

	dsvm_link head;
	Item items[6] = {};
};

} // namespace
} // namespace dsvm

using namespace dsvm;

DSVM_CASE(list, empty)
{
	Fixture f;
	Items list(f.head);

	DSVM_EXPECT(list.empty());
	DSVM_EXPECT(list.first() == nullptr);
	DSVM_EXPECT(list.last() == nullptr);
	DSVM_EXPECT(list.pop_front() == nullptr);
	DSVM_EXPECT(!Items::is_linked(f.items[0]));
	DSVM_EXPECT(is(f.head, 0));
}

DSVM_CASE(list, push_and_insert)
{
	Fixture f;
	Items list(f.head);

	list.push_back(f.items[2]);
	DSVM_EXPECT(is(f.head, 2));
	list.push_front(f.items[1]);
	DSVM_EXPECT(is(f.head, 12));
	list.push_back(f.items[5]);
	list.insert_after(f.items[2], f.items[3]);
	DSVM_EXPECT(is(f.head, 1235));
	list.insert_before(f.items[5], f.items[4]);
	DSVM_EXPECT(is(f.head, 12345));
	DSVM_EXPECT(list.first() == &f.items[1]);
	DSVM_EXPECT(list.last() == &f.items[5]);
	DSVM_EXPECT(list.next(f.items[5]) == nullptr);
	DSVM_EXPECT(list.prev(f.items[1]) == nullptr);
	DSVM_EXPECT(list.next(f.items[2]) == &f.items[3]);
	DSVM_EXPECT(list.prev(f.items[4]) == &f.items[3]);
	DSVM_EXPECT(Items::is_linked(f.items[3]));
}

DSVM_CASE(list, remove)
{
	Fixture f;
	Items list(f.head);

	for (u32 i = 1; i < 6; i++)
		list.push_back(f.items[i]);
	list.remove(f.items[3]);
	DSVM_EXPECT(is(f.head, 1245));
	DSVM_EXPECT(!Items::is_linked(f.items[3]));
	list.remove(f.items[3]);
	DSVM_EXPECT(is(f.head, 1245));
	list.remove(f.items[1]);
	list.remove(f.items[5]);
	DSVM_EXPECT(is(f.head, 24));
	DSVM_EXPECT(list.pop_front() == &f.items[2]);
	DSVM_EXPECT(list.pop_front() == &f.items[4]);
	DSVM_EXPECT(list.empty());
	// A link that was zeroed and never used counts as unlinked.
	Item fresh = {};
	list.remove(fresh);
	DSVM_EXPECT(!Items::is_linked(fresh));
}

DSVM_CASE(list, safe_walk_may_remove)
{
	Fixture f;
	Items list(f.head);

	for (u32 i = 1; i < 6; i++)
		list.push_back(f.items[i]);
	for (Item &item : list.safe()) {
		if (item.id % 2 == 1)
			list.remove(item);
	}
	DSVM_EXPECT(is(f.head, 24));
	for (Item &item : list.safe())
		list.remove(item);
	DSVM_EXPECT(list.empty());
}

DSVM_CASE(list, splice)
{
	Fixture f;
	dsvm_link other;
	link_init(other);
	Items list(f.head);
	Items tail(other);

	list.splice_back(tail);
	DSVM_EXPECT(is(f.head, 0));
	list.push_back(f.items[1]);
	tail.push_back(f.items[2]);
	tail.push_back(f.items[3]);
	list.splice_back(tail);
	DSVM_EXPECT(is(f.head, 123));
	DSVM_EXPECT(tail.empty());
}

// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Collecting pages (kernel: mm/hmm.c, Documentation/mm/hmm.rst).

#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

bool happened;

// The body on each kernel, over pages of which the first four have been written.
bool with_pages(void (*body)())
{
	static void (*the_body)();

	the_body = body;
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] {
				map_written(0, 3);
				map(4, 15);
				listener().insert();
			})
			.thread(the_body)
			.holds();
	});
}

bool look_faults_nothing_in()
{
	return with_pages([] {
		Collection look{2, 5};

		check(look.run() == 0, "a look fails");
		check(look.kind(0) == DSVM_PAGE_SYSTEM && look.at(1).writable, "a page is missed");
		check(look.kind(2) == DSVM_PAGE_NONE, "a page where nothing is");
		check(pte(4).kind == PteKind::kNone, "a look changes something");
	});
}

bool read_fault_gives_the_zero_page()
{
	return with_pages([] {
		Collection collection{4, 5};

		check(collection.fault(false).run() == 0, "it fails");
		check(!collection.at(0).writable && collection.at(0).order == 0, "writable");
		check(pte(5).page == kZeroPage, "no zero page");
	});
}

bool write_fault_gives_writable_ram()
{
	return with_pages([] {
		Collection collection{3, 4};

		read(4); // the zero page is there, and is not enough
		check(collection.fault(true).run() == 0, "it fails");
		check(collection.at(0).writable && collection.at(1).writable, "not writable");
		check(from_os(collection.at(1).page).refs == 1, "references are kept");
	});
}

bool errors_are_told_apart()
{
	return with_pages([] {
		Machine &m = machine();

		map(20, 21);
		m.mprotect(process(), at(20), end_of(20), true, false);
		map(24, 24, VmaKind::kSpecial);
		map_written(25, 25);
		m.mprotect(process(), at(25), end_of(25), false, false);
		check(Collection(20, 20).fault(true).run() == -DSVM_EPERM, "read-only");
		check(Collection(20, 20).fault(false).run() == 0, "a read of it");
		check(Collection(21, 22).fault(false).run() == -DSVM_EFAULT, "no VMA");
		check(Collection(24, 24).fault(false).run() == -DSVM_EFAULT, "special");
		check(Collection(25, 25).fault(false).run() == -DSVM_EFAULT, "PROT_NONE");

		Collection look{16, 31};
		check(look.run() == 0, "a look finds fault");
		for (u32 i = 0; i < 16; i++)
			check(look.kind(i) ==
				      (i == 4 || i == 5 ? DSVM_PAGE_SYSTEM : DSVM_PAGE_NONE),
			      "page %u", 16 + i);
	});
}

// Kernel: 7.3 asks vm_fault_to_errno(); before, every error of a fault is -EFAULT.
bool no_memory_by_kernel()
{
	return with_pages([] {
		machine().inject(Fail::kPageAlloc, 1);
		const int ret = Collection(4, 4).fault(true).run();

		check(ret == (machine().kernel().hmm_retries_itself ? -DSVM_ENOMEM : -DSVM_EFAULT),
		      "%d", ret);
	});
}

bool invalidation_by_kernel()
{
	return with_pages([] {
		Collection collection{0, 3};

		collection.request.seq = dsvm_os_notifier_read_begin(to_os(listener().notifier));
		const usize before = collection.request.seq;
		{
			const Invalidation event{process(), at(0), end_of(0), Event::kClear};
		}
		const int ret = dsvm_os_hmm_fault(&collection.request);
		if (machine().kernel().hmm_retries_itself)
			check(ret == 0 && collection.request.seq != before,
			      "7.3 does not begin anew");
		else
			check(ret == -DSVM_EBUSY, "%d", ret);
	});
}

bool order_is_that_of_the_mapping()
{
	return Scene()
		.prepare([] {
			map_huge(8);
			map_huge(16);
			machine().split_huge(process(), at(16), false);
			listener().insert();
		})
		.thread([] {
			Collection look{12, 16};

			check(look.run() == 0, "it fails");
			check(look.at(0).order == machine().geometry().huge_order,
			      "a huge mapping");
			check(from_os(look.at(0).page).head == pte(8).page, "another page");
			check(look.at(4).order == 0, "a folio that is mapped by pages");
		})
		.holds();
}

// Kernel: "Don't fault in device private pages owned by the caller, just report the PFN."
bool own_device_pages_are_reported()
{
	return with_pages([] {
		to_device(0, 1, 0);
		Collection collection{0, 1};

		check(collection.fault(true).as_owner().run() == 0, "it fails");
		check(collection.kind(0) == DSVM_PAGE_DEVICE, "not a device page");
		check(collection.at(0).zdd == to_os(allocation()) && collection.at(0).writable,
		      "no zdd, or not writable");
		check(pte(0).kind == PteKind::kDevice, "it has been brought back");
	});
}

// ... and what it reports of a shared one is that it may not be written.
bool shared_device_pages_are_not_writable()
{
	return with_pages([] {
		to_device(0, 0, 0);
		check(machine().fork(process()) != nullptr, "fork");
		Collection collection{0, 0};

		check(collection.fault(true).as_owner().run() == 0, "it fails");
		check(!collection.at(0).writable, "writable");
		check(pte(0).kind == PteKind::kDevice, "it has been brought back");
	});
}

bool foreign_device_pages_are_faulted_in()
{
	return with_pages([] {
		to_device(0, 0, 0);
		Collection look{0, 0};
		Collection collection{0, 0};

		check(look.run() == 0 && look.kind(0) == DSVM_PAGE_NONE, "somebody else sees it");
		check(collection.fault(false).run() == 0, "it fails");
		check(collection.kind(0) == DSVM_PAGE_SYSTEM, "it is still with the device");
	});
}

// Kernel: hmm_vma_handle_pte() hands on the end of its page table, and all of that is faulted.
bool fault_goes_on_to_the_end_of_the_block()
{
	return with_pages([] {
		to_device(2, 2, 0);
		machine().madvise_dontneed(process(), at(1), end_of(1));
		Collection collection{1, 2};

		check(collection.fault(false).as_owner().run() == 0, "it fails");
		check(collection.kind(1) == DSVM_PAGE_SYSTEM, "the page behind the hole stays");
	});
}

bool page_on_its_way_is_waited_for()
{
	static bool away;

	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
			away = happened = false;
		})
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			Moving moving{0, 0};
			check(dsvm_os_migrate_setup(&moving.span) == 0, "setup");
			away = true;
			scheduler().relax();
			away = false;
			dsvm_os_migrate_pages(&moving.span);
			dsvm_os_migrate_finalize(&moving.span);
			dsvm_os_mm_read_unlock(to_os(process()));
		})
		.thread([] {
			Collection collection{0, 0};

			happened = away;
			check(collection.fault(false).run() == 0, "it fails");
			check(!happened || !away, "it does not wait");
		})
		.may(happened);
}

bool use_after_free_is_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
		})
		.thread([] {
			Collection look{0, 0};
			check(look.run() == 0, "it fails");
			machine().munmap(process(), at(0), end_of(0));
			static_cast<void>(look.at(0));
		})
		.breaks("a collected page is looked at after an invalidation");
}

// The same when somebody else has the page by then.
bool use_of_another_page_is_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
		})
		.thread([] {
			const u32 page = pte(0).page;
			Collection look{0, 0};
			check(look.run() == 0, "it fails");
			machine().munmap(process(), at(0), end_of(0));
			for (u32 other = 0; other != page && other != kNoPage;)
				other = machine().alloc_ram(0);
			static_cast<void>(look.at(0));
		})
		.breaks("a collected page is looked at after an invalidation");
}

bool look_without_lock_is_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
		})
		.thread([] {
			Collection look{0, 0};
			dsvm_page_desc desc;
			check(look.run() == 0, "it fails");
			dsvm_os_hmm_decode(look.entries[0], &desc);
		})
		.breaks("a collected page is looked at without the notifier lock");
}

bool kind_may_be_asked_at_any_time()
{
	return with_pages([] {
		to_device(0, 0, 0);
		Collection look{0, 0};

		check(look.as_owner().run() == 0, "it fails");
		machine().munmap(process(), at(0), end_of(0));
		check(look.kind(0) == DSVM_PAGE_DEVICE, "the kind has changed");
	});
}

// Kernel: 7.3 carries HMM_PFN_INOUT_FLAGS over from what it is given.
bool entries_that_are_not_zero_are_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
		})
		.thread([] {
			Collection look{0, 0};
			look.tag = 1;
			static_cast<void>(look.run());
		})
		.breaks("entries of a request are not zero");
}

bool collecting_without_users_is_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
		})
		.thread([] {
			machine().exit(process());
			static_cast<void>(Collection(0, 0).run());
		})
		.breaks("page tables are walked that may have gone");
}

} // namespace

void add_hmm_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(look_faults_nothing_in),
					DSVM_CONTRACT(read_fault_gives_the_zero_page),
					DSVM_CONTRACT(write_fault_gives_writable_ram),
					DSVM_CONTRACT(errors_are_told_apart),
					DSVM_CONTRACT(no_memory_by_kernel),
					DSVM_CONTRACT(invalidation_by_kernel),
					DSVM_CONTRACT(order_is_that_of_the_mapping),
					DSVM_CONTRACT(own_device_pages_are_reported),
					DSVM_CONTRACT(shared_device_pages_are_not_writable),
					DSVM_CONTRACT(foreign_device_pages_are_faulted_in),
					DSVM_CONTRACT(fault_goes_on_to_the_end_of_the_block),
					DSVM_CONTRACT(page_on_its_way_is_waited_for),
					DSVM_CONTRACT(use_after_free_is_found),
					DSVM_CONTRACT(use_of_another_page_is_found),
					DSVM_CONTRACT(look_without_lock_is_found),
					DSVM_CONTRACT(kind_may_be_asked_at_any_time),
					DSVM_CONTRACT(entries_that_are_not_zero_are_found),
					DSVM_CONTRACT(collecting_without_users_is_found),
				});
}

} // namespace dsvm::sim

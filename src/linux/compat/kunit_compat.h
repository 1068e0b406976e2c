/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef DRM_SVM_COMPAT_KUNIT_H
#define DRM_SVM_COMPAT_KUNIT_H

#include <kunit/test.h>
#include <linux/mman.h>

/*
 * 6.11 added kunit_vm_mmap(), which gives a case an address space of its own. Before
 * there is no memory for it: 0.
 */
static inline unsigned long compat_kunit_mmap(struct kunit *test, unsigned long size)
{
#ifdef HAVE_KUNIT_VM_MMAP
	return kunit_vm_mmap(test, NULL, 0, size, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
#else
	return 0;
#endif
}

#endif /* DRM_SVM_COMPAT_KUNIT_H */

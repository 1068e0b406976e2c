# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# The libraries for shared virtual memory side by side in user space (bench/run.sh runs this):
# make -f bench/host/svm.mk KERNEL=the sources of 7.3
#
# The kernel's drm_gpusvm.c, interval tree, lists and rb-tree are compiled from those sources as
# they are, with the flags that ours get.

top := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/../..)
out := $(top)/build/bench/svm.d
here := $(top)/bench/host
ifndef KERNEL
$(error KERNEL names the sources of the kernel)
endif

# As the kernel is compiled, apart from where its code lies. What is not called goes, and with it
# what that would call.
code := -O2 -fno-strict-aliasing -mno-red-zone -mgeneral-regs-only -fno-pic -ffunction-sections \
	-Wall
c := -std=gnu11 $(code) -Wno-unused -I$(top) -I$(out)/forward -I$(KERNEL)/tools/include \
	-I$(KERNEL)/tools/include/uapi -I$(KERNEL)/tools/arch/x86/include
cxx := -std=gnu++20 $(code) -I$(top)/include -I$(top)/src -I$(top) -ffreestanding -nostdinc \
	-nostdinc++ -fno-exceptions -fno-rtti -fno-threadsafe-statics -funsigned-char -fwrapv
# The tracepoints are svm_kernel.h's.
ours := -DDSVM_LINUX_TRACE_H -I$(top)/include -I$(top)/src/linux -I$(top)/src
# With pages out of the way, some of its variables look as if nobody had set them.
kernels := -I$(out)/kernel -Wno-maybe-uninitialized

# Headers of the kernel that svm_kernel.h stands for; others are those of its tools.
headers := $(addprefix linux/,bug dma-direction dma-fence dma-mapping errno export hmm \
	hugetlb_inline kref lockdep memremap mm mm_types mmu_notifier mutex rwsem sched/mm slab \
	workqueue) $(addprefix drm/,drm_device drm_print) trace/define_trace

core := $(filter-out %/hmmptr.cc %/hmmptr_good.cc,$(wildcard $(top)/src/core/svm/*.cc)) \
	$(top)/src/abi/svm_abi.cc
objects := kernel/drm_gpusvm kernel/interval_tree kernel/rbtree kernel/work ours/work \
	ours/gpusvm ours/gpusvm_notifier memory os svm_os svm_main \
	$(patsubst $(top)/%.cc,ours/%,$(core))

.DELETE_ON_ERROR:
$(top)/build/bench/svm: $(objects:%=$(out)/%.o)
	$(CXX) -no-pie -Wl,--gc-sections -o $@ $^ -lbenchmark -lpthread

# The headers of the kernel's that are used as they are, and those that are not.
$(out)/.headers: $(here)/svm.mk
	rm -rf $(out)/forward $(out)/kernel
	mkdir -p $(addprefix $(out)/,kernel/drm $(sort $(dir $(headers:%=forward/%) $(objects))))
	ln -s $(KERNEL)/include/drm/drm_gpusvm.h $(KERNEL)/include/drm/drm_pagemap.h \
		$(out)/kernel/drm/
	ln -s $(KERNEL)/include/linux/interval_tree.h $(out)/forward/linux/
	for header in $(headers); do \
		echo '#include "bench/host/svm_kernel.h"' >$(out)/forward/$$header.h || exit; \
	done
	touch $@

$(out)/kernel/drm_gpusvm.o: $(KERNEL)/drivers/gpu/drm/drm_gpusvm.c $(out)/.headers
	$(CC) $(c) $(kernels) -MMD -MP -c -o $@ $<
$(out)/kernel/interval_tree.o: $(KERNEL)/lib/interval_tree.c $(out)/.headers
	$(CC) $(c) -MMD -MP -c -o $@ $<
# Its own headers stand for the library's.
$(out)/kernel/rbtree.o: $(KERNEL)/tools/lib/rbtree.c $(out)/.headers
	$(CC) $(c) -c -o $@ $<
$(out)/kernel/work.o: $(here)/svm_work.c $(out)/.headers
	$(CC) $(c) $(kernels) -MMD -MP -DBENCH_SIDE=svm_kernels -DBENCH_NAME='"kernel"' -c -o $@ $<
$(out)/ours/work.o: $(here)/svm_work.c $(out)/.headers
	$(CC) $(c) $(ours) -MMD -MP -DBENCH_SIDE=svm_ours -DBENCH_NAME='"ours"' -c -o $@ $<
$(out)/ours/%.o: $(top)/src/linux/%.c $(out)/.headers
	$(CC) $(c) $(ours) -MMD -MP -c -o $@ $<
$(out)/ours/src/%.o: $(top)/src/%.cc $(out)/.headers
	$(CXX) $(cxx) -MMD -MP -c -o $@ $<
$(out)/svm_main.o: $(here)/svm_main.cc $(out)/.headers
	$(CXX) -std=gnu++20 -O2 -Wall -Wextra -I$(top) -MMD -MP -c -o $@ $<
$(out)/%.o: $(here)/%.c $(out)/.headers
	$(CC) $(c) $(ours) -MMD -MP -c -o $@ $<

-include $(wildcard $(out)/*.d $(out)/*/*.d $(out)/ours/src/*/*.d $(out)/ours/src/*/*/*.d)

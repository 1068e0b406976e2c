// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/mapping.h"

#include "core/base/checked.h"

namespace dsvm {

namespace {

// Pages that are linked in a row, and not yet unlinked.
class Stretch {
public:
	Stretch(dsvm_os_dev *dev, dsvm_iova &iova) : dev_(dev), iova_(iova) {}
	~Stretch() { unlink(); }
	Stretch(const Stretch &) = delete;
	Stretch &operator=(const Stretch &) = delete;

	void add(const dsvm_dma_addr &entry)
	{
		const auto dir = static_cast<dsvm_dma_dir>(entry.dir);

		if (bytes_ == 0 || entry.addr != addr_ + bytes_ || dir != dir_) {
			unlink();
			addr_ = entry.addr;
			dir_ = dir;
		}
		bytes_ += pages_of(entry) << kPageShift;
	}

	void unlink()
	{
		if (bytes_ != 0)
			dsvm_os_iova_unlink(dev_, &iova_, addr_ - iova_.addr, bytes_, dir_);
		bytes_ = 0;
	}

private:
	dsvm_os_dev *const dev_;
	dsvm_iova &iova_;
	u64 addr_ = 0;
	usize bytes_ = 0;
	dsvm_dma_dir dir_ = DSVM_DMA_NONE;
};

} // namespace

Expected<dsvm_mapping *> make_mapping(usize room)
{
	const u64 bytes = DSVM_TRY(checked_mul(room, sizeof(dsvm_dma_addr)));
	// Behind a header, a power of two would take twice the memory.
	const bool apart = bytes >= kPageSize;
	const u64 whole = sizeof(dsvm_mapping) + (apart ? 0 : bytes);
	auto *const memory = static_cast<dsvm_mapping *>(dsvm_os_alloc_unset(whole));
	if (!memory)
		return kNoMemory;

	void *const entries = apart ? dsvm_os_alloc_unset(bytes) : memory + 1;
	if (!entries) {
		dsvm_os_free(memory);
		return kNoMemory;
	}
	return construct_at<dsvm_mapping>(memory, static_cast<dsvm_dma_addr *>(entries), room);
}

void put_mapping(dsvm_mapping *mapping)
{
	if (!mapping || !mapping->owners.put())
		return;
	if (static_cast<void *>(mapping->entries) != mapping + 1)
		dsvm_os_free(mapping->entries);
	dsvm_os_free(mapping);
}

void unmap_entry(const dsvm_dma_addr &entry, dsvm_os_dev *dev, dsvm_os_provider *provider)
{
	if (entry.proto != DSVM_PROTO_SYSTEM)
		dsvm_os_provider_unmap(provider, dev, &entry);
	else
		dsvm_os_dma_unmap(dev, &entry);
}

void unmap_entries(dsvm_mapping &mapping, dsvm_os_dev *dev, dsvm_os_provider *provider,
		   dsvm_dma_addr *entries, usize npages)
{
	Stretch stretch{dev, mapping.iova};

	for (usize done = 0; done < npages; ++entries) {
		done += pages_of(*entries);
		if (!is_mapped(*entries))
			continue;
		if (entries->proto == DSVM_PROTO_SYSTEM && mapping.iova.size != 0)
			stretch.add(*entries);
		else if (entries->proto != DSVM_PROTO_SYSTEM || mapping.unmaps)
			unmap_entry(*entries, dev, provider);
		entries->dir = DSVM_DMA_NONE;
	}
}

void release_window(dsvm_mapping &mapping, dsvm_os_dev *dev)
{
	if (mapping.mapped.put() && mapping.iova.size != 0)
		dsvm_os_iova_free(dev, &mapping.iova);
}

} // namespace dsvm

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

Expected<dsvm_mapping *> make_mapping(usize npages)
{
	const u64 entries = DSVM_TRY(checked_mul(npages, sizeof(dsvm_dma_addr)));
	const u64 bytes = DSVM_TRY(checked_add(entries, sizeof(dsvm_mapping)));
	auto *const mapping = static_cast<dsvm_mapping *>(dsvm_os_alloc(bytes));

	if (!mapping)
		return kNoMemory;
	construct_at<dsvm_mapping>(mapping);
	return mapping;
}

void put_mapping(dsvm_mapping *mapping)
{
	if (mapping && mapping->owners.put())
		dsvm_os_free(mapping);
}

void unmap_entries(dsvm_mapping &mapping, dsvm_os_dev *dev, dsvm_os_provider *provider,
		   dsvm_dma_addr *entries, usize npages)
{
	Stretch stretch{dev, mapping.iova};

	for (usize done = 0; done < npages; ++entries) {
		done += pages_of(*entries);
		if (!is_mapped(*entries))
			continue;
		if (entries->proto != DSVM_PROTO_SYSTEM)
			dsvm_os_provider_unmap(provider, dev, entries);
		else if (mapping.iova.size != 0)
			stretch.add(*entries);
		else
			dsvm_os_dma_unmap(dev, entries);
		entries->dir = DSVM_DMA_NONE;
	}
}

void release_window(dsvm_mapping &mapping, dsvm_os_dev *dev)
{
	if (mapping.mapped.put() && mapping.iova.size != 0)
		dsvm_os_iova_free(dev, &mapping.iova);
}

} // namespace dsvm

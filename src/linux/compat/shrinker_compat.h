/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/shrinker.h, as it differs between kernels.
 */
#ifndef DSVM_SHRINKER_COMPAT_H
#define DSVM_SHRINKER_COMPAT_H

#include <linux/errno.h>
#include <linux/shrinker.h>

/*
 * 2026-11: 6.7 made the kernel allocate shrinkers, with a word for their owner. Before,
 * the owner has the struct, and finds itself around it.
 */
struct compat_shrinker {
#ifdef SHRINKER_ALLOCATED
	struct shrinker *shrinker;
#else
	struct shrinker shrinker;
#endif
};

/* What @shrinker, as it comes to count_objects and scan_objects, is part of. */
#ifdef SHRINKER_ALLOCATED
#define compat_shrinker_owner(shrinker_, type, member)	((type *)(shrinker_)->private_data)
#else
#define compat_shrinker_owner(shrinker_, type, member)	\
	container_of(shrinker_, type, member.shrinker)
#endif

typedef unsigned long (*compat_shrinker_fn)(struct shrinker *shrinker,
					    struct shrink_control *control);

/* @owner is the struct that @shrinker is a member of. 0 or -ENOMEM. */
static inline int compat_shrinker_register(struct compat_shrinker *shrinker, void *owner,
					   compat_shrinker_fn count, compat_shrinker_fn scan,
					   const char *name)
{
#ifdef SHRINKER_ALLOCATED
	shrinker->shrinker = shrinker_alloc(0, "drm_svm:%s", name);
	if (!shrinker->shrinker)
		return -ENOMEM;

	shrinker->shrinker->private_data = owner;
	shrinker->shrinker->count_objects = count;
	shrinker->shrinker->scan_objects = scan;
	shrinker_register(shrinker->shrinker);
	return 0;
#else
	shrinker->shrinker.count_objects = count;
	shrinker->shrinker.scan_objects = scan;
	shrinker->shrinker.seeks = DEFAULT_SEEKS;
	return register_shrinker(&shrinker->shrinker, "drm_svm:%s", name);
#endif
}

/* Nobody is in one of its functions any more, nor will be, when this returns. */
static inline void compat_shrinker_unregister(struct compat_shrinker *shrinker)
{
#ifdef SHRINKER_ALLOCATED
	shrinker_free(shrinker->shrinker);
#else
	unregister_shrinker(&shrinker->shrinker);
#endif
}

#endif /* DSVM_SHRINKER_COMPAT_H */

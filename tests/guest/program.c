// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "program.h"

#include "ktap.h"

static void *run(void *arg)
{
	struct program *program = arg;

	if (program->reads)
		program->err = gpu_checksum(&program->gpu, program->memory, program->size,
					    &program->sum);
	else
		program->err = gpu_fill(&program->gpu, program->memory, program->value,
					program->size);
	__atomic_store_n(&program->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

static void start(struct program *program)
{
	EXPECT(!pthread_create(&program->thread, NULL, run, program), "pthread_create");
}

void start_fill(struct program *program, const struct gpu *gpu, void *memory, __u32 value,
		size_t size)
{
	*program = (struct program){ .gpu = *gpu, .memory = memory, .size = size, .value = value };
	start(program);
}

void start_checksum(struct program *program, const struct gpu *gpu, void *memory, size_t size)
{
	*program = (struct program){ .gpu = *gpu, .reads = true, .memory = memory, .size = size };
	start(program);
}

bool has_ended(const struct program *program)
{
	return __atomic_load_n(&program->ended, __ATOMIC_ACQUIRE);
}

int finish(struct program *program)
{
	pthread_join(program->thread, NULL);
	return program->err;
}

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A plugin of QEMU's: which code has executed how many instructions between two marks that the
 * guest sets (plain_mark_begin(), plain_mark_end()), for bench/guest/profile.py.
 *
 * Packages of QEMU have plugins enabled and do not always bring the header, so what is used of
 * its first version is declared here.
 *
 * out=FILE: gets for each section, in order, a line "section N" and lines "ADDRESS INSTRUCTIONS"
 * of the blocks that ran in it.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain_uapi.h"

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;

typedef void (*tb_trans_cb_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*udata_cb_t)(unsigned int vcpu, void *data);
typedef void (*exit_cb_t)(qemu_plugin_id_t id, void *data);

enum { NO_REGISTERS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb_t cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, udata_cb_t cb, int flags,
					  void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, udata_cb_t cb,
					    int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, exit_cb_t cb, void *data);

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int qemu_plugin_version = 1;

/* A block as it was translated once; it may be again, and gets another one then. */
struct block {
	uint64_t addr;
	uint64_t insns;
	uint64_t count;
	struct block *next; /* of all */
};

static struct block *blocks;
static bool measuring;
static unsigned long section;
static FILE *out;

static void on_block(unsigned int vcpu, void *data)
{
	struct block *block = data;

	if (measuring)
		block->count += block->insns;
}

static void on_begin(unsigned int vcpu, void *data)
{
	measuring = true;
}

static void on_end(unsigned int vcpu, void *data)
{
	measuring = false;
	fprintf(out, "section %lu\n", ++section);
	for (struct block *block = blocks; block; block = block->next) {
		if (block->count)
			fprintf(out, "%" PRIx64 " %" PRIu64 "\n", block->addr, block->count);
		block->count = 0;
	}
}

static bool is_mark(const struct qemu_plugin_insn *insn, const void *bytes)
{
	return qemu_plugin_insn_size(insn) == PLAIN_MARK_SIZE &&
	       !memcmp(qemu_plugin_insn_data(insn), bytes, PLAIN_MARK_SIZE);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	const size_t count = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof(*block));

	if (!block)
		abort();
	block->addr = qemu_plugin_tb_vaddr(tb);
	block->insns = count;
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, NO_REGISTERS, block);
	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (is_mark(insn, PLAIN_MARK_BEGIN_BYTES))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, NO_REGISTERS, NULL);
		else if (is_mark(insn, PLAIN_MARK_END_BYTES))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, NO_REGISTERS, NULL);
	}
}

static void on_exit_of_qemu(qemu_plugin_id_t id, void *data)
{
	fclose(out);
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
				 char **argv)
{
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	if (!out)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
	return 0;
}

# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of qemu.py that need no QEMU: reports in the kernel log, missing results."""

import argparse
import base64
import io
import os
import signal
import tarfile
import tempfile
import unittest
import unittest.mock

import ktap
import qemu

# One example for each kind of report, as kernels 6.1 to 7.3 print them.
REPORTS = {
    "BUG": [
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "BUG: unable to handle page fault for address: ffffc90000000000",
        "BUG: Bad page state in process demo  pfn:12345",
        "BUG: spinlock bad magic on CPU#0, insmod/48",
        "kernel BUG at mm/migrate.c:123!",
        "BUG kmalloc-64 (Tainted: G    B   ): Right Redzone overwritten",
        "list_del corruption. next->prev should be ffff88800, but was 0",
    ],
    "WARNING": [
        "WARNING: CPU: 1 PID: 48 at drm_svm.c:21 i+0x114/0x1000 [drm_svm]",
        "WARNING: drm_svm.c:21 at i+0x114/0x1000 [drm_svm], CPU#0: insmod/48",
        "refcount_t: underflow; use-after-free.",
        "DMA-API: stub 0000:00:01.0: device driver tries to free DMA memory it has not allocated",
    ],
    "Oops": [
        "Oops: 0002 [#1] PREEMPT SMP KASAN",
        "Oops: Oops: 0002 [#1] SMP",
        "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1]",
        "invalid opcode: 0000 [#1] PREEMPT SMP",
        "Kernel panic - not syncing: Fatal exception",
    ],
    "lockdep": [
        "WARNING: possible circular locking dependency detected",
        "WARNING: possible recursive locking detected",
        "WARNING: possible irq lock inversion dependency detected",
        "WARNING: inconsistent lock state",
        "WARNING: suspicious RCU usage",
        "WARNING: bad unlock balance detected!",
        "WARNING: lock held when returning to user space!",
        "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
        "[ BUG: Invalid wait context ]",
        "INFO: trying to register non-static key.",
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:591",
        "BUG: scheduling while atomic: insmod/48/0x00000002",
        "BUG: MAX_LOCKDEP_CHAINS too low!",
        "turning off the locking correctness validator.",
    ],
    "KASAN": [
        "BUG: KASAN: slab-use-after-free in core_free+0x10/0x20 [drm_svm]",
        "KASAN: null-ptr-deref in range [0x0000000000000008-0x000000000000000f]",
    ],
    "KCSAN": ["BUG: KCSAN: data-race in reader / writer"],
    "KFENCE": ["BUG: KFENCE: out-of-bounds read in test+0x1/0x2"],
    "UBSAN": [
        "UBSAN: array-index-out-of-bounds in src/core/va/space.cc:12:3",
        "UBSAN: shift-out-of-bounds in src/core/va/space.cc:12:3",
    ],
    "kmemleak": [
        "kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "kmemleak: Kernel memory leak detector disabled",
    ],
    "hung task": [
        "INFO: task demo:48 blocked for more than 60 seconds.",
        "INFO: task demo:48 is blocked on a mutex likely owned by task other:49.",
    ],
    "stall": [
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [demo:48]",
    ],
}

HARMLESS = [
    "rcu: Hierarchical RCU implementation.",
    "Freeing unused kernel image (initmem) memory: 1044K",
    "Kernel command line: console=ttyS0,115200 panic=-1 oops=panic",
    "    # test_warns: WARNING: is what this test is about",
    "    # Subtest: debug_BUG",
    "    ok 1 BUG: name of a case",
    "PCI: Using host bridge windows; if necessary, use \"pci=nocrs\" and report a bug",
    "kmemleak: Automatic memory scanning thread started",
    "lockdep: MAX_LOCKDEP_SUBCLASSES:  8",
    "drm_svm_stub: loaded, debugging is on",
]


class KernelLog(unittest.TestCase):
    def test_every_report_is_found(self):
        for kind, lines in REPORTS.items():
            for line in lines:
                for prefix in ("[    1.234567] ", "[  123.000001][   T48] "):
                    with self.subTest(line=line):
                        self.assertEqual(qemu.kernel_report(prefix + line), kind)

    def test_reports_need_the_prefix_of_the_kernel(self):
        for lines in REPORTS.values():
            for line in lines:
                self.assertIsNone(qemu.kernel_report(line))

    def test_harmless_lines(self):
        for line in HARMLESS:
            with self.subTest(line=line):
                self.assertIsNone(qemu.kernel_report("[    1.234567] " + line))


def race(first, second, *frames):
    """A KCSAN report as kernels print it, between the rulers."""
    return [
        "=" * 66,
        f"BUG: KCSAN: data-race in {first} / {second}",
        "",
        "write to 0xffff888003bd8f00 of 4 bytes by task 337 on cpu 0:",
        f" {first}+0x9b/0x1b0{frames[0]}",
        " ksys_ioctl+0x22/0x30",
        "",
        "read to 0xffff888003bd8f00 of 4 bytes by task 338 on cpu 1:",
        f" {second}+0x47/0x80{frames[-1]}",
        " kthread+0x1de/0x230",
        "",
        "value changed: 0x00000001 -> 0x00000000",
        "",
        "Reported by Kernel Concurrency Sanitizer on:",
        "CPU: 1 UID: 0 PID: 338 Comm: demo Tainted: G           O       7.3.4 #1 PREEMPTLAZY",
        "=" * 66,
    ]


GOOD = [
    "@@ boot",
    "@@ load drm_svm.ko",
    "@@ begin guest/fork",
    "TAP version 13",
    "1..2",
    "ok 1 child",
    "ok 2 parent",
    "",
    "@@ end guest/fork 0",
    "@@ done",
]


def judge(lines, kernel=(), timed_out=0, **more):
    """The failures of a run in which the guest said `lines`."""
    session = qemu.Session("7.3", **more)
    for line in kernel:
        session.kernel_line("[    1.000000] " + line)
    for line in lines:
        session.job_line(line)
    return [f"{c.name}: {c.detail}" for c in session.finish(timed_out) if c.result == ktap.FAILED]


class Verdict(unittest.TestCase):
    def test_good_run(self):
        self.assertEqual(judge(GOOD, require=["guest/fork", "guest/"], expect={"guest/fork": 2}), [])

    def test_harmless_output_of_a_program(self):
        self.assertEqual(judge(GOOD[:5] + ["[    1.0] BUG: said a program", "WARNING: too"] + GOOD[5:]), [])

    def test_failed_case(self):
        lines = [line.replace("ok 2", "not ok 2") for line in GOOD]
        self.assertEqual(judge(lines), ["7.3/guest/fork/parent: "])

    def test_report_in_the_kernel_log(self):
        for lines in REPORTS.values():
            for line in lines:
                self.assertEqual(len(judge(GOOD, kernel=[line])), 1, line)

    def test_every_truncation_fails(self):
        for end in range(len(GOOD)):
            self.assertTrue(judge(GOOD[:end]), f"cut after line {end}")

    def test_guest_that_stops_says_where(self):
        self.assertIn("running guest/fork", judge(GOOD[:6])[-1])

    def test_time_out(self):
        self.assertEqual(
            judge(GOOD[:6], timed_out=30)[-1],
            "7.3/guest: did not finish in 30 seconds; it was running guest/fork",
        )

    def test_crash_after_good_results(self):
        lines = [line.replace("fork 0", "fork 139") for line in GOOD]
        self.assertEqual(judge(lines), ["7.3/guest/fork: ended with status 139"])

    def test_required_program_did_not_run(self):
        self.assertEqual(judge(GOOD, require=["guest/cow"]), ["7.3/guest/cow: did not run"])

    def test_required_kind_did_not_run(self):
        self.assertEqual(judge(GOOD, require=["kunit/"]), ["7.3/kunit: did not run"])

    def test_unexpected_number_of_cases(self):
        self.assertEqual(
            judge(GOOD, expect={"guest/fork": 3}), ["7.3/guest/fork: 3 cases are expected, 2 came"]
        )

    def test_module_that_does_not_load(self):
        lines = GOOD[:2] + ["@@ fail insmod drm_svm.ko failed"] + GOOD[2:]
        self.assertEqual(judge(lines), ["7.3/guest: insmod drm_svm.ko failed"])


def called(first, second):
    """The same for two functions of the kernel, of which a module calls the first."""
    report = race(first, second, "")
    report.insert(5, " stub_submit+0x10/0x20 [drm_svm_stub]")
    return report


class Races(unittest.TestCase):
    def judge(self, report):
        self.session = qemu.Session("7.3", modules=["drm_svm", "drm_svm_stub"])
        for line in report:
            self.session.kernel_line("[    1.000000] " + line)
        for line in GOOD:
            self.session.job_line(line)
        return [c.detail for c in self.session.finish() if c.result == ktap.FAILED]

    def test_race_of_the_kernel_with_itself_is_counted(self):
        for frames in ("", ""), (" [drm]", ""), (" [drm_svm_other]", ""), (" [my_drm_svm]", ""):
            with self.subTest(frames=frames):
                self.assertEqual(self.judge(race("one", "other", *frames)), [])
                self.assertEqual(self.session.foreign_races, 1)
                self.assertEqual(self.session.excerpt, [])

    def test_module_under_test_on_either_side_fails(self):
        for frames in (" [drm_svm]", ""), ("", " [drm_svm]"), ("", " [drm_svm_stub]"):
            with self.subTest(frames=frames):
                failed = self.judge(race("one", "other", *frames))
                self.assertEqual(len(failed), 1)
                self.assertIn("KCSAN: [    1.000000] BUG: KCSAN: data-race in one / other", failed[0])
                self.assertEqual(self.session.foreign_races, 0)
                self.assertIn(f" other+0x47/0x80{frames[-1]}", "\n".join(self.session.excerpt))

    def test_access_that_the_kernel_makes_for_itself_is_counted(self):
        for function in "ww_mutex_unlock", "queue_work_on", "percpu_counter_add_batch", "osq_lock.isra.0":
            with self.subTest(function=function):
                self.assertEqual(self.judge(called(function, "other")), [])
                self.assertEqual(self.session.foreign_races, 1)

    def test_access_that_the_kernel_makes_for_its_caller_fails(self):
        for function in "__list_add", "memcpy", "rb_erase", "drm_mm_insert_node_in_range", "__memset.part.0":
            with self.subTest(function=function):
                self.assertEqual(len(self.judge(called(function, "other"))), 1)

    def test_helper_that_the_kernel_has_called_is_the_kernels(self):
        report = called("memcpy", "other")
        report.insert(5, " copy_process+0x10/0x20")
        self.assertEqual(self.judge(report), [])
        report[5] = " drm_gem_open+0x10/0x20 [drm]"
        self.assertEqual(self.judge(report), [])

    def test_race_with_one_known_side(self):
        for frame, failures in (" [drm_svm]", 1), ("", 0):
            with self.subTest(frame=frame):
                report = race("one", "other", frame)
                report[1] = "BUG: KCSAN: data-race in one+0x9b/0x1b0"
                report[3] = "race at unknown origin, with read to 0xffff888002067cc0 of 8 bytes by task 1 on cpu 0:"
                del report[7:11]
                self.assertEqual(len(self.judge(report)), failures)

    def test_report_without_a_stack_fails(self):
        report = race("one", "other", "")
        report[3] = report[7] = "something else"
        self.assertEqual(len(self.judge(report)), 1)

    def test_report_that_breaks_off_fails(self):
        for end in range(2, 14):
            with self.subTest(end=end):
                self.assertEqual(len(self.judge(race("one", "other", "")[:end])), 1)

    def test_report_that_another_interrupts_fails(self):
        report = race("one", "other", "")
        self.assertEqual(len(self.judge(report[:8] + report)), 1)
        self.assertEqual(self.session.foreign_races, 1)

    def test_other_report_within_a_race_fails(self):
        report = race("one", "other", "")
        report.insert(5, "WARNING: mm/migrate.c:21 at f+0x114/0x1000, CPU#0: demo/48")
        self.assertEqual(len(self.judge(report)), 1)


class Command(unittest.TestCase):
    def command(self, **options):
        args = argparse.Namespace(job="job-bench", smp=1, memory="1G", append=[], icount=False,
                                  plugin=None)
        vars(args).update(options)
        return qemu.qemu_command(args, "/nowhere", "initrd", False, ["-serial", "x"])

    def test_instructions_are_counted_alike_in_each_run(self):
        command = self.command(icount=True)
        self.assertIn("shift=0,sleep=off", command)
        self.assertIn("tcg,thread=single", command)
        cpu = command[command.index("-cpu") + 1]
        for what in ("-rdrand", "-rdseed", "-erms"):
            self.assertIn(what, cpu)
        self.assertIn("clock=vm", command[command.index("-rtc") + 1])
        self.assertIn("nokaslr", command[command.index("-append") + 1])

    def test_nothing_is_counted_by_itself(self):
        command = self.command()
        self.assertNotIn("-icount", command)
        self.assertNotIn("nokaslr", command[command.index("-append") + 1])

    def test_plugin(self):
        command = self.command(plugin="x.so,out=y")
        self.assertEqual(command[command.index("-plugin") + 1], "x.so,out=y")


class Run(unittest.TestCase):
    def test_no_guest_outlives_who_is_told_to_end(self):
        # What QEMU is here says its number, and would go on for a minute.
        def lines(text):
            children.append(int(text))
            os.kill(os.getpid(), signal.SIGTERM)

        children = []
        session = argparse.Namespace(kernel_line=lines, job_line=None)
        with tempfile.TemporaryDirectory() as directory:
            args = argparse.Namespace(dir=directory, timeout=60)
            with unittest.mock.patch("qemu.qemu_command") as command:
                command.side_effect = lambda *given: [
                    "sh", "-c", f'echo $$ >{given[4][1].removeprefix("file:")}; exec sleep 60']
                with self.assertRaises(SystemExit):
                    qemu.run(args, "kernel", "initrd", False, session)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with self.assertRaises(ProcessLookupError):
            os.kill(children[0], 0)


class Files(unittest.TestCase):
    def archive(self, name, content):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        return buffer.getvalue()

    def test_export(self):
        text = base64.b64encode(self.archive("./a/demo.svg", b"<svg/>")).decode()
        lines = [text[i : i + 76] for i in range(0, len(text), 76)]
        session = qemu.Session("7.3")
        for line in GOOD[:-1] + ["@@ out", *lines, "@@ end out 0", "@@ done"]:
            session.job_line(line)
        self.assertEqual([c.result for c in session.finish()], ["passed", "passed"])
        with tempfile.TemporaryDirectory() as directory:
            qemu.unpack(session.archive, directory)
            with open(f"{directory}/a/demo.svg", "rb") as file:
                self.assertEqual(file.read(), b"<svg/>")

    def test_damaged_export_fails(self):
        lines = GOOD[:-1] + ["@@ out", "no base64!", "@@ end out 0", "@@ done"]
        self.assertEqual(len(judge(lines)), 1)

    def test_nothing_is_written_outside(self):
        with tempfile.TemporaryDirectory() as directory:
            os.mkdir(f"{directory}/in")
            qemu.unpack(self.archive("../outside", b"x"), f"{directory}/in")
            self.assertEqual(os.listdir(directory), ["in"])

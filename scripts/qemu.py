#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Boot a test kernel in QEMU, run a job of scripts/guest/ in it, and judge it.

  qemu.py KERNEL JOB [options]

KERNEL is a flavour of scripts/kernel.sh, or a kernel build directory. JOB is a
file of scripts/guest/: job-test, job-demo, job-bench, job-shell.

The guest has two serial ports. The kernel alone talks on the first, so whatever
looks like a report of the kernel there is one. The job talks on the second:
results in KTAP, framed by lines that begin with @@ (see guest/init), and at the
end the files it left in /out, as a base64 tar archive.

A run fails on
  - a result that is `not ok`, and on one that is missing: fewer than planned, a
    program or suite that did not show up, a suite without cases, a number of
    cases other than --expect says, a log that ends early;
  - a report in the kernel log: BUG, WARNING, Oops, lockdep, KASAN, UBSAN,
    kmemleak, hung task and their like; a data race (KCSAN) if a module under
    test made one of its accesses; those of the kernel with itself are counted;
  - running out of time, or a guest that stopped before its job was done.

The directory of --dir gets console.log, job.log, result.json and files/, which
holds what the guest exported.
"""

import argparse
import base64
import fcntl
import io
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tarfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ktap  # noqa: E402

SCRIPTS = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(SCRIPTS)

# A kernel line: time since boot, and with CONFIG_PRINTK_CALLER who printed it.
# What follows one blank is the message.
PRINTK = re.compile(r"^\[ *\d+\.\d+\](?:\[[^\]]*\])? (.*)$")

# What no clean log contains. Every pattern is anchored at the start of a kernel
# message; KUnit's lines in the log are indented or begin with '#' or "ok".
REPORTS = [
    ("KASAN", r"BUG: KASAN: |KASAN: "),
    ("KCSAN", r"BUG: KCSAN: "),
    ("KFENCE", r"BUG: KFENCE: "),
    ("UBSAN", r"UBSAN: "),
    ("kmemleak", r"kmemleak: (\d+ new suspected memory leaks|.*disabled|.*[Cc]annot allocate)"),
    (
        "lockdep",
        r"(WARNING: )?(possible (circular locking|recursive locking|irq lock inversion)"
        r"|inconsistent lock state|suspicious RCU usage|bad unlock balance|lock held when returning"
        r"|held lock freed|.*lock order(ing)? detected|.*-safe -> .*-unsafe lock order)"
        r"|\[ BUG: |INFO: trying to register non-static key|INFO: lockdep is turned off"
        r"|turning off the locking correctness validator|DEBUG_LOCKS_WARN_ON"
        r"|BUG: (MAX_\w+ too low|sleeping function called|scheduling while atomic|Invalid wait)",
    ),
    ("hung task", r"INFO: task .* (is )?blocked "),
    ("stall", r"rcu: INFO: .*stall|watchdog: BUG: |BUG: workqueue lockup|watchdog: .*LOCKUP"),
    ("BUG", r"(\w+: )?BUG:? |kernel BUG at |list_(add|del) corruption|=+ BUG "),
    (
        "Oops",
        r"(\w+: )?Oops\b|general protection fault|Kernel panic|Unable to handle kernel"
        r"|(invalid opcode|divide error|stack segment|double fault|int3): "
        r"|traps: PANIC: |Fixing recursive fault",
    ),
    ("WARNING", r"WARNING: |refcount_t: |ODEBUG: |DMA-API: .*(device driver|out of memory|disabl)"),
]
REPORTS = [(kind, re.compile(pattern)) for kind, pattern in REPORTS]

# Whose a data race is depends on who should have kept the two accesses apart. Code of the kernel
# that has locks of its own, or none on purpose (its locks, work queues, page faults, statistics),
# races with itself also where a module under test has called it. What trusts the lock of its
# caller does not: through such functions an access is that of whoever called them.
HELPERS = re.compile(
    r"_*mem(cpy|move|set|cmp|chr|chr_inv|set(16|32|64|_p|_l))|_*str[a-z_]+|v?scn?printf|v?s[cn]*printf"
    r"|seq_\w+|_*copy_(to|from)_\w+|_*list_\w+|_*hlist_\w+|_*llist_\w+|_*rb_\w+|interval_tree_\w+"
    r"|_*(find|bitmap|set|clear|change|test|test_and)_\w*bits?|_*bitmap_\w+|_*sort\w*|drm_mm_\w+"
    r"|drm_buddy_\w+|gpu_buddy_\w+|sg_\w+|kref_\w+|refcount_\w+"
)
# The compiler's suffixes of a function that it has changed.
SUFFIX = re.compile(r"(\.\w+)+$")
# What introduces the stack of an access, and a line of it.
ACCESS = re.compile(r"(race at unknown origin, with )?(read|write|read-write) .*to 0x[0-9a-f]+ of ")
FRAME = re.compile(r" (\S+?)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[(\w+)\])?$")
RULER = re.compile(r"={66}$")

# How much of the log to show after the line that made a run fail.
EXCERPT = 40


def kernel_report(line):
    """The kind of report a line of the kernel's console begins, or None."""
    message = PRINTK.match(line)
    if not message:
        return None
    for kind, pattern in REPORTS:
        if pattern.match(message[1]):
            return kind
    return None


def is_access_of(frames, modules):
    """Whether an access with this stack, of (function, module or None), was made by `modules`."""
    for function, module in frames:
        if module in modules:
            return True
        if module or not HELPERS.fullmatch(SUFFIX.sub("", function)):
            return False
    return False


def is_foreign_race(lines, modules):
    """Whether a whole KCSAN report is of a race in which `modules` made neither access."""
    stacks = []
    stack = None
    for line in lines:
        message = PRINTK.match(line)
        text = message[1] if message else ""
        frame = FRAME.match(text)
        if ACCESS.match(text):
            stack = []
            stacks.append(stack)
        elif frame and stack is not None:
            stack.append(frame.groups())
        else:
            stack = None
    return bool(stacks) and not any(is_access_of(stack, modules) for stack in stacks)


class Session:
    """Understands what a guest says. Knows nothing of QEMU, so it can be tested."""

    def __init__(self, name, require=(), expect=None, modules=(), tell=lambda kind, text: None):
        self.name = name
        self.require = require  # documents, or prefixes that end in '/'
        self.expect = expect or {}  # document -> number of cases
        self.modules = modules  # the names of those under test
        self.tell = tell  # called with what a person may want to see
        self.cases = []
        self.excerpt = []
        self.archive = None
        self.reports = 0
        self.foreign_races = 0
        self._race = []  # lines of a KCSAN report that is not at its end yet
        self._seen = {}  # document -> number of cases
        self._document = None
        self._parser = None
        self._exported = None
        self._done = False
        self._last = "the kernel did not reach its first process"

    def _fail(self, what, why):
        self.cases.append(ktap.Case(f"{self.name}/{what}", ktap.FAILED, why))

    def kernel_line(self, line):
        """A line of the first serial port."""
        self.tell("kernel", line)
        kind = kernel_report(line)
        if kind == "KCSAN":
            self._end_race()
            self._race = [line]
            return
        if kind:
            self._report(kind, line)
        if self._race:
            # Whose race it is stands in the lines up to the ruler.
            self._race.append(line)
            message = PRINTK.match(line)
            if message and RULER.match(message[1]):
                self._end_race()
        elif self.reports:
            self._quote(line)

    def _report(self, kind, line):
        self.reports += 1
        # The first report matters most; those after it are often its echo.
        if self.reports <= 10:
            self._fail("kernel log", f"{kind}: {line}")

    def _quote(self, line):
        if len(self.excerpt) < EXCERPT:
            self.excerpt.append(line)

    def _end_race(self):
        """Judge the race report that was being read; one that broke off counts."""
        race, self._race = self._race, []
        if not race:
            return
        whole = any(line.endswith("Reported by Kernel Concurrency Sanitizer on:") for line in race)
        if whole and is_foreign_race(race, self.modules):
            self.foreign_races += 1
            return
        self._report("KCSAN", race[0])
        for line in race:
            self._quote(line)

    def job_line(self, line):
        """A line of the second serial port."""
        if line.startswith("@@ "):
            word, _, rest = line[3:].partition(" ")
            self._marker(word, rest)
        elif self._exported is not None:
            self._exported.append(line)
        else:
            if self._parser:
                self._parser.feed(line)
            self.tell("output" if self._document else "job", line)

    def _marker(self, word, rest):
        if word == "begin":
            self._document = rest
            self._parser = ktap.Parser(f"{self.name}/{rest}")
            self._last = f"it was running {rest}"
            self.tell("begin", rest)
        elif word == "end" and rest.startswith("out "):
            self._unpack()
        elif word == "end" and self._parser:
            document, _, status = rest.rpartition(" ")
            self._close(document, int(status))
        elif word == "out":
            self._exported = []
            self._last = "it was exporting its files"
        elif word == "load":
            self._last = f"it was loading {rest}"
            self.tell("begin", f"module {rest}")
        elif word == "fail":
            self._fail("guest", rest)
        elif word == "done":
            self._done = True

    def _close(self, document, status):
        cases = self._parser.finish()
        failed = sum(c.result == ktap.FAILED for c in cases)
        if status and not failed and any(c.result == ktap.PASSED for c in cases):
            # Its results may be fine, and yet it died, or found a leak on exit.
            why = f"ended with status {status}"
            cases.append(ktap.Case(f"{self.name}/{document}", ktap.FAILED, why))
            failed += 1
        self.cases += cases
        self._seen[document] = self._seen.get(document, 0) + len(cases)
        self._document = self._parser = None
        count = f"{document}: {len(cases)} cases"
        self.tell("end", count + (f", {failed} failed" if failed else ""))

    def _unpack(self):
        try:
            self.archive = base64.b64decode("".join(self._exported), validate=True)
        except ValueError as error:
            self._fail("files", f"the exported files are damaged: {error}")
        self._exported = None

    def finish(self, timed_out=0):
        """Judge what is missing, once the guest has ended; returns the cases."""
        self._end_race()
        if self._parser:
            self._parser.finish()
            self._seen.setdefault(self._document, 0)
            self.cases += [c for c in self._parser.cases if c.result != ktap.FAILED]
        if timed_out:
            self._fail("guest", f"did not finish in {timed_out} seconds; {self._last}")
        elif not self._done:
            self._fail("guest", f"stopped before its job was done; {self._last}")
        for need in self.require:
            if need.endswith("/"):
                there = any(document.startswith(need) for document in self._seen)
            else:
                there = need in self._seen
            if not there:
                self._fail(need.rstrip("/"), "did not run")
        for document, count in self.expect.items():
            seen = self._seen.get(document, 0)
            if seen != count:
                self._fail(document, f"{count} cases are expected, {seen} came")
        return self.cases


def kvm_works():
    """Whether KVM can be used, and why not. A device node alone proves nothing:
    on a machine without hardware support QEMU would start with it and hang."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            if not re.search(r"^flags\s*:.*\b(svm|vmx)\b", file.read(), re.MULTILINE):
                return False, "the CPU shows neither svm nor vmx"
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return False, f"/dev/kvm cannot be opened: {error.strerror}"
    try:
        if fcntl.ioctl(device, 0xAE00) != 12:  # KVM_GET_API_VERSION
            return False, "/dev/kvm speaks an unknown version"
        os.close(fcntl.ioctl(device, 0xAE01, 0))  # KVM_CREATE_VM
    except OSError as error:
        return False, f"/dev/kvm cannot create a machine: {error.strerror}"
    finally:
        os.close(device)
    return True, ""


def unpack(archive, directory):
    """Extract the guest's files: plain files and directories below `directory`."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            path = os.path.normpath(member.name)
            if not member.isfile() or path.startswith(("/", "..")):
                continue
            target = os.path.join(directory, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                shutil.copyfileobj(tar.extractfile(member), file)


def read_expected(paths):
    """Files of `document count` lines; # starts a comment."""
    expected = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                words = line.split("#")[0].split()
                if words:
                    expected[words[0]] = int(words[1])
    return expected


class Screen:
    """What a person sees while the guest runs."""

    def __init__(self, show):
        self.show = show
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, kind, text):
        if self.show == "all":
            if kind in ("begin", "end"):
                text = f"--- {text}"
            elif kind == "kernel" and self.colour:
                text = f"\x1b[2m{text}\x1b[0m"
        elif self.show == "story":
            if kind != "output" or self._is_ktap(text):
                return
        elif kind != "end":
            return
        else:
            text = f"  {text}"
        if not self.colour:
            text = ktap.ANSI.sub("", text)
        stream = sys.stdout if self.show == "story" else sys.stderr
        print(text, file=stream, flush=True)

    @staticmethod
    def _is_ktap(text):
        text = text.strip()
        return ktap.VERSION.match(text) or ktap.PLAN.match(text) or re.match(r"(not )?ok \d", text)


def machine(kernel):
    """QEMU's options for a machine that has what a kernel uses by itself."""
    try:
        with open(f"{kernel}/.config", encoding="utf-8") as config:
            iommu = "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n" in config
    except FileNotFoundError:
        # A kernel from a package is as good on the plain one.
        iommu = False
    # The test device is what is behind the IOMMU. It has no driver, and does no DMA of its own.
    # Half of the memory is where a 32-bit device does not reach, so that there is a swiotlb.
    devices = ["-device", "intel-iommu", "-device", "pci-testdev"]
    return ["-machine", "q35,max-ram-below-4g=1G", *devices] if iommu else []


def qemu_command(args, kernel, initrd, accelerated, serial):
    # Four levels of page tables: an interrupt in identify_cpu(), while the bit that says five is
    # cleared for a moment, lets KASAN take any address for a wild one. On a busy machine it comes.
    command = "console=ttyS0,115200 printk.time=1 panic=-1 oops=panic no5lvl"
    command += f" loglevel={4 if args.job == 'job-shell' else 7} JOB={args.job}"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        command += " DRM_SVM_COLOR=1"
    if args.icount:
        # One virtual nanosecond an instruction, and nothing from outside that could differ between
        # two runs: no host clock, no randomness of the host's CPU, no addresses chosen by chance.
        # Each step of a string instruction counts, so they are not to go byte by byte.
        command += " nokaslr norandmaps"
        cpu = "-accel tcg,thread=single -cpu max,-rdrand,-rdseed,-erms,-fsrm -icount shift=0,sleep=off"
        cpu += " -rtc base=2026-01-01T00:00:00,clock=vm"
    else:
        cpu = "-accel kvm -cpu host" if accelerated else "-accel tcg,thread=multi -cpu max"
    return [
        "qemu-system-x86_64",
        *cpu.split(),
        *machine(kernel),
        *["-smp", str(args.smp), "-m", args.memory],
        *["-nodefaults", "-no-reboot", "-display", "none"],
        *["-kernel", f"{kernel}/arch/x86/boot/bzImage", "-initrd", initrd],
        *["-append", " ".join([command, *args.append])],
        *(["-plugin", args.plugin] if args.plugin else []),
        *serial,
    ]


def run(args, kernel, initrd, accelerated, session):
    """Boot the guest and feed `session` until it ends; returns 0 or the time-out."""
    pipes = [os.pipe(), os.pipe()]
    serial = []
    for _, write in pipes:
        serial += ["-serial", f"file:/dev/fd/{write}"]
    readers = {}
    for (read, _), name, handler in zip(
        pipes, ("console.log", "job.log"), (session.kernel_line, session.job_line)
    ):
        readers[read] = [open(f"{args.dir}/{name}", "w", encoding="utf-8"), handler, b""]

    deadline = time.monotonic() + args.timeout
    # Who is told to end takes QEMU along.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    qemu = subprocess.Popen(
        qemu_command(args, kernel, initrd, accelerated, serial),
        stdin=subprocess.DEVNULL,
        pass_fds=[write for _, write in pipes],
    )
    for _, write in pipes:
        os.close(write)

    timed_out = 0
    selector = selectors.DefaultSelector()
    for read in readers:
        selector.register(read, selectors.EVENT_READ)
    finished = False
    try:
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                timed_out = args.timeout
                break
            for key, _ in selector.select(left):
                log, handler, rest = readers[key.fd]
                data = os.read(key.fd, 65536)
                *lines, rest = (rest + data).split(b"\n")
                if not data:
                    selector.unregister(key.fd)
                    lines = [rest] if rest else []
                readers[key.fd][2] = rest
                for line in lines:
                    line = line.decode("utf-8", "replace").rstrip("\r")
                    log.write(line + "\n")
                    handler(line)
                log.flush()
        finished = not timed_out
    finally:
        if not finished:
            qemu.kill()
        status = qemu.wait()
        for read, (log, _, _) in readers.items():
            os.close(read)
            log.close()
    if status and not timed_out:
        why = f"QEMU ended with status {status}"
        session.cases.append(ktap.Case(f"{session.name}/qemu", ktap.FAILED, why))
    return timed_out


def arguments():
    parser = argparse.ArgumentParser(description="Boot a test kernel, run a job in it, and judge it.")
    parser.add_argument("kernel", help="a flavour of scripts/kernel.sh, or a kernel build directory")
    parser.add_argument("job", help="a file of scripts/guest/: job-test, job-demo, job-shell")
    parser.add_argument("--module", action="append", default=[], metavar="'NAME [PARAMETER...]'",
                        help="load this module; its dependencies come along")
    parser.add_argument("--module-dir", metavar="DIR", help="where the modules under test are (build/KERNEL)")
    parser.add_argument("--program", action="append", default=[], metavar="FILE",
                        help="put this static program into the guest")
    parser.add_argument("--require", action="append", default=[], metavar="NAME",
                        help="fail unless this program or suite ran; NAME/ means any of that kind")
    parser.add_argument("--expect", action="append", default=[], metavar="FILE",
                        help="fail unless the numbers of cases are as its lines 'NAME COUNT' say")
    parser.add_argument("--dir", metavar="DIR", help="for logs and results (build/run/KERNEL-JOB)")
    parser.add_argument("--result", metavar="FILE", help="write the result there as well")
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--smp", type=int, default=2)
    parser.add_argument("--icount", action="store_true",
                        help="let the guest's clocks count instructions; emulates, even if KVM works")
    parser.add_argument("--plugin", metavar="FILE,ARGUMENTS", help="let QEMU load this plugin")
    parser.add_argument("--timeout", type=int, default=600, metavar="SECONDS")
    parser.add_argument("--append", action="append", default=[], metavar="TEXT",
                        help="add to the kernel command line")
    parser.add_argument("--show", choices=["progress", "story", "all"], default="progress")
    return parser.parse_args()


def main():
    args = arguments()
    flavour = os.path.basename(args.kernel.rstrip("/"))
    kernel = args.kernel
    if "/" not in kernel:
        command = [f"{SCRIPTS}/kernel.sh", "dir", kernel]
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if found.returncode:
            return found.returncode
        kernel = found.stdout.strip()
    args.module_dir = args.module_dir or f"{TOP}/build/{flavour}"
    args.dir = args.dir or f"{TOP}/build/run/{flavour}-{args.job.removeprefix('job-')}"
    files = f"{args.dir}/files"
    shutil.rmtree(files, ignore_errors=True)
    os.makedirs(files)

    initrd = f"{args.dir}/initramfs.gz"
    pack = [f"{SCRIPTS}/initramfs.sh", "-o", initrd, "-k", kernel, "-d", args.module_dir]
    for module in args.module:
        pack += ["-m", module]
    for program in args.program:
        pack += ["-p", program]
    packed = subprocess.run(pack)
    if packed.returncode:
        return packed.returncode

    accelerated, why = (False, "instructions are counted") if args.icount else kvm_works()
    how = "KVM" if accelerated else f"TCG, QEMU's emulation, because {why}"
    print(f"Booting {flavour} with {how}.", file=sys.stderr, flush=True)
    if args.job == "job-shell":
        sys.stderr.flush()
        command = qemu_command(args, kernel, initrd, accelerated, ["-serial", "mon:stdio"])
        os.execvp(command[0], command)

    modules = [module.split()[0] for module in args.module]
    session = Session(flavour, args.require, read_expected(args.expect), modules, Screen(args.show))
    start = time.monotonic()
    timed_out = run(args, kernel, initrd, accelerated, session)
    cases = session.finish(timed_out)
    if session.archive:
        try:
            unpack(session.archive, files)
        except (tarfile.TarError, EOFError, OSError) as error:
            why = f"the exported files are damaged: {error}"
            cases.append(ktap.Case(f"{flavour}/files", ktap.FAILED, why))
    if not any(case.result == ktap.PASSED for case in cases):
        cases.append(ktap.Case(f"{flavour}/{args.job}", ktap.FAILED, "no case passed"))

    seconds = round(time.monotonic() - start, 1)
    result = ktap.summary(cases, kernel=flavour, job=args.job, seconds=seconds,
                          foreign_races=session.foreign_races,
                          accelerator="kvm" if accelerated else "tcg")
    ktap.write_json(f"{args.dir}/result.json", result)
    if args.result:
        ktap.write_json(args.result, result)
    ktap.print_failures(cases)
    if session.excerpt:
        print("The kernel log from its first report on:", file=sys.stderr)
        print(*session.excerpt, sep="\n", file=sys.stderr)
    if session.foreign_races:
        print(f"{session.foreign_races} reports of data races are about the kernel alone "
              "and do not count.", file=sys.stderr)
    if result["failed"]:
        print(f"The logs are {args.dir}/console.log and job.log.", file=sys.stderr)
    print(f"{flavour} {args.job}: {result['passed']} passed, {result['failed']} failed, "
          f"{result['skipped']} skipped in {seconds} s.", file=sys.stderr)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

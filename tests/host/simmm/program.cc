// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The text of a program. What is written is what is not the default, so that a small program
// is a small text; what is read is checked, so that no program asks for what there cannot be.

#include "tests/host/simmm/program.h"

#include <cstdlib>
#include <cstring>
#include <sstream>

namespace dsvm::sim {

namespace {

using Pages = Operands::Pages;
using To = Operands::To;

struct VerbInfo {
	const char *name;
	Operands operands;
};

constexpr VerbInfo kVerbs[] = {
	{"load", {true, Pages::kOne, To::kNone}},
	{"store", {true, Pages::kOne, To::kNone}},
	{"gpu_load", {false, Pages::kOne, To::kNone}},
	{"gpu_store", {false, Pages::kOne, To::kNone}},
	{"map", {true, Pages::kSpan, To::kHuge}},
	{"unmap", {true, Pages::kSpan, To::kNone}},
	{"protect_none", {true, Pages::kSpan, To::kNone}},
	{"protect_read", {true, Pages::kSpan, To::kNone}},
	{"protect_write", {true, Pages::kSpan, To::kNone}},
	{"dontneed", {true, Pages::kSpan, To::kNone}},
	{"free", {true, Pages::kSpan, To::kNone}},
	{"move", {true, Pages::kSpan, To::kNumber}},
	{"fork", {true, Pages::kNone, To::kNone}},
	{"exit", {true, Pages::kNone, To::kNone}},
	{"page_out", {true, Pages::kOne, To::kNone}},
	{"compact", {true, Pages::kOne, To::kNone}},
	{"collapse", {true, Pages::kOne, To::kNone}},
	{"split", {true, Pages::kOne, To::kNone}},
	{"split_folio", {true, Pages::kOne, To::kNone}},
	{"pin", {true, Pages::kOne, To::kNumber}},
	{"unpin", {false, Pages::kNone, To::kNone}},
	{"oom_reap", {true, Pages::kNone, To::kNone}},
	{"to_vram", {false, Pages::kSpan, To::kNone}},
	{"to_ram", {false, Pages::kSpan, To::kNone}},
	{"to_peer", {false, Pages::kSpan, To::kNone}},
	{"evict", {false, Pages::kOne, To::kNone}},
	{"evict_part", {false, Pages::kOne, To::kNumber}},
	{"evict_all", {false, Pages::kNone, To::kNone}},
	{"evict_ranges", {false, Pages::kSpan, To::kNone}},
	{"drop_ranges", {false, Pages::kSpan, To::kNone}},
	{"garbage", {false, Pages::kNone, To::kNone}},
	{"vm_destroy", {false, Pages::kNone, To::kNone}},
	{"unbind", {false, Pages::kNone, To::kNone}},
	{"hmmptr_make", {true, Pages::kSpan, To::kHmmptr, kHmmptrSvm | kHmmptrConst}},
	{"hmmptr_release", {false, Pages::kNone, To::kHmmptr, kHmmptrEarly}},
	{"hmmptr_populate", {false, Pages::kSpan, To::kHmmptr, kHmmptrWrite}},
	{"hmmptr_map", {false, Pages::kSpan, To::kHmmptr}},
	{"hmmptr_bind", {false, Pages::kSpan, To::kHmmptr, kHmmptrWrite | kHmmptrSecond}},
	{"hmmptr_unmap", {false, Pages::kSpan, To::kHmmptr, kHmmptrForget}},
	{"hmmptr_inject", {false, Pages::kSpan, To::kHmmptr}},
	{"hmmptr_load", {false, Pages::kOne, To::kHmmptr}},
	{"hmmptr_store", {false, Pages::kOne, To::kHmmptr}},
	{"hmmptr_exec", {false, Pages::kOne, To::kHmmptr, kHmmptrWrite}},
	{"hmmptr_revalidate", {false, Pages::kNone, To::kNone}},
	{"kill", {false, Pages::kNone, To::kNumber}},
	{"fail", {false, Pages::kNone, To::kNumber}},
};
static_assert(sizeof(kVerbs) / sizeof(kVerbs[0]) == static_cast<usize>(Verb::kCount));

// Bits of enum HmmptrFlag, in order.
constexpr const char *kHmmptrFlags[] = {"svm", "const", "write", "second", "forget", "early"};
static_assert(1u << (sizeof(kHmmptrFlags) / sizeof(kHmmptrFlags[0]) - 1) == kHmmptrEarly);

constexpr const char *kVmaKinds[] = {"anon", "shared", "file", "special"};
constexpr u8 kNumVmaKinds = sizeof(kVmaKinds) / sizeof(kVmaKinds[0]);
static_assert(kNumVmaKinds == static_cast<u8>(VmaKind::kSpecial) + 1);
const Kernel *const kKernels[] = {&kKernel6_1, &kKernel6_12, &kKernel7_3};

// Numbers of a machine, by their name and with what they may be.
struct GeometryField {
	const char *name;
	u32 Geometry::*field;
	u32 min;
	u32 max;
};
constexpr GeometryField kGeometry[] = {
	{"mms", &Geometry::mms, 1, kMaxMms},
	{"pages", &Geometry::va_pages, 1, kMaxVaPages},
	{"ram", &Geometry::ram_pages, 2, 2048},
	{"vram", &Geometry::device_pages, 1, 1024},
	{"swap", &Geometry::swap_slots, 2, 1024},
	{"huge", &Geometry::huge_order, 0, 6},
	{"peer_vram", &Geometry::peer_pages, 0, 1024},
	{"fragmented", &Geometry::fragmented, 0, 1},
};

constexpr u32 kMaxPages = 64; // of a range, of a piece
struct DriverField {
	const char *name;
	u32 DriverConfig::*field;
	u32 min;
	u32 max;
	bool power_of_two;
};
constexpr DriverField kDriver[] = {
	{"notifier_pages", &DriverConfig::notifier_pages, 1, 4096, true},
	{"piece_pages", &DriverConfig::piece_pages, 1, kMaxPages, true},
	{"check_pages", &DriverConfig::check_pages, 0, kMaxPages, false},
	{"tlb_entries", &DriverConfig::tlb_entries, 0, 64, false},
	{"fault_tries", &DriverConfig::fault_tries, 1, 1000, false},
	{"max_dma_order", &DriverConfig::max_dma_order, 0, 63, false},
	{"finish_slots", &DriverConfig::finish_slots, 0, 4, false},
	{"workers", &DriverConfig::workers, 0, 4, false},
	{"granule_pages", &DriverConfig::granule_pages, 0, kMaxPages, false},
	{"inject_every", &DriverConfig::inject_every, 0, 1000, false},
	{"block_pages", &DriverConfig::block_pages, 0, 512, false},
	{"peer", &DriverConfig::peer, 0, static_cast<u32>(DriverConfig::Peer::kForeign), false},
};
struct DriverFlag {
	const char *name;
	bool DriverConfig::*field;
};
constexpr DriverFlag kDriverFlags[] = {
	{"migrate_on_fault", &DriverConfig::migrate_on_fault},
	{"fini_removes", &DriverConfig::fini_removes},
	{"behind_iommu", &DriverConfig::behind_iommu},
	{"direct_dma", &DriverConfig::direct_dma},
	{"range_locks", &DriverConfig::range_locks},
	{"window_locks", &DriverConfig::window_locks},
	{"trims", &DriverConfig::trims},
	{"wide_reads", &DriverConfig::wide_reads},
	{"fault_in", &DriverConfig::fault_in},
	{"copies_runs", &DriverConfig::copies_runs},
	{"copies_later", &DriverConfig::copies_later},
	{"frees_pages", &DriverConfig::frees_pages},
	{"evicts", &DriverConfig::evicts},
	{"scatters", &DriverConfig::scatters},
};
constexpr u64 kMaxTimesliceUs = 10000000;

bool is_power_of_two(u64 value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

// Writing -----------------------------------------------------------------------

std::string span_text(u32 first, u32 last)
{
	std::string text = std::to_string(first);

	if (last != first)
		text += "-" + std::to_string(last);
	return text;
}

std::string driver_text(const DriverConfig &driver)
{
	const DriverConfig defaults;
	std::string text;

	for (const DriverFlag &flag : kDriverFlags) {
		if (driver.*flag.field != defaults.*flag.field)
			text += std::string(" ") + flag.name + "=" +
				(driver.*flag.field ? "1" : "0");
	}
	if (std::memcmp(driver.chunk_pages, defaults.chunk_pages, sizeof(driver.chunk_pages)) !=
	    0) {
		text += " chunks=";
		for (const u32 &chunk : driver.chunk_pages) {
			if (chunk != 0)
				text += (&chunk == driver.chunk_pages ? "" : ",") +
					std::to_string(chunk);
		}
	}
	for (const DriverField &field : kDriver) {
		if (driver.*field.field != defaults.*field.field)
			text += std::string(" ") + field.name + "=" +
				std::to_string(driver.*field.field);
	}
	if (driver.timeslice_ns != defaults.timeslice_ns)
		text += " timeslice_us=" + std::to_string(driver.timeslice_ns / 1000);
	return text;
}

std::string flags_text(u32 flags)
{
	std::string text;

	for (u32 i = 0; flags >> i != 0; i++)
		text += (flags >> i & 1) != 0 ? std::string(" ") + kHmmptrFlags[i] : "";
	return text;
}

// Reading -----------------------------------------------------------------------

// The words of a line, and what goes wrong with them.
class Line {
public:
	explicit Line(const std::string &text) : words_(text.substr(0, text.find('#'))) {}

	// False: there is none left.
	bool word(std::string &out) { return static_cast<bool>(words_ >> out); }
	bool number(const char *what, u64 min, u64 max, u64 &out)
	{
		std::string text;

		if (!word(text))
			return fail(std::string(what) + " is missing");
		return to_number(what, text, min, max, out);
	}
	bool to_number(const char *what, const std::string &text, u64 min, u64 max, u64 &out)
	{
		char *end = nullptr;

		out = std::strtoull(text.c_str(), &end, 10);
		if (text.empty() || text[0] < '0' || text[0] > '9' || *end != '\0')
			return fail(std::string(what) + " is no number: " + text);
		if (out < min || out > max)
			return fail(std::string(what) + " has to be " + std::to_string(min) +
				    " to " + std::to_string(max) + ", not " + text);
		return true;
	}
	// "4" or "4-7".
	bool span(u32 pages, u16 &first, u16 &last)
	{
		std::string text;
		u64 begin = 0, end = 0;

		if (!word(text))
			return fail("a span is missing");
		const usize dash = text.find('-');
		if (!to_number("a page", text.substr(0, dash), 0, pages - 1, begin))
			return false;
		end = begin;
		if (dash != std::string::npos &&
		    !to_number("a page", text.substr(dash + 1), begin, pages - 1, end))
			return false;
		first = static_cast<u16>(begin);
		last = static_cast<u16>(end);
		return true;
	}
	bool end()
	{
		std::string rest;

		return !word(rest) || fail("more than there should be: " + rest);
	}
	bool fail(const std::string &what)
	{
		if (error_.empty())
			error_ = what;
		return false;
	}
	const std::string &error() const { return error_; }

private:
	std::istringstream words_;
	std::string error_;
};

bool parse_kernel(Line &line, Program &program)
{
	std::string name;

	line.word(name);
	for (const Kernel *kernel : kKernels) {
		if (name == kernel->name) {
			program.kernel = kernel;
			return line.end();
		}
	}
	return line.fail("no such kernel: " + name);
}

bool parse_chunks(Line &line, const std::string &value, DriverConfig &driver)
{
	std::istringstream list(value);
	std::string text;
	u32 count = 0;
	u64 before = kMaxPages, chunk = 0;

	for (u32 &pages : driver.chunk_pages)
		pages = 0;
	while (std::getline(list, text, ',')) {
		if (count == sizeof(driver.chunk_pages) / sizeof(driver.chunk_pages[0]))
			return line.fail("too many chunks");
		if (!line.to_number("a chunk", text, 1, before, chunk))
			return false;
		if (!is_power_of_two(chunk))
			return line.fail("a chunk has to be a power of two");
		before = chunk;
		driver.chunk_pages[count++] = static_cast<u32>(chunk);
	}
	return chunk == 1 || line.fail("the last chunk has to be 1, or no page could be served");
}

bool parse_option(Line &line, const std::string &name, const std::string &text,
		  DriverConfig &driver)
{
	u64 value = 0;

	if (name == "chunks")
		return parse_chunks(line, text, driver);
	if (name == "timeslice_us") {
		if (!line.to_number(name.c_str(), text, 0, kMaxTimesliceUs, value))
			return false;
		driver.timeslice_ns = value * 1000;
		return true;
	}
	for (const DriverFlag &flag : kDriverFlags) {
		if (name != flag.name)
			continue;
		if (!line.to_number(flag.name, text, 0, 1, value))
			return false;
		driver.*flag.field = value != 0;
		return true;
	}
	for (const DriverField &field : kDriver) {
		if (name != field.name)
			continue;
		if (!line.to_number(field.name, text, field.min, field.max, value))
			return false;
		if (field.power_of_two && !is_power_of_two(value))
			return line.fail(name + " has to be a power of two");
		driver.*field.field = static_cast<u32>(value);
		return true;
	}
	return line.fail("no such option of the driver: " + name);
}

bool parse_driver(Line &line, DriverConfig &driver)
{
	std::string text;

	while (line.word(text)) {
		const usize equals = text.find('=');
		const std::string value =
			equals == std::string::npos ? "" : text.substr(equals + 1);

		if (!parse_option(line, text.substr(0, equals), value, driver))
			return false;
	}
	if (driver.granule_pages != 0 && !is_power_of_two(driver.granule_pages))
		return line.fail("granule_pages has to be a power of two");
	if (driver.block_pages != 0 && !is_power_of_two(driver.block_pages))
		return line.fail("block_pages has to be a power of two");
	return driver.chunk_pages[0] <= driver.notifier_pages ||
	       line.fail("a chunk is larger than a notifier");
}

bool parse_area(Line &line, Program &program)
{
	Area area{};
	std::string word;
	bool known = false;

	if (!line.span(program.geometry.va_pages, area.first, area.last))
		return false;
	line.word(word);
	for (u8 i = 0; i < kNumVmaKinds; i++) {
		if (word == kVmaKinds[i]) {
			area.kind = static_cast<VmaKind>(i);
			known = true;
		}
	}
	if (!known)
		return line.fail("no such kind of memory: " + word);
	while (line.word(word)) {
		if (word == "huge")
			area.huge = true;
		else if (word == "filled")
			area.filled = true;
		else if (word == "vram")
			area.in_vram = true;
		else
			return line.fail("no such property of memory: " + word);
	}
	for (const Area &other : program.areas) {
		if (other.first <= area.last && area.first <= other.last)
			return line.fail("areas overlap");
	}
	program.areas.push_back(area);
	return true;
}

// Up to the end of the line.
bool parse_flags(Line &line, u32 allowed, u32 &flags)
{
	std::string word;

	while (line.word(word)) {
		u32 flag = 0;

		for (u32 i = 0; i < sizeof(kHmmptrFlags) / sizeof(kHmmptrFlags[0]); i++)
			flag |= word == kHmmptrFlags[i] ? 1u << i : 0;
		if ((flag & allowed) == 0)
			return line.fail("no such property of a hmmptr: " + word);
		flags |= flag;
	}
	return true;
}

bool parse_hmmptr(Line &line, Program &program)
{
	HmmptrArea hmmptr{};

	if (program.hmmptrs.size() == kMaxHmmptrs)
		return line.fail("too many hmmptrs");
	if (!line.span(program.geometry.va_pages, hmmptr.first, hmmptr.last) ||
	    !parse_flags(line, kHmmptrSvm | kHmmptrConst, hmmptr.flags))
		return false;
	program.hmmptrs.push_back(hmmptr);
	return true;
}

bool parse_slot(Line &line, const Operands &operands, Op &op)
{
	u64 slot = 0;
	u32 flags = 0;

	if (!line.number("a slot", 0, kMaxHmmptrs - 1, slot) ||
	    !parse_flags(line, operands.flags, flags))
		return false;
	op.to = static_cast<u16>(slot | flags << kSlotBits);
	return true;
}

bool parse_fail(Line &line, Op &op)
{
	std::string name;
	u64 value = 0;

	line.word(name);
	for (u16 i = 1; i < static_cast<u16>(Fail::kCount); i++) {
		if (name == name_of(static_cast<Fail>(i)))
			op.first = i;
	}
	if (op.first == 0)
		return line.fail("no such kind of failure: " + name);
	if (!line.number("which call", 1, 1000, value))
		return false;
	op.to = static_cast<u16>(value);
	return line.end();
}

bool parse_op(Line &line, const Geometry &geometry, Op &op)
{
	const Operands operands = operands_of(op.verb);
	std::string word;
	u64 value = 0;

	if (op.verb == Verb::kFail)
		return parse_fail(line, op);
	if (operands.mm) {
		if (!line.number("an mm", 0, geometry.mms - 1, value))
			return false;
		op.mm = static_cast<u8>(value);
	}
	if (operands.pages == Pages::kOne) {
		if (!line.number("a page", 0, geometry.va_pages - 1, value))
			return false;
		op.first = op.last = static_cast<u16>(value);
	} else if (operands.pages == Pages::kSpan &&
		   !line.span(geometry.va_pages, op.first, op.last)) {
		return false;
	}
	if (operands.to == To::kNumber) {
		if (!line.number("a number", 0, 1000, value))
			return false;
		op.to = static_cast<u16>(value);
	} else if (operands.to == To::kHmmptr) {
		return parse_slot(line, operands, op);
	} else if (operands.to == To::kHuge && line.word(word)) {
		if (word != "huge")
			return line.fail("more than there should be: " + word);
		op.to = 1;
	}
	return line.end();
}

bool parse_line(Line &line, Program &program)
{
	std::string word;
	u64 value = 0;

	if (!line.word(word))
		return true;
	if (word == "kernel")
		return parse_kernel(line, program);
	if (word == "driver")
		return parse_driver(line, program.driver);
	if (word == "area")
		return parse_area(line, program);
	if (word == "hmmptr")
		return parse_hmmptr(line, program);
	if (word == "thread") {
		if (program.threads.size() == kMaxThreads)
			return line.fail("too many threads");
		program.threads.emplace_back();
		return line.end();
	}
	for (const GeometryField &field : kGeometry) {
		if (word != field.name)
			continue;
		if (!program.areas.empty() || !program.threads.empty())
			return line.fail("the machine comes before what is on it");
		if (!line.number(field.name, field.min, field.max, value))
			return false;
		program.geometry.*field.field = static_cast<u32>(value);
		return line.end();
	}
	for (u8 i = 0; i < static_cast<u8>(Verb::kCount); i++) {
		if (word != kVerbs[i].name)
			continue;
		if (program.threads.empty())
			return line.fail("an operation without a thread");
		Op op{static_cast<Verb>(i)};
		if (!parse_op(line, program.geometry, op))
			return false;
		program.threads.back().push_back(op);
		return true;
	}
	return line.fail("no such word: " + word);
}

} // namespace

const char *name_of(Verb verb)
{
	return kVerbs[static_cast<usize>(verb)].name;
}

Operands operands_of(Verb verb)
{
	return kVerbs[static_cast<usize>(verb)].operands;
}

std::string to_text(const Op &op)
{
	const Operands operands = operands_of(op.verb);
	std::string text = name_of(op.verb);

	if (op.verb == Verb::kFail)
		return text + " " + name_of(static_cast<Fail>(op.first)) + " " +
		       std::to_string(op.to);
	if (operands.mm)
		text += " " + std::to_string(op.mm);
	if (operands.pages == Pages::kOne)
		text += " " + std::to_string(op.first);
	else if (operands.pages == Pages::kSpan)
		text += " " + span_text(op.first, op.last);
	if (operands.to == To::kNumber)
		text += " " + std::to_string(op.to);
	else if (operands.to == To::kHmmptr)
		text += " " + std::to_string(slot_of(op)) + flags_text(flags_of(op));
	else if (operands.to == To::kHuge && op.to != 0)
		text += " huge";
	return text;
}

std::string to_text(const Program &program)
{
	const Geometry defaults;
	std::string text = std::string("kernel ") + program.kernel->name + "\n";
	const std::string driver = driver_text(program.driver);

	for (const GeometryField &field : kGeometry) {
		if (program.geometry.*field.field != defaults.*field.field)
			text += std::string(field.name) + " " +
				std::to_string(program.geometry.*field.field) + "\n";
	}
	if (!driver.empty())
		text += "driver" + driver + "\n";
	for (const Area &area : program.areas) {
		text += "area " + span_text(area.first, area.last) + " " +
			kVmaKinds[static_cast<u32>(area.kind)];
		text += area.huge ? " huge" : "";
		text += area.filled ? " filled" : "";
		text += area.in_vram ? " vram\n" : "\n";
	}
	for (const HmmptrArea &hmmptr : program.hmmptrs)
		text += "hmmptr " + span_text(hmmptr.first, hmmptr.last) +
			flags_text(hmmptr.flags) + "\n";
	for (const auto &thread : program.threads) {
		text += "thread\n";
		for (const Op &op : thread)
			text += "  " + to_text(op) + "\n";
	}
	return text;
}

bool parse(const std::string &text, Program &program, std::string &error)
{
	std::istringstream lines(text);
	std::string content;

	program = Program{};
	for (u32 number = 1; std::getline(lines, content); number++) {
		Line line(content);

		if (!parse_line(line, program)) {
			error = "line " + std::to_string(number) + ": " + line.error();
			return false;
		}
	}
	if ((program.geometry.va_pages & ((1u << program.geometry.huge_order) - 1)) != 0) {
		error = "an address space has to end with a huge page";
		return false;
	}
	error.clear();
	return true;
}

} // namespace dsvm::sim

// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/run_folder.h"

#include <sstream>

#include "quiver/base/error.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::training {
namespace {

using nlohmann::json;

constexpr int kFormat = 2;

}  // namespace

RunFolder::RunFolder(fs::path folder, std::string key, bool start_anew, Progress& progress)
    : folder_(std::move(folder)), key_(std::move(key)), start_anew_(start_anew), lock_(folder_ / ".lock", [&] {
        progress.say("another process trains in " + folder_.string() + "; waiting until it ends");
      }) {
  remove_stale_temporaries(folder_);
}

std::optional<RunFolder::Checkpoint> RunFolder::read() {
  const auto folder = folder_ / "checkpoint";
  if (!fs::exists(folder / "state.json")) return std::nullopt;
  const auto where = folder.string();
  const auto state = json::parse(read_file(folder / "state.json", 1 << 24), nullptr, false);
  const bool whole = state.is_object() && state.contains("key") && state.contains("progress");
  QUIVER_CHECK(whole || start_anew_, format, where, "a damaged checkpoint; remove the folder to start this run again");
  if (!whole || state["key"] != key_ || state.value("format", 0) != kFormat) {
    QUIVER_CHECK(start_anew_, mismatch, where,
                 "the checkpoint of an interrupted run with other options or data; give those again to go on, or "
                 "--replace (or remove the folder) to start anew");
    fs::remove_all(folder);
    return std::nullopt;
  }
  Checkpoint out{state["progress"], {}};
  const auto file = tensor_io::open_safetensors(folder / "state.safetensors");
  for (const auto& [name, info] : file->tensors()) out.tensors[name] = file->load(name);
  return out;
}

void RunFolder::write(const Checkpoint& checkpoint) {
  write_folder_atomically(folder_ / "checkpoint", [&](const fs::path& temporary) {
    tensor_io::write_safetensors(temporary / "state.safetensors", checkpoint.tensors);
    const json state{{"format", kFormat}, {"key", key_}, {"progress", checkpoint.progress}};
    write_file_atomically(temporary / "state.json", state.dump(2) + "\n");
  });
}

void RunFolder::begin_metrics(std::int64_t step) {
  const auto path = folder_ / "metrics.jsonl";
  std::string kept;
  if (step > 0 && fs::exists(path)) {
    std::istringstream lines(read_file(path));
    for (std::string line; std::getline(lines, line);) {
      const auto object = json::parse(line, nullptr, false);  // the last line may be cut short
      if (object.is_object() && object.value("step", std::int64_t{0}) <= step) kept += line + "\n";
    }
  }
  write_file_atomically(path, kept);
  metrics_.open(path, std::ios::app);
}

void RunFolder::write_metrics(const json& line) { metrics_ << line.dump() << '\n' << std::flush; }

void RunFolder::drop_checkpoint() {
  std::error_code ignored;
  fs::remove_all(folder_ / "checkpoint", ignored);
}

}  // namespace quiver::training

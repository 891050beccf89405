// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/saved_router.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/files.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {
namespace {

using nlohmann::json;
constexpr int kFormatVersion = 1;
constexpr std::uint64_t kLimitBytes = 1 << 26;

fs::path folder_of(const library::Library& library, const std::string& name) {
  library::check_expert_name(name);
  return library.folder() / "routers" / name;
}

/// Of a kind's method: raised when it gives other results, so that what earlier ones trained is trained again.
int version_of(const std::string& kind) { return kind == "moa" ? kMoaVersion : 1; }

/// As it would be typed.
std::string typed(const Option& option, const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number()) return value.dump();
  for (const auto& [word, number] : option.words) {
    if (value.get<double>() == number) return word;
  }
  const auto place = value.is_number_integer() ? value.get<std::int64_t>() : -1;
  const bool chosen = place >= 0 && place < static_cast<std::int64_t>(option.choices.size());
  return chosen ? option.choices[static_cast<std::size_t>(place)] : value.dump();
}

}  // namespace

at::Tensor SavedRouter::find(const std::string& key, at::IntArrayRef shape) const {
  const auto found = tensors.find(key);
  if (found == tensors.end()) return {};
  const auto& t = found->second;
  bool fits = t.dim() == static_cast<std::int64_t>(shape.size());
  for (std::size_t d = 0; fits && d < shape.size(); ++d)
    fits = shape[d] < 0 || t.size(static_cast<std::int64_t>(d)) == shape[d];
  QUIVER_CHECK(fits, format, where(), "tensor '{}' is [{}], expected [{}]", key, fmt::join(t.sizes(), ", "),
               fmt::join(shape, ", "));
  return t.to(at::kFloat);
}

at::Tensor SavedRouter::tensor(const std::string& key, at::IntArrayRef shape) const {
  QUIVER_CHECK(has(key), format, where(), "tensor '{}' is missing", key);
  return find(key, shape);
}

void SavedRouter::read_options(OptionSet& set) const {
  QUIVER_CHECK(options.is_object() || options.is_null(), format, where(), "its options are {}",
               options.dump().substr(0, 80));
  for (const auto& [key, value] : options.items()) {
    const auto* option = set.find(key);
    QUIVER_CHECK(option != nullptr, format, where(), "option '{}' is none of {}", key, join(set.names(), ", "));
    try {
      set.assign(key, typed(*option, value), where());
    } catch (const Error&) {
      refuse_option(key, "expected " + option->expectation());
    }
  }
}

void SavedRouter::refuse_option(const std::string& key, const std::string& why) const {
  fail(ErrorCode::format, where(), "option '{}' is {}: {}", key,
       options.is_object() && options.contains(key) ? options[key].dump().substr(0, 80) : "missing", why);
}

void save_router(const library::Library& library, const SavedRouter& router) {
  QUIVER_CHECK(router.identities.size() == router.experts.size(), mismatch, router.where(),
               "{} identities of {} experts", router.identities.size(), router.experts.size());
  json identities = json::array();
  for (std::size_t e = 0; e < router.experts.size(); ++e)
    identities.push_back({router.experts[e], router.identities[e]});
  const json file{{"format", kFormatVersion}, {"kind", router.kind},       {"version", version_of(router.kind)},
                  {"experts", identities},    {"options", router.options}, {"training", router.training}};
  write_folder_atomically(folder_of(library, router.name), [&](const fs::path& temporary) {
    tensor_io::write_safetensors(temporary / "router.safetensors", router.tensors, {{"format", "pt"}});
    write_file_atomically(temporary / "router.json", file.dump(2) + "\n");
  });
}

bool has_router(const library::Library& library, const std::string& name) {
  return fs::exists(folder_of(library, name) / "router.json");
}

json training_of(const library::Library& library, const std::string& name) {
  const auto file = json::parse(read_file(folder_of(library, name) / "router.json", kLimitBytes), nullptr, false);
  return file.is_object() ? file.value("training", json()) : json();
}

std::vector<std::string> router_names(const library::Library& library) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(library.folder() / "routers", error)) {
    const auto name = entry.path().filename().string();
    if (name[0] != '.' && fs::exists(entry.path() / "router.json")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

SavedRouter read_router(const library::Library& library, const std::string& name) {
  QUIVER_CHECK(has_router(library, name), usage, "router " + name, "not in {}{}", library.folder().string(),
               suggestion(name, router_names(library)));
  const auto folder = folder_of(library, name);
  const auto where = (folder / "router.json").string();
  const auto file = json::parse(read_file(folder / "router.json", kLimitBytes), nullptr, false);
  QUIVER_CHECK(
      file.is_object() && file.value("format", json()) == kFormatVersion && file.value("kind", json()).is_string(),
      format, where, "expected a router of format {}", kFormatVersion);
  SavedRouter out;
  out.name = name;
  out.kind = file["kind"];
  QUIVER_CHECK(file.value("version", json(1)) == version_of(out.kind), mismatch, out.where(),
               "version {} of its method trained it, this program has {}; train or prepare it again",
               file.value("version", json(1)).dump(), version_of(out.kind));
  out.options = file.value("options", json::object());
  out.training = file.value("training", json());
  for (const auto& entry : file.value("experts", json::array())) {
    QUIVER_CHECK(entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string(), format, where,
                 "'experts' holds {}, expected [name, identity]", entry.dump().substr(0, 80));
    const auto expert = entry[0].get<std::string>();
    QUIVER_CHECK(library.contains(expert) && library.info(expert).identity == entry[1].get<std::string>(), mismatch,
                 "router " + name, "it was trained over expert '{}', which is gone or has changed; train it again",
                 expert);
    out.experts.push_back(expert);
    out.identities.push_back(entry[1].get<std::string>());
  }
  const auto tensors = tensor_io::open_safetensors(folder / "router.safetensors");
  for (const auto& [key, info] : tensors->tensors()) out.tensors[key] = tensors->load(key);
  return out;
}

}  // namespace quiver::routing

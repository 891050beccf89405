// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/saved_router.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/files.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {
namespace {

using nlohmann::json;
constexpr int kFormatVersion = 1;

fs::path folder_of(const library::Library& library, const std::string& name) {
  library::check_expert_name(name);
  return library.folder() / "routers" / name;
}

}  // namespace

void save_router(const library::Library& library, const SavedRouter& router) {
  json identities = json::array();
  for (const auto& name : router.experts) identities.push_back({name, library.info(name).identity});
  const json file{{"format", kFormatVersion},
                  {"kind", router.kind},
                  {"experts", identities},
                  {"options", router.options},
                  {"training", router.training}};
  write_folder_atomically(folder_of(library, router.name), [&](const fs::path& temporary) {
    tensor_io::write_safetensors(temporary / "router.safetensors", router.tensors, {{"format", "pt"}});
    write_file_atomically(temporary / "router.json", file.dump(2) + "\n");
  });
}

bool has_router(const library::Library& library, const std::string& name) {
  return fs::exists(folder_of(library, name) / "router.json");
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
  const auto file = json::parse(read_file(folder / "router.json", 1 << 26), nullptr, false);
  QUIVER_CHECK(
      file.is_object() && file.value("format", json()) == kFormatVersion && file.value("kind", json()).is_string(),
      format, where, "expected a router of format {}", kFormatVersion);
  SavedRouter out;
  out.name = name;
  out.kind = file["kind"];
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
  }
  const auto tensors = tensor_io::open_safetensors(folder / "router.safetensors");
  for (const auto& [key, info] : tensors->tensors()) out.tensors[key] = tensors->load(key);
  return out;
}

}  // namespace quiver::routing

// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/figures.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace quiver::training {

using nlohmann::json;

json to_json(const Figures& f) {
  const auto number = [](double v) { return std::isfinite(v) ? json(v) : json(); };
  json out{{"steps", f.steps},
           {"best_step", f.best_step},
           {"tokens", f.tokens},
           {"seconds", f.seconds},
           {"tokens_per_second", f.tokens_per_second()},
           {"train_loss", number(f.train_loss)},
           {"first_validation_loss", number(f.first_validation)},
           {"validation_loss", number(f.validation_loss)},
           {"stopped_early", f.stopped_early}};
  if (!f.note.empty()) out["note"] = f.note;
  return out;
}

Figures figures_of(const json& object) {
  const auto count = [&](const char* name) {
    const auto value = object.value(name, json());
    return value.is_number_integer() ? value.get<std::int64_t>() : 0;
  };
  const auto number = [&](const char* name) {
    const auto value = object.value(name, json());
    return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
  };
  Figures out;
  out.steps = count("steps");
  out.best_step = count("best_step");
  out.tokens = count("tokens");
  out.seconds = object.contains("seconds") ? number("seconds") : 0.0;
  out.train_loss = number("train_loss");
  out.first_validation = number("first_validation_loss");
  out.validation_loss = number("validation_loss");
  out.stopped_early = object.value("stopped_early", json(false)) == true;
  if (object.contains("note") && object["note"].is_string()) out.note = object["note"].get<std::string>();
  return out;
}

}  // namespace quiver::training

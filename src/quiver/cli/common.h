// SPDX-License-Identifier: Apache-2.0
// Options that many verbs share, as the command line declares them, and how results are printed.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "quiver/base/progress.h"
#include "quiver/cli/declare_options.h"
#include "quiver/workspace/experts.h"
#include "quiver/workspace/open_model.h"
#include "quiver/workspace/tasks.h"
#include "quiver/workspace/text_rules.h"

namespace quiver::cli {

using workspace::ExpertOptions;
using workspace::ExpertSet;
using workspace::JoinChoice;
using workspace::LoadedModel;
using workspace::ModelOptions;
using workspace::RouteOptions;
using workspace::TaskOptions;

void declare(CLI::App& app, ModelOptions& options);
void declare(CLI::App& app, ExpertOptions& options);
void declare(CLI::App& app, RouteOptions& options);
void declare(CLI::App& app, TaskOptions& options);
/// How texts become rows; `set` describes the options and must outlive the application's run.
void declare(CLI::App& app, JoinChoice& options, OptionSet& set);

/// Throws Error{usage} naming the first option given, by the command line or a --config file, that is not among `read`
/// (long names without dashes): `who` does not read it.
void refuse_unread(const CLI::App& app, const std::vector<std::string>& read, const std::string& who);

/// A JSON object as a line.
std::string json_line(const nlohmann::json& object);
/// One on standard output.
void print_json(const nlohmann::json& object);
bool colour_wanted();

}  // namespace quiver::cli

// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/executor.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include "quiver/base/error.h"
#include "quiver/base/progress.h"
#include "quiver/recipes/child_process.h"

namespace quiver::recipes {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// One command may serve both.
bool alike(const Cell& a, const Cell& b) {
  return a.verb() == "evaluate" && a.command == b.command && a.tasks.size() == 1 && b.tasks.size() == 1;
}

void log_command(const fs::path& output, const std::string& text) {
  fs::create_directories(output);
  std::ofstream(output / "commands.txt", std::ios::app) << text << "\n";
}

}  // namespace

std::int64_t CellCounts::total() const {
  std::int64_t n = 0;
  for (const auto& [verb, counts] : verbs) n += counts.total;
  return n;
}

std::int64_t CellCounts::done() const {
  std::int64_t n = 0;
  for (const auto& [verb, counts] : verbs) n += counts.done;
  return n;
}

double CellCounts::seconds_left() const {
  double seconds = 0, left = 0;
  std::int64_t timed = 0;
  for (const auto& [verb, counts] : verbs) {
    seconds += counts.seconds;
    timed += counts.timed;
  }
  if (timed == 0) return -1;
  for (const auto& [verb, counts] : verbs) {
    const double each =
        counts.timed > 0 ? counts.seconds / static_cast<double>(counts.timed) : seconds / static_cast<double>(timed);
    left += each * static_cast<double>(counts.total - counts.done);
  }
  return left;
}

/// Cells under way in one command, and what it has said of them.
struct CellExecutor::Batch {
  std::vector<const Cell*> cells;
  std::vector<std::optional<CellResult>*> slots;
  std::vector<std::string> names;  ///< of their tasks, in what the verb prints
  std::optional<std::size_t> at;   ///< the cell whose lines are coming
  CellResult coming;
  std::string complaint;  ///< of a line that should not be there
  Clock::time_point started = Clock::now();

  /// The cell that the line belongs to; a command of one cell has no other.
  std::optional<std::size_t> owner(const nlohmann::json& line) const {
    if (cells.size() == 1) return 0;
    for (std::size_t i = at.value_or(0); i < names.size(); ++i) {
      if (line.is_object() && line.value("task", "") == names[i]) return i;
    }
    return std::nullopt;
  }
};

CellExecutor::CellExecutor(CellStore& store, Mode mode, Arguments machine, CellOutput output, CellCounts counts)
    : store_(store),
      mode_(mode),
      machine_(std::move(machine)),
      output_(std::move(output)),
      counts_(std::move(counts)) {}

bool CellExecutor::complete(const std::vector<Cell>& cells) {
  for (const auto& cell : cells) {
    if (!store_.find(cell)) return false;
  }
  return true;
}

CellExecutor::Results CellExecutor::finish(const std::vector<Cell>& cells) {
  Results results(cells.size());
  std::vector<const Cell*> open;
  std::vector<std::optional<CellResult>*> slots;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    results[i] = store_.find(cells[i]);
    if (mode_ == Mode::count) {
      auto& counts = counts_.verbs[cells[i].verb()];
      ++counts.total;
      if (!results[i]) continue;
      ++counts.done;
      ++counts.timed;
      counts.seconds += results[i]->seconds;
    } else if (!results[i] && mode_ == Mode::run && !cells[i].ready) {
      ++waiting_;
    } else if (!results[i]) {
      open.push_back(&cells[i]);
      slots.push_back(&results[i]);
    }
  }
  for (std::size_t begin = 0, end = 0; begin < open.size(); begin = end) {
    for (end = begin + 1; end < open.size() && alike(*open[begin], *open[end]);) ++end;
    const auto at = [&](auto& list) { return list.begin() + static_cast<std::ptrdiff_t>(begin); };
    const auto to = [&](auto& list) { return list.begin() + static_cast<std::ptrdiff_t>(end); };
    work({at(open), to(open)}, {at(slots), to(slots)});
  }
  return results;
}

bool CellExecutor::again(const Cell& cell) {
  if (mode_ == Mode::count) {
    ++counts_.verbs[cell.verb()].total;
    return true;
  }
  if (mode_ == Mode::run && !cell.ready) {
    ++waiting_;
    return false;
  }
  std::optional<CellResult> result;
  work({&cell}, {&result});
  return result.has_value() || mode_ != Mode::run;
}

Arguments CellExecutor::command_of(const std::vector<const Cell*>& cells) const {
  std::vector<std::string> tasks;
  for (const auto* cell : cells) tasks.insert(tasks.end(), cell->tasks.begin(), cell->tasks.end());
  auto command = store_.command(*cells[0], tasks);
  if (cells[0]->verb() != "cluster") command.insert(command.end(), machine_.begin(), machine_.end());
  return command;
}

void CellExecutor::announce(const Cell& cell, std::size_t more) {
  const auto left = counts_.seconds_left();
  const auto others = more > 0 ? fmt::format(" and {} more", more) : "";
  const auto time = left < 0 ? "" : fmt::format(", about {} left", format_duration(left));
  output_.log(fmt::format("[{} of {} cells{}] {}{}", counts_.done(), counts_.total(), time, cell.label, others));
}

void CellExecutor::finish_cell(const Cell& cell, CellResult result, std::optional<CellResult>& slot) {
  store_.save(cell, result);
  auto& counts = counts_.verbs[cell.verb()];
  ++counts.done;
  ++counts.timed;
  counts.seconds += result.seconds;
  slot = std::move(result);
}

void CellExecutor::take_line(Batch& batch, const std::string& text) {
  const auto line = nlohmann::json::parse(text, nullptr, false);
  const auto owner = line.is_discarded() ? std::nullopt : batch.owner(line);
  if (!owner) {
    batch.complaint = "expected JSON lines about its tasks, got " + text.substr(0, 200);
    return;
  }
  finish_until(batch, *owner);
  batch.at = owner;
  batch.coming.lines.push_back(line);
}

/// The cells before `end`, from the one at hand on; those that got no lines have none.
void CellExecutor::finish_until(Batch& batch, std::size_t end) {
  for (std::size_t i = batch.at.value_or(0); i < end; ++i) {
    batch.coming.seconds = seconds_since(batch.started);
    batch.started = Clock::now();
    finish_cell(*batch.cells[i], std::exchange(batch.coming, {}), *batch.slots[i]);
    batch.at = i + 1;
  }
}

void CellExecutor::note_failure(const Cell& cell, const std::string& error) {
  failures_.push_back({cell.label, shell_text(command_of({&cell})), error});
  ++counts_.verbs[cell.verb()].done;
}

/// Runs the batch's command. What went wrong, "" where nothing did; the cells before batch.at are finished.
std::string CellExecutor::attempt(Batch& batch) {
  log_command(store_.output(), shell_text(command_of(batch.cells)));
  auto outcome = run_program(command_of(batch.cells), [&](const std::string& text) { take_line(batch, text); });
  ++ran_;
  if (!batch.complaint.empty()) outcome = {1, batch.complaint};
  const auto count = batch.cells.size();
  if (outcome.status == 0) {
    finish_until(batch, count);
    return "";
  }
  // evaluate prints all of a cell at once, so that of several cells the one at hand is whole.
  if (batch.at && count > 1) finish_until(batch, *batch.at + 1);
  if (count == 1) batch.at.reset();
  if (outcome.status >= 128) outcome.error = fmt::format("ended by signal {}", outcome.status - 128);
  log_command(store_.output(), "# failed: " + outcome.error);
  return outcome.error.empty() ? fmt::format("ended with status {}", outcome.status) : outcome.error;
}

void CellExecutor::work(const std::vector<const Cell*>& cells, const std::vector<std::optional<CellResult>*>& slots) {
  if (mode_ == Mode::show) {
    output_.show(shell_text(command_of(cells)));
    return;
  }
  std::string last_error;
  for (std::size_t begin = 0, together = cells.size(); begin < cells.size();) {
    const auto end = std::min(begin + together, cells.size());
    Batch batch;
    for (std::size_t i = begin; i < end; ++i) {
      batch.cells.push_back(cells[i]);
      batch.slots.push_back(slots[i]);
      batch.names.push_back(end - begin > 1 ? store_.task_name(cells[i]->tasks[0]) : "");
    }
    announce(*batch.cells[0], batch.cells.size() - 1);
    const auto error = attempt(batch);
    begin += batch.at.value_or(0);
    if (error.empty()) {
      last_error.clear();
    } else if (batch.cells.size() > 1) {
      if (batch.at.value_or(0) == 0) together = 1;  // which of them it was shows when each runs alone
    } else {
      note_failure(*cells[begin++], error);
      if (error == last_error) {  // it is not about a task: the others would fail alike
        for (; begin < cells.size(); ++begin) note_failure(*cells[begin], error);
      }
      last_error = error;
    }
  }
}

}  // namespace quiver::recipes

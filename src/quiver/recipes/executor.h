// SPDX-License-Identifier: Apache-2.0
// Brings cells to their results: from the store, or by running their commands.
//
// Cells of one batch that differ in their task alone are run by one command; each is kept as soon as its lines are
// there, so that a run that is killed loses the cell at hand and no other. Where such a command fails, its cells run
// one by one: each that fails is noted, and the others go on.
#pragma once

#include <functional>

#include "quiver/recipes/cell.h"

namespace quiver::recipes {

struct CellFailure {
  std::string label, command, error;
};

/// Cells and seconds by verb.
struct CellCounts {
  struct OfVerb {
    std::int64_t total = 0, done = 0, timed = 0;
    double seconds = 0;  ///< of the timed ones
  };
  std::map<std::string, OfVerb> verbs;

  std::int64_t total() const;
  std::int64_t done() const;
  /// What is not done, at the mean time of the verb's cells so far (of all cells where the verb has none); negative
  /// where nothing was timed yet.
  double seconds_left() const;
};

/// Where the executor tells of its work.
struct CellOutput {
  std::function<void(const std::string&)> log;   ///< a line about what runs
  std::function<void(const std::string&)> show;  ///< a command that would run (Mode::show)
};

class CellExecutor {
 public:
  enum class Mode {
    count,  ///< only counts what is there
    show,   ///< tells the commands that would run
    run,
  };
  /// `machine`: options of every verb that loads a model, which results are not kept by (threads). `counts`: of a pass
  /// with Mode::count.
  CellExecutor(CellStore& store, Mode mode, Arguments machine, CellOutput output, CellCounts counts = {});

  using Results = std::vector<std::optional<CellResult>>;
  /// In the order of `cells`; nullopt: it failed, or waits for one that did, or Mode is not run.
  Results finish(const std::vector<Cell>& cells);
  /// Runs it whether or not there is a result. False where it failed.
  bool again(const Cell& cell);
  /// True where all have results already.
  bool complete(const std::vector<Cell>& cells);

  const CellCounts& counts() const { return counts_; }
  const std::vector<CellFailure>& failures() const { return failures_; }
  std::int64_t waiting() const { return waiting_; }  ///< cells that a failure holds up
  std::int64_t ran() const { return ran_; }          ///< commands

 private:
  struct Batch;
  void work(const std::vector<const Cell*>& cells, const std::vector<std::optional<CellResult>*>& results);
  std::string attempt(Batch& batch);
  void take_line(Batch& batch, const std::string& text);
  void finish_until(Batch& batch, std::size_t end);
  void note_failure(const Cell& cell, const std::string& error);
  void finish_cell(const Cell& cell, CellResult result, std::optional<CellResult>& slot);
  Arguments command_of(const std::vector<const Cell*>& cells) const;
  void announce(const Cell& cell, std::size_t more);

  CellStore& store_;
  Mode mode_;
  Arguments machine_;
  CellOutput output_;
  CellCounts counts_;
  std::vector<CellFailure> failures_;
  std::int64_t waiting_ = 0, ran_ = 0;
};

}  // namespace quiver::recipes

// SPDX-License-Identifier: Apache-2.0
// Metrics that a task may ask for by name: of single rows, or of all rows at once.
//
//   exact_match          whether the answer equals a reference but for white space at the ends
//   accuracy             the same, as tasks call it whose answers are chosen among options
//   rouge_l              Rouge-L's F1, the best over the references: metrics.h
//   squad_em, squad_f1   SQuAD's, of a row: metrics.h
//   matthews             Matthews' correlation over all answers that occur (Gorodkin, 2004), as scikit-learn has it: an
//                        answer that is no label is a class of its own. 0 where one side never varies
//   pearson, spearman    of the numbers that predictions and targets are; what is no number is -1. 0 where one side
//                        never varies; ranks of ties are averaged
//   true_f1              F1 of the answer "True"; what is neither "True" nor "False" counts as the wrong one
//   group_em             the share of groups (data::Example::group) whose rows are all exact; a row without one is
//   alone
//
// Answers and targets are compared without white space at their ends. Definitions from matthews on are those of PEMT's
// metrics.py, without its factor of 100. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "quiver/evaluation/bootstrap.h"

namespace quiver::evaluation {

/// A row with its answer.
struct Answered {
  std::string prediction;
  std::string target;
  std::vector<std::string> references;  ///< all right answers, of the metrics that take the best
  std::string group;                    ///< may be empty
};

/// A number of a set of rows, which can be had of resampled ones too.
struct Measured {
  std::size_t units = 0;       ///< rows, or the groups of group_em
  Statistic of;                ///< of units, by their numbers
  std::vector<double> scores;  ///< by unit, where `of` is their mean; else empty
};

/// The mean of scores by row.
Measured measured_mean(std::vector<double> scores);

/// Whether it is one of the names above.
bool is_task_metric(std::string_view name);
/// The names above.
std::vector<std::string> task_metric_names();

/// A metric of the rows. `where` opens the message of Error{format} at an unknown name, and of Error{usage} where there
/// are no rows.
Measured measure(std::string_view name, const std::vector<Answered>& rows, const std::string& where);

/// The number itself, and its interval over resampled units.
Interval interval_of(const Measured& measured, const BootstrapOptions& bootstrap);
/// First minus second, units resampled as pairs; wins, losses and the sign test where both are means of scores. Throws
/// Error{mismatch} where they have different numbers of units.
PairedDifference difference_of(const Measured& first, const Measured& second, const BootstrapOptions& bootstrap);

}  // namespace quiver::evaluation

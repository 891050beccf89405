// SPDX-License-Identifier: Apache-2.0
// Metrics that a task asks for by name, beside those that every task has: of single rows, or of all rows at once.
//
//   squad_em, squad_f1   SQuAD's, of a row: metrics.h
//   matthews             Matthews' correlation over all answers that occur (Gorodkin, 2004), as scikit-learn has it: an
//                        answer that is no label is a class of its own. 0 where one side never varies
//   pearson, spearman    of the numbers that predictions and targets are; what is no number is -1. 0 where one side
//                        never varies; ranks of ties are averaged
//   true_f1              F1 of the answer "True"; what is neither "True" nor "False" counts as the wrong one
//   group_em             the share of groups (data::Example::group) whose rows are all exact; a row without one is
//   alone
//
// Definitions are those of PEMT's metrics.py, without its factor of 100. Pure functions.
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
  std::vector<std::string> references;  ///< of squad_em and squad_f1, which take the best
  std::string group;                    ///< may be empty
};

/// Whether it is one of the names above.
bool is_task_metric(std::string_view name);

/// A metric of the rows and its interval over resampled rows (groups, for group_em). `where` opens the message of
/// Error{format} at an unknown name, and of Error{usage} where there are no rows.
Interval task_metric(std::string_view name, const std::vector<Answered>& rows, const BootstrapOptions& bootstrap,
                     const std::string& where);

}  // namespace quiver::evaluation

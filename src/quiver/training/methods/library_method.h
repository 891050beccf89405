// SPDX-License-Identifier: Apache-2.0
// What methods have in common that train one thing in one lane and keep it in a library: routers, experts beside or
// in place of them.
#pragma once

#include <optional>

#include "quiver/adapter/bank.h"
#include "quiver/routing/saved_router.h"
#include "quiver/training/methods/method.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

/// The rows of an assignment, labelled by the tasks' numbers.
std::vector<RoutedRow> labelled_rows(const std::vector<TaskRows>& tasks, data::Split split);
std::vector<std::string> task_names(const Assignment& assignment);
/// The library's experts of these names as a bank; `identities`, where it is asked for, gets what they were when they
/// were read. Throws Error{usage} where there are none.
adapter::Bank sources_of(const MethodInputs& inputs, const std::vector<std::string>& names,
                         std::vector<std::string>* identities = nullptr);

struct TaughtExpert {
  std::string name;
  std::vector<std::string> tasks;
  adapter::Adapter adapter;
};

/// What a method came to.
struct Taught {
  Figures figures;
  std::optional<routing::SavedRouter> router;  ///< under the assignment's name
  std::vector<TaughtExpert> experts;           ///< in place of a router, or beside it
  nlohmann::json more = nlohmann::json::object();
};

class LibraryMethod : public Method {
 public:
  void check(const MethodInputs& inputs, const std::vector<Assignment>& assignments) override;
  void train(const MethodInputs& inputs, std::vector<Assignment> assignments) override;

 protected:
  /// name: of the method.
  LibraryMethod(std::string name, std::vector<std::string> (*reads)(const MethodOptions&))
      : name_(std::move(name)), reads_(reads) {}

  virtual Taught learn(const MethodInputs& inputs, const Assignment& assignment, const RoutedTraining& training) = 0;
  /// True where what is kept under the assignment's name is a router.
  virtual bool makes_router() const = 0;
  /// Experts that are kept beside a router, or in place of one.
  virtual std::vector<std::string> expert_names(const MethodInputs& inputs, const Assignment& assignment) const = 0;
  virtual std::string route_of(const Assignment& assignment) const;
  /// The settings as they are, for keys and records.
  nlohmann::json settings();

  const std::string name_;

 private:
  std::string run_key(const MethodInputs& inputs, const Assignment& assignment);
  std::optional<Learned> made_before(const MethodInputs& inputs, const Assignment& assignment, const std::string& key);
  void refuse_taken(const MethodInputs& inputs, const Assignment& assignment) const;
  void keep(const MethodInputs& inputs, const Assignment& assignment, const std::string& key, Taught& taught);

  std::vector<std::string> (*reads_)(const MethodOptions&);
};

}  // namespace quiver::training

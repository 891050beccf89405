// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/lorahub.h"

#include <nlopt.h>

#include <cmath>
#include <exception>
#include <limits>
#include <memory>

#include "quiver/base/error.h"

namespace quiver::training {
namespace {

struct Search {
  const std::function<double(const std::vector<double>&)>& loss;
  const LorahubOptions& options;
  nlopt_opt optimiser = nullptr;
  LorahubResult result;
  std::exception_ptr thrown;  ///< exceptions must not cross NLopt, which is C

  double evaluate(const std::vector<double>& w) {
    double size = 0.0;
    for (const auto value : w) size += std::abs(value);
    const double value = loss(w) + options.penalty * size / static_cast<double>(w.size());
    if (result.evaluations++ == 0) result.at_zero = value;
    if (result.evaluations == 1 || !(value >= result.objective)) {
      result.objective = value;
      result.weights = w;
    }
    // A mixture that overflows is bad, not the end of the search.
    return std::isfinite(value) ? value : 1e9;
  }
};

double call(unsigned n, const double* x, double*, void* data) {
  auto& search = *static_cast<Search*>(data);
  try {
    return search.evaluate(std::vector<double>(x, x + n));
  } catch (...) {
    search.thrown = std::current_exception();
    nlopt_force_stop(search.optimiser);
    return std::numeric_limits<double>::infinity();
  }
}

}  // namespace

LorahubResult lorahub(std::size_t experts, const std::function<double(const std::vector<double>&)>& loss,
                      const LorahubOptions& o) {
  QUIVER_CHECK(experts > 0, usage, "lorahub", "there are no experts to weigh");
  QUIVER_CHECK(o.evaluations >= 1 && o.bound > 0 && o.first_step > 0 && o.penalty >= 0, usage, "lorahub",
               "{} evaluations, bound {}, first step {}, penalty {}, expected positive numbers", o.evaluations, o.bound,
               o.first_step, o.penalty);
  const std::unique_ptr<nlopt_opt_s, void (*)(nlopt_opt)> optimiser(
      nlopt_create(NLOPT_LN_COBYLA, static_cast<unsigned>(experts)), nlopt_destroy);
  Search search{loss, o, optimiser.get(), {}, nullptr};
  nlopt_set_min_objective(optimiser.get(), call, &search);
  nlopt_set_lower_bounds1(optimiser.get(), -o.bound);
  nlopt_set_upper_bounds1(optimiser.get(), o.bound);
  nlopt_set_initial_step1(optimiser.get(), std::min(o.first_step, o.bound));
  nlopt_set_maxeval(optimiser.get(), static_cast<int>(o.evaluations));
  nlopt_set_xtol_abs1(optimiser.get(), 1e-4);
  std::vector<double> x(experts, 0.0);
  double least = 0.0;
  const auto status = nlopt_optimize(optimiser.get(), x.data(), &least);
  if (search.thrown) std::rethrow_exception(search.thrown);
  QUIVER_CHECK(status > 0 || status == NLOPT_ROUNDOFF_LIMITED, mismatch, "lorahub", "NLopt stopped with {}",
               nlopt_result_to_string(status));
  return search.result;
}

}  // namespace quiver::training

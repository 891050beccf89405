// SPDX-License-Identifier: Apache-2.0
// Low-rank factors (Hu et al., 2021). Their files are peft.h's.
#include "quiver/adapter/kind.h"

namespace quiver::adapter {

Kind lora_kind() {
  return {.name = "lora",
          .summary = "low-rank factors at sites",
          .traits = {Trait::low_rank},
          .place = "pair of factors at a site",
          .options = {"rank", "alpha", "rslora", "dropout", "targets", "init", "share_a"},
          .holds = [](const Adapter& a) { return !a.sites.empty(); },
          .make = [](const NewAdapter& in, Adapter& out) { out.sites = make_lora(in.model, in.lora, in.seed).sites; }};
}

}  // namespace quiver::adapter

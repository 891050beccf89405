// SPDX-License-Identifier: Apache-2.0
// Chats of several turns as the examples that are learned from them.
#pragma once

#include "quiver/data/task.h"

namespace quiver::data {

/// Before each training and validation example that is a chat: one for each earlier turn of the assistant that
/// follows another turn, without options and references, which belong to the last turn. A chat that is scored (split
/// test) keeps its last turn as its one target. Chats must not have been rendered.
void learn_every_turn(Task& task);

}  // namespace quiver::data

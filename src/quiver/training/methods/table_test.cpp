// SPDX-License-Identifier: Apache-2.0
// Every method of `train` against every described option: it reads it, and then the option is part of what is stored,
// or refuses it by name.
#include "quiver/training/methods/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "quiver/adapter/describe_options.h"
#include "quiver/base/error.h"

namespace quiver::training {
namespace {

bool of_the_run(const std::string& option) {
  const auto& all = options_of_the_run();
  return std::find(all.begin(), all.end(), option) != all.end();
}

/// A value that is allowed and not the default.
std::string another_value(const Option& option) {
  switch (option.type) {
    case Option::Type::flag:
      return "true";
    case Option::Type::choice:
      return option.choices.back() == option.fallback ? option.choices.front() : option.choices.back();
    case Option::Type::integer:
      return option.range.contains(7) && option.fallback != "7" ? "7" : "3";
    case Option::Type::number:
      return option.range.contains(0.25) && option.fallback != "0.25" ? "0.25" : "1.5";
    default:
      return "lora";
  }
}

TEST(MethodTable, EachOptionIsStoredOrRefused) {
  MethodOptions defaults;
  OptionSet names;
  describe(defaults, names);
  int stored = 0, refused = 0;
  for (const auto& entry : method_table()) {
    for (const auto& option : names.options()) {
      if (option.name == "kind") continue;  // its values decide what is read; see below
      MethodOptions options, before;
      options.method = before.method = entry.name;
      OptionSet set;
      describe(options, set);
      set.assign(option.name, another_value(option), "test");
      const auto reads = entry.reads(before);
      try {
        auto as_by_default = options;
        as_by_default.init_from.clear();
        refuse_unread_options(as_by_default, set);
      } catch (const Error& error) {
        ++refused;
        const std::string message = error.what();
        EXPECT_NE(message.find(command_line_name(option.name)), std::string::npos) << message;
        EXPECT_NE(message.find("--method " + entry.name), std::string::npos) << message;
        EXPECT_NE(message.find("does not read it"), std::string::npos) << message;
        EXPECT_EQ(message.find('\n'), std::string::npos);
        continue;
      }
      ++stored;
      if (of_the_run(option.name)) continue;
      EXPECT_NE(deciding_options(options, reads), deciding_options(before, reads)) << entry.name << " " << option.name;
    }
  }
  RecordProperty("stored", stored);
  RecordProperty("refused", refused);
  EXPECT_EQ(static_cast<std::size_t>(stored + refused), method_table().size() * (names.options().size() - 1));
}

// What an expert.json keeps of an expert's training, and tells a run from another by (trainer.h).
TEST(MethodTable, EachOptionOfAnExpertOfAnyKindIsStored) {
  for (const auto& kind : adapter::kind_help()) {
    MethodOptions of_kind;
    of_kind.kinds = {kind.name};
    for (const auto& name : options_read(of_kind)) {
      if (of_the_run(name) || name == "method" || name == "kind") continue;
      MethodOptions options = of_kind, before = of_kind;
      OptionSet set;
      describe(options, set);
      set.assign(name, another_value(*set.find(name)), "test");
      choose_kinds(options);
      choose_kinds(before);
      EXPECT_NE(to_json(options.train), to_json(before.train)) << kind.name << " " << name;
    }
  }
}

// Keys of runs are made of it: where it changes, no run is known again.
TEST(MethodTable, WhatIsStoredOfTrainingKeepsItsShape) {
  TrainOptions options;
  const nlohmann::json expected{{"rank", 16},
                                {"alpha", 16.0},
                                {"rank_stabilised", false},
                                {"dropout", 0.0},
                                {"targets", nlohmann::json::array()},
                                {"init", "peft"},
                                {"join", to_json(options.join)},
                                {"epochs", 2},
                                {"max_steps", 0},
                                {"batch_rows", 16},
                                {"length_window", 4},
                                {"shuffle", true},
                                {"learning_rate", 2e-3},
                                {"warmup", 0.06},
                                {"schedule", "linear"},
                                {"betas", {0.9, 0.999}},
                                {"epsilon", 1e-8},
                                {"weight_decay", 0.0},
                                {"clip", 1.0},
                                {"seed", 0},
                                {"validate_every", 0},
                                {"patience", 0}};
  auto stored = to_json(options);
  stored["rank"] = 16;
  stored["alpha"] = 16.0;
  EXPECT_EQ(stored.dump(), expected.dump());
  options.lora.share_a = true;
  options.lora.targets = {"q_proj", "v_proj"};
  stored = to_json(options);
  EXPECT_EQ(stored.at("share_a"), true);
  EXPECT_EQ(stored.at("targets"), (std::vector<std::string>{"q_proj", "v_proj"}));
}

TEST(MethodTable, EveryOptionHasAReader) {
  MethodOptions options;
  OptionSet set;
  describe(options, set);
  std::set<std::string> read;
  for (const auto& kind : adapter::kind_help()) {
    for (const auto& entry : method_table()) {
      MethodOptions of_kind;
      of_kind.method = entry.name;
      of_kind.kinds = {kind.name};
      for (const auto& name : options_read(of_kind)) {
        read.insert(name);
        EXPECT_TRUE(set.find(name) != nullptr || name == "method")
            << entry.name << " reads what is not described: " << name;
      }
    }
  }
  for (const auto& option : set.options()) EXPECT_TRUE(read.contains(option.name)) << option.name;
}

TEST(MethodTable, WhatAKindReadsIsWhatItsAdaptersDependOn) {
  const auto reads = [](std::vector<std::string> kinds, const std::string& option) {
    MethodOptions options;
    options.kinds = std::move(kinds);
    const auto all = options_read(options);
    return std::find(all.begin(), all.end(), option) != all.end();
  };
  EXPECT_TRUE(reads({"lora"}, "rank"));
  EXPECT_FALSE(reads({"lora"}, "bottleneck_width"));
  EXPECT_FALSE(reads({"ia3"}, "rank"));
  EXPECT_TRUE(reads({"ia3"}, "kind_targets"));
  EXPECT_TRUE(reads({"lora", "prompt"}, "prompt_tokens"));
  EXPECT_FALSE(reads({"prompt"}, "prefix_hidden"));
  MethodOptions going_on;
  going_on.init_from = "somewhere";
  const auto all = options_read(going_on);
  EXPECT_EQ(std::count(all.begin(), all.end(), "rank"), 0);
  EXPECT_EQ(std::count(all.begin(), all.end(), "dropout"), 1);
}

TEST(MethodTable, SettingsAreCheckedAsOptionsAre) {
  for (const auto& entry : method_table()) {
    const auto method = entry.make();
    OptionSet set;
    method->describe(set);
    EXPECT_THROW(set.assign("no_such_setting", "1", "--set"), Error) << entry.name;
    for (const auto& option : set.options()) {
      const bool number = option.type == Option::Type::number || option.type == Option::Type::integer;
      if (!number) continue;
      EXPECT_THROW(set.assign(option.name, "nan", "--set"), Error) << option.name;
      EXPECT_THROW(set.assign(option.name, "-1", "--set"), Error) << option.name;
    }
  }
  EXPECT_THROW(method_of_name("lorra"), Error);
}

TEST(MethodTable, OptionsOutOfRangeAreRefused) {
  TrainOptions options;
  EXPECT_NO_THROW(check(options));
  for (const double rate : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    options.learning_rate = rate;
    EXPECT_THROW(check(options), Error) << rate;
  }
  options = {};
  options.warmup = 1.5;
  EXPECT_THROW(check(options), Error);
  options = {};
  options.epochs = 0;
  EXPECT_THROW(check(options), Error);
}

}  // namespace
}  // namespace quiver::training

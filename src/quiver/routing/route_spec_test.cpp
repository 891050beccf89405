// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/route_spec.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::routing {
namespace {

struct Some {
  std::int64_t count = 3;
  double rate = 1.0;
  bool fast = false;
};
void describe(Some& o, OptionSet& set) {
  set.integer("count", o.count, at_least(1), "how many").word("all", 0);
  set.number("rate", o.rate, above(0), "how fast").flag("fast", o.fast, "or not");
}

TEST(RouteSpec, ReadsNamesOptionsAndArguments) {
  EXPECT_EQ(parse_route("base").name, "base");
  const auto spec = parse_route("some:count=2,rate=0.5,fast=true");
  EXPECT_EQ(spec.name, "some");
  const auto options = read_options(spec, Some{});
  EXPECT_EQ(options.count, 2);
  EXPECT_EQ(options.rate, 0.5);
  EXPECT_TRUE(options.fast);
  EXPECT_EQ(read_options(parse_route("some:count=all"), Some{}).count, 0);
  EXPECT_EQ(read_options(parse_route("some"), Some{}).count, 3);
  EXPECT_EQ(parse_route("expert:sst2").argument, "sst2");
  EXPECT_EQ(parse_route("merge:ties,density=0.5").argument, "ties");
  EXPECT_EQ(parse_route("mix:a=0.7,b=0.3").options.size(), 2u);
}

TEST(RouteSpec, RefusesWhatItCannotRead) {
  for (const auto* text : {"", ":count=2", "some:", "some:,", "mix:a=1,b", "mix:a=1,,b=1"})
    EXPECT_THROW(parse_route(text), Error) << text;
  for (const auto* options : {"count=two", "count=2.5", "count=0", "count=-1", "count=", "count=nan", "rate=0",
                              "rate=nan", "rate=inf", "rate=1e999", "fast=yes", "conut=2", "count=1,count=3", "=2"})
    EXPECT_THROW(read_options(parse_route(std::string("some:") + options), Some{}), Error) << options;
}

}  // namespace
}  // namespace quiver::routing

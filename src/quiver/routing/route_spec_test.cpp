// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/route_spec.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::routing {
namespace {

TEST(RouteSpec, ReadsNamesOptionsAndArguments) {
  EXPECT_EQ(parse_route("base").name, "base");
  const auto arrow = parse_route("arrow:top_k=2,temperature=0.5,scale=true");
  EXPECT_EQ(arrow.name, "arrow");
  EXPECT_EQ(arrow.number("top_k", 3), 2);
  EXPECT_EQ(arrow.number("temperature", 1), 0.5);
  EXPECT_TRUE(arrow.flag("scale", false));
  EXPECT_EQ(arrow.number("absent", 7), 7);
  EXPECT_EQ(parse_route("expert:sst2").argument, "sst2");
  EXPECT_EQ(parse_route("mix:a=0.7,b=0.3").options.size(), 2u);
}

TEST(RouteSpec, RefusesWhatItCannotRead) {
  EXPECT_THROW(parse_route(""), Error);
  EXPECT_THROW(parse_route("mix:a=1,b"), Error);
  EXPECT_THROW(parse_route("arrow:top_k=two").number("top_k", 3), Error);
  EXPECT_THROW(parse_route("arrow:scale=yes").flag("scale", false), Error);
  EXPECT_THROW(parse_route("arrow:topk=2").check_options({"top_k"}), Error);
  EXPECT_THROW(parse_route("arrow:fast").check_options({"top_k"}), Error);
}

}  // namespace
}  // namespace quiver::routing

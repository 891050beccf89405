// SPDX-License-Identifier: Apache-2.0
// Every route of the table, by its own description.
#include "quiver/routing/router_table.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::routing {
namespace {

/// A form of the route that is right.
std::string whole(const RouteHelp& help) {
  if (help.name == "mix") return "mix:a=0.5";
  if (help.name == "merge") return "merge:ties";
  if (help.name == "expert" || help.name == "pemt" || help.name == "attempt" || help.name == "fusion" ||
      help.name == "learned")
    return help.name + ":a";
  return help.name;
}

std::string with(const std::string& route, const std::string& option) {
  return route + (route.find(':') == std::string::npos ? ":" : ",") + option;
}

void refused(const std::string& route) { EXPECT_THROW(check_route(parse_route(route), {}), Error) << route; }

TEST(RouterTable, EveryRouteTakesItsFormAndRefusesOthers) {
  for (const auto& help : route_table()) {
    const auto route = whole(help);
    EXPECT_NO_THROW(check_route(parse_route(route), {})) << route;
    EXPECT_FALSE(help.summary.empty()) << help.name;
    // Of `learned` only the kind of the router knows; `expert` takes whatever follows as a name.
    if (help.name == "learned" || help.name == "mix" || help.name == "expert") continue;
    refused(with(route, "no_such_option=1"));
    if (help.name != "merge" && help.name != "poly") refused(help.name + ":word,another");
  }
  refused("arow");
  EXPECT_NO_THROW(check_route(parse_route("mine"), {{"mine", "gates"}}));
}

TEST(RouterTable, OptionsOfARouterAreThoseOfTheRouteThatItIsOf) {
  const std::map<std::string, std::string> routers{{"mine", "gates"}, {"skills", "poly"}};
  for (const auto* route : {"learned:mine,top_k=2", "mine:top_k=2", "learned:skills,task=mean", "learned:other,x=1"})
    EXPECT_NO_THROW(check_route(parse_route(route), routers)) << route;
  for (const auto* route : {"learned:mine,topk=2", "mine:task=mean", "learned:skills,top_k=2", "other"})
    EXPECT_THROW(check_route(parse_route(route), routers), Error) << route;
  const auto asked = [](const char* route) { return router_asked_for(parse_route(route)).value_or("none"); };
  EXPECT_EQ(asked("learned:mine,top_k=2"), "mine");
  EXPECT_EQ(asked("mine"), "mine");
  EXPECT_EQ(asked("gates:top_k=2"), "gates");
  EXPECT_EQ(asked("poly"), "poly");
  EXPECT_EQ(asked("poly:skills"), "skills");
  EXPECT_EQ(asked("pemt:mine"), "mine");
  EXPECT_EQ(asked("arrow"), "none");
  EXPECT_THROW(check_router_name("uniform", "gates"), Error);
  EXPECT_NO_THROW(check_router_name("gates", "gates"));
}

TEST(RouterTable, NumbersAreNeverNoNumbers) {
  std::size_t temperatures = 0, options = 0;
  for (const auto& help : route_table()) {
    for (const auto& option : split(help.options, ',')) {
      const auto equals = option.find('=');
      const auto value = equals == std::string::npos ? "" : option.substr(equals + 1);
      if (!value.starts_with("N") && !value.starts_with("X")) continue;
      const auto key = option.substr(option[0] == ':' ? 1 : 0, equals - (option[0] == ':' ? 1 : 0));
      for (const auto* wrong : {"nan", "inf", "1e999", "", "x", "1,5"}) refused(with(whole(help), key + "=" + wrong));
      refused(with(whole(help), key + "=2," + key + "=2"));
      ++options;
      if (key != "temperature") continue;
      for (const auto* wrong : {"0", "-1", "1e-39"}) refused(with(whole(help), key + "=" + wrong));
      EXPECT_NO_THROW(check_route(parse_route(with(whole(help), key + "=0.5")), {})) << help.name;
      ++temperatures;
    }
  }
  EXPECT_GT(temperatures, 10u);
  EXPECT_GT(options, 40u);
}

TEST(RouterTable, OptionsThatMeanSomethingBesideOthersAlone) {
  for (const auto* route :
       {"arrow:general_weight=0.5", "arrow:convention=factors", "arrow:probes=2", "arrow:search=groups,score=signed",
        "arrow:search=groups,directions=2", "arrow:score=signed,directions=2", "mix:a=0.5,a=0.5", "mix:a=nan",
        "mix:a=inf", "mix:a=1e9", "poly:mine,name=other", "base:top_k=1", "merge:cat,density=0.5",
        "merge:ties,density=nan", "merge:ties,density=0.2,density=0.3"})
    refused(route);
  for (const auto* route : {"arrow:general=a,general_weight=0.5,convention=factors", "arrow:search=groups,probes=2",
                            "mix:a=0.5,b=-0.5,combine=factors", "mix:combine=0.5,combine=factors,a=1",
                            "expert:lr=1e-4,r=8", "poly:mine,task=mean", "merge:ties,density=0.3"})
    EXPECT_NO_THROW(check_route(parse_route(route), {})) << route;
}

}  // namespace
}  // namespace quiver::routing

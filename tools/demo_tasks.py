#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes eight small tasks to learn from in minutes: what `./dev demo` trains its experts on.

usage: demo_tasks.py OUT [--seed N]

  OUT/opinion/product_opinion.jsonl    a sentence about a thing bought -> positive | negative
  OUT/opinion/film_opinion.jsonl       a sentence about a film         -> positive | negative
  OUT/topic/headline_topic.jsonl       a headline                      -> sports | science | politics | food
  OUT/topic/request_topic.jsonl        a spoken request                -> lights | music | weather | alarm
  OUT/word/plural.jsonl                a noun                          -> its plural
  OUT/word/past_tense.jsonl            a verb                          -> its past tense
  OUT/held_out/restaurant_opinion.jsonl, question_topic.jsonl          kin of the first two clusters: for tests only

Each file has 160 training, 24 validation and 40 test rows, JSON lines {task, split, source, target, options?}; no source
occurs twice. A source opens with its task's instruction, a row is at most 25 tokens of the default model, and the labels of
a task are equally frequent in every split. All texts come from the templates below. The same seed gives the same bytes.
"""
import argparse
import json
import random
from pathlib import Path

from demo_words import NOUNS, VERBS, past_tense, plural

SPLITS = {"train": 160, "validation": 24, "test": 40}

PRODUCTS = ("kettle lamp jacket phone chair radio blender watch tent keyboard mattress drill camera backpack heater toaster "
            "printer bike fan umbrella").split()
PRODUCT_OPINIONS = {
    "positive": ["works like a charm", "is worth every cent", "still runs perfectly after a year", "feels solid and well made",
                 "was easy to set up", "is better than I hoped", "does its job very well", "made my life easier",
                 "is the best I have owned", "looks great at home", "saved me a lot of time", "came early and works fine"],
    "negative": ["broke after two days", "is a waste of money", "stopped working in a week", "feels cheap and flimsy",
                 "was a pain to set up", "is worse than I feared", "never did its job", "made a terrible noise",
                 "is the worst I have owned", "arrived with a crack", "cost me a lot of trouble", "came late and damaged"],
}
FILM_PARTS = ["plot", "acting", "ending", "music", "script", "cast", "story", "dialogue", "camera work", "first half",
              "final scene", "main actor"]
FILM_OPINIONS = {
    "positive": ["was a joy from start to end", "moved me to tears", "kept me glued to the screen", "was fresh and clever",
                 "deserves an award", "was simply wonderful", "made me laugh out loud", "is one to remember",
                 "was full of charm", "won me over at once"],
    "negative": ["was a bore from start to end", "put me to sleep", "made me leave the room", "was stale and clumsy",
                 "deserves no praise", "was simply dreadful", "made me cringe", "is one to forget",
                 "was full of holes", "lost me at once"],
}
MEALS = "soup steak pasta pizza curry salad fish cake coffee bread rice burger".split()
MEAL_OPINIONS = {
    "positive": ["tasted heavenly", "was fresh and tasty", "was cooked just right", "arrived hot and quickly",
                 "was the best in town", "made us want to come back", "was rich in flavour", "had us asking for more",
                 "came with a warm smile", "was worth the wait"],
    "negative": ["tasted of nothing", "was stale and bland", "was burnt at the edges", "arrived cold and late",
                 "was the worst in town", "made us want to go home", "was far too salty", "had a hair in it",
                 "came with a rude remark", "was not worth the wait"],
}

PLACES = "Spain Kenya Chile Norway Japan Peru Egypt Canada Ghana Italy".split()
HEADLINES = {
    "sports": (["{p} beats {q} in cup final", "{p} striker scores twice against {q}", "Coach of {p} resigns after defeat",
                "{p} wins gold in the relay", "Goalkeeper saves {p} late in the match", "{p} swimmer sets a new record",
                "Injury ends season for {p} captain", "{p} and {q} draw in the league"]),
    "science": (["{p} telescope spots a distant planet", "Fossil found in {p} puzzles experts", "{p} lab maps the genes of a fish",
                 "New vaccine tested in {p}", "{p} probe lands on an asteroid", "Physicists in {p} measure a rare particle",
                 "Study from {p} explains how bees navigate", "Robot from {p} explores the deep sea"]),
    "politics": (["{p} parliament votes on new tax", "President of {p} calls an election", "{p} and {q} sign a treaty",
                  "Minister in {p} steps down", "{p} senate debates the border law", "Voters in {p} reject the reform",
                  "Opposition leads polls in {p}", "{p} recalls its envoy from {q}"]),
    "food": (["Chef from {p} shares a bread recipe", "{p} cheese wins over diners", "How to cook rice as in {p}",
              "Street stalls in {p} serve spicy noodles", "{p} bakers revive an old cake", "Olive oil from {p} for your salad",
              "A soup from {p} for cold days", "Grilled fish the way {p} eats it"]),
}
QUESTIONS = {
    "sports": (["Who won the {x} final?", "How long is a {x} match?", "How many players are in a {x} team?",
                "What are the rules of {x}?", "Who holds the {x} record?", "Where was {x} invented?"],
               "football tennis rugby hockey cricket basketball volleyball handball baseball polo".split()),
    "science": (["How do {x} form?", "What are {x} made of?", "Why do scientists study {x}?", "Who discovered {x}?",
                 "How are {x} measured?", "When were {x} first seen?"],
                "stars crystals volcanoes atoms comets cells magnets proteins galaxies viruses".split()),
    "politics": (["Who elects the {x}?", "How long does the {x} serve?", "What powers has the {x}?", "Can the {x} veto a law?",
                  "Who can remove the {x}?", "Who pays the {x}?"],
                 "president senate mayor parliament minister king cabinet governor congress chancellor".split()),
    "food": (["How long should I boil {x}?", "What goes well with {x}?", "How do I season {x}?", "Can I fry {x} in butter?",
              "How do you store fresh {x}?", "Do I need salt with {x}?"],
             "rice pasta eggs beans potatoes carrots shrimp lentils mushrooms cabbage".split()),
}
ROOMS = ["kitchen", "bedroom", "hall", "office", "garage", "bathroom", "living room", "garden"]
STYLES = "jazz rock folk blues opera techno soul country".split()
CITIES = "Paris Oslo Cairo Lima Tokyo Dublin Madrid Athens".split()
TIMES = ["six", "seven", "half past five", "eight", "noon", "nine", "quarter to ten", "four"]
REQUESTS = {
    "lights": (["switch on the lamp in the {x}", "make the {x} brighter", "dim the {x} please", "it is too dark in the {x}",
                "turn everything off in the {x}", "set the {x} to warm white", "I need the {x} lit up"], ROOMS),
    "music": (["play some {x}", "put on a {x} album", "I want to hear {x}", "next {x} track please", "find me a {x} station",
               "turn up the {x}", "shuffle my {x} list"], STYLES),
    "weather": (["will it rain in {x}", "how cold is {x} today", "do I need a coat in {x}", "is it sunny in {x}",
                 "any snow in {x} tomorrow", "how windy will {x} be", "what is it like outside in {x}"], CITIES),
    "alarm": (["wake me at {x}", "get me up at {x}", "do not let me sleep past {x}", "ring at {x} tomorrow",
               "I must be up by {x}", "buzz me at {x}", "remind me to rise at {x}"], TIMES),
}


def opinions(subjects, table):
    return {label: [f"The {subject} {text}." for subject in subjects for text in texts] for label, texts in table.items()}


def headlines():
    pairs = [(p, q) for p in PLACES for q in PLACES if p != q]
    return {label: sorted({text.format(p=p, q=q) for text in texts for p, q in pairs}) for label, texts in HEADLINES.items()}


def filled(table):
    return {label: [text.format(x=x) for text in texts for x in fillers] for label, (texts, fillers) in table.items()}


def labelled_rows(instruction, pools, rng):
    """One list of (source, label) per split, the labels in equal numbers, no text twice."""
    pools = {label: rng.sample(texts, len(texts)) for label, texts in pools.items()}
    for split, count in SPLITS.items():
        rows = []
        for label, texts in pools.items():
            rows += [(f"{instruction} {texts.pop()}", label) for _ in range(count // len(pools))]
        rng.shuffle(rows)
        yield split, rows


def word_rows(instruction, words, change, rng):
    words = rng.sample(words, len(words))
    for split, count in SPLITS.items():
        yield split, [(f"{instruction} {word}", change(word)) for word in (words.pop() for _ in range(count))]


TASKS = {  # path below OUT: (instruction, the texts of each label or None, the change of a word)
    "opinion/product_opinion": ("Customer opinion:", opinions(PRODUCTS, PRODUCT_OPINIONS), None),
    "opinion/film_opinion": ("Verdict on the film:", opinions(FILM_PARTS, FILM_OPINIONS), None),
    "topic/headline_topic": ("Section of the paper:", headlines(), None),
    "topic/request_topic": ("What is asked for:", filled(REQUESTS), None),
    "word/plural": ("Plural of the noun:", NOUNS, plural),
    "word/past_tense": ("Past tense of the verb:", VERBS, past_tense),
    "held_out/restaurant_opinion": ("Guest opinion:", opinions(MEALS, MEAL_OPINIONS), None),
    "held_out/question_topic": ("Field of the question:", filled(QUESTIONS), None),
}


def write(path, splits, options):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines, seen = [], set()
    for split, rows in splits:
        for source, target in rows:
            assert source not in seen, source
            seen.add(source)
            row = {"task": path.stem, "split": split, "source": source, "target": target}
            lines.append(json.dumps(row | ({"options": options} if options else {})) + "\n")
    path.write_text("".join(lines))
    return len(lines), max(len(source.split()) for source in seen)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{'task':<30}{'rows':>6}{'longest':>9}  answers")
    for name, (instruction, texts, change) in TASKS.items():
        rng = random.Random(f"{name} {args.seed}")
        options = None if change else list(texts)
        splits = word_rows(instruction, texts, change, rng) if change else labelled_rows(instruction, texts, rng)
        rows, longest = write(args.out / f"{name}.jsonl", splits, options)
        print(f"{name:<30}{rows:>6}{longest:>3} words  {' | '.join(options) if options else 'a word'}")


if __name__ == "__main__":
    main()

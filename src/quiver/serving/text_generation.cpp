// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/text_generation.h"

#include "quiver/base/error.h"
#include "quiver/serving/text_stream.h"

namespace quiver::serving {

TextPrompt chat_prompt(const text::LoadedTokenizer& tokenizer, std::span<const text::Message> messages) {
  return {text::encode_chat(tokenizer, messages), text::chat_ends(tokenizer)};
}

TextAnswer answer_text(const model::Model& model, const text::LoadedTokenizer& tokenizer, const routing::Router* router,
                       const TextPrompt& prompt, const std::string& task, const TextOptions& o, const OnText& on_text) {
  QUIVER_CHECK(o.generate.beams == 0 || o.stop.empty(), usage, "--stop",
               "a search by beams does not read it: it looks for the most probable answer to its end");
  auto options = o.generate;
  options.stop_tokens = prompt.ends;
  TextStream stream(tokenizer.tokenizer, o.stop);
  const auto show = [&](const std::string& piece) {
    if (on_text && !piece.empty()) on_text(piece);
  };
  const auto answers = generate(model, {{task, prompt.ids}}, options, router, [&](std::size_t, std::int32_t token) {
    show(stream.push(token));
    return !stream.stopped();
  });
  TextAnswer out;
  out.ids = answers[0].checked();
  if (options.beams > 0) {
    for (const auto token : out.ids) show(stream.push(token));
    out.score = answers[0].beams.at(0).score;
  }
  show(stream.finish());
  out.text = stream.text();
  out.finish = stream.stopped() ? "stop_string" : finish_name(answers[0].finish);
  return out;
}

}  // namespace quiver::serving

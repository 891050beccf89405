// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/chat_template.h"

#include <string_view>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::text {
namespace {

// The template with one spelling: no white space inside tags outside of strings, double quotes as single ones, `\n` in
// strings as the line end it means. Text between tags stays, since it would be rendered.
std::string canonical(std::string_view source) {
  std::string out;
  char quote = 0;
  bool in_tag = false;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const char c = source[i];
    const auto two = source.substr(i, 2);
    if (!in_tag) {
      in_tag = two == "{%" || two == "{{";
      out += c;
      if (in_tag) out += source[++i];
    } else if (quote) {
      if (two == "\\n") {
        out += '\n';
        ++i;
      } else if (c == quote) {
        out += '\'';
        quote = 0;
      } else {
        out += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      out += '\'';
    } else if (two == "%}" || two == "}}") {
      out += two;
      ++i;
      in_tag = false;
    } else if (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
      out += c;
    }
  }
  return out;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

struct ChatMl {
  std::optional<std::string> default_system;
};

std::optional<ChatMl> recognize_chatml(std::string_view text) {
  ChatMl found;
  if (!take(text, "{%formessageinmessages%}")) return std::nullopt;
  if (take(text, "{%ifloop.firstandmessages[0]['role']!='system'%}{{'<|im_start|>system\n")) {
    const auto end = text.find("<|im_end|>\n'}}{%endif%}");
    if (end == std::string_view::npos) return std::nullopt;
    found.default_system = std::string(text.substr(0, end));
    if (found.default_system->find_first_of("'\\{}") != std::string::npos) return std::nullopt;
    text.remove_prefix(end);
    take(text, "<|im_end|>\n'}}{%endif%}");
  }
  const bool body = take(text, "{{'<|im_start|>'+message['role']+'\n'+message['content']+'<|im_end|>'+'\n'}}") ||
                    take(text, "{{'<|im_start|>'+message['role']+'\n'+message['content']+'<|im_end|>\n'}}");
  if (!body || !take(text, "{%endfor%}")) return std::nullopt;
  if (!take(text, "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}")) return std::nullopt;
  return trim(text).empty() ? std::optional(found) : std::nullopt;
}

class Parts {
 public:
  void add(const std::string& text, bool plain) {
    if (text.empty()) return;
    if (all_.empty() || all_.back().plain != plain) all_.push_back({"", plain});
    all_.back().text += text;
  }
  std::vector<TextPart> take() { return std::move(all_); }

 private:
  std::vector<TextPart> all_;
};

}  // namespace

ChatTemplate::ChatTemplate(std::string source) : source_(std::move(source)) {
  if (auto chatml = recognize_chatml(canonical(source_))) {
    recognized_ = true;
    default_system_ = std::move(chatml->default_system);
  }
}

std::vector<TextPart> ChatTemplate::parts(std::span<const Message> messages, const ChatOptions& options) const {
  QUIVER_CHECK(recognized_, unsupported, "chat template",
               "this model's chat template is not one that Quiver knows (the ChatML family)");
  const auto tools = trim(options.tools_json);
  QUIVER_CHECK(tools.empty() || tools == "[]" || tools == "null", unsupported, "chat template",
               "tools were given, but this model's chat template has no place for them");
  Parts out;
  if (default_system_ && !messages.empty() && messages[0].role != "system")
    out.add("<|im_start|>system\n" + *default_system_ + "<|im_end|>\n", false);
  for (const auto& message : messages) {
    out.add("<|im_start|>", false);
    out.add(message.role, true);
    out.add("\n", false);
    out.add(message.content, true);
    out.add("<|im_end|>\n", false);
  }
  if (options.add_generation_prompt) out.add("<|im_start|>assistant\n", false);
  return out.take();
}

std::string ChatTemplate::render(std::span<const Message> messages, const ChatOptions& options) const {
  std::string out;
  for (const auto& part : parts(messages, options)) out += part.text;
  return out;
}

}  // namespace quiver::text

// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "quiver/base/error.h"

namespace quiver::recipes {
namespace {

using Pipe = std::array<int, 2>;  // read end, write end

Pipe make_pipe() {
  Pipe ends;
  QUIVER_CHECK(pipe2(ends.data(), O_CLOEXEC) == 0, io, "run", "cannot make a pipe: {}", std::strerror(errno));
  return ends;
}

/// In the child, after fork: nothing but system calls.
[[noreturn]] void become(const std::vector<char*>& arguments, const Pipe& output, const Pipe& errors, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it died before the line above
  dup2(output[1], STDOUT_FILENO);
  dup2(errors[1], STDERR_FILENO);
  execv("/proc/self/exe", arguments.data());
  execvp("quiver", arguments.data());
  _exit(127);
}

class Child {
 public:
  explicit Child(const std::vector<std::string>& arguments) {
    std::vector<std::string> words{"quiver"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (auto& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    const auto output = make_pipe(), errors = make_pipe();
    const auto parent = getpid();
    pid_ = fork();
    if (pid_ == 0) become(pointers, output, errors, parent);
    close(output[1]);
    close(errors[1]);
    output_ = output[0];
    errors_ = errors[0];
    QUIVER_CHECK(pid_ > 0, io, "run", "cannot start a process: {}", std::strerror(errno));
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      wait();
    }
    close(output_);
    close(errors_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int output() const { return output_; }
  int errors() const { return errors_; }
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = -1;
  int output_ = -1, errors_ = -1;
};

/// Bytes as lines; a carriage return ends one too, since progress is redrawn by it.
class Lines {
 public:
  explicit Lines(std::function<void(const std::string&)> take) : take_(std::move(take)) {}
  void add(std::string_view bytes) {
    for (const char c : bytes) {
      if (c != '\n' && c != '\r') {
        line_ += c;
      } else {
        end();
      }
    }
  }
  void end() {
    const auto line = std::exchange(line_, {});
    if (!line.empty()) take_(line);
  }

 private:
  std::function<void(const std::string&)> take_;
  std::string line_;
};

/// What is there to read now; false at the end.
bool read_some(int descriptor, std::string& bytes) {
  std::array<char, 4096> buffer;
  const auto n = read(descriptor, buffer.data(), buffer.size());
  bytes.assign(buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  return n > 0 || (n < 0 && errno == EINTR);
}

}  // namespace

ChildOutcome run_program(const std::vector<std::string>& arguments,
                         const std::function<void(const std::string&)>& on_line) {
  Child child(arguments);
  ChildOutcome outcome;
  Lines output(on_line), errors([&](const std::string&line) { outcome.error = line; });
  std::array<pollfd, 2> open{pollfd{child.output(), POLLIN, 0}, pollfd{child.errors(), POLLIN, 0}};
  std::string bytes;
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    if (poll(open.data(), open.size(), -1) < 0) continue;
    for (auto& end : open) {
      if (end.fd < 0 || end.revents == 0) continue;
      const bool is_output = end.fd == child.output();
      if (!read_some(end.fd, bytes)) end.fd = -1;
      if (!is_output) std::fwrite(bytes.data(), 1, bytes.size(), stderr);
      (is_output ? output : errors).add(bytes);
    }
  }
  output.end();
  errors.end();
  outcome.status = child.wait();
  return outcome;
}

}  // namespace quiver::recipes
